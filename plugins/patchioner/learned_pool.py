"""Patch-ioner's learned aggregator: the mean of patches, refined by attention (arXiv 2510.02898, section 14)."""

from __future__ import annotations

from typing import Self

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from regionkit.core.contracts import BuildContext, RegionEncoder, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.geometry import Rules, patch_weights
from regionkit.core.regions import Regions
from regionkit.core.spec import STILL_REGIONS, Space
from regionkit.core.stored import drawn_from, with_stored
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.learned_pool_config import ARCHITECTURE, LearnedPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

#: What alpha is before training (section 14), so that the result is close to the mean at first.
ALPHA = 0.1
#: Spread of a fresh class token; the paper says nothing of it, this is what vision transformers start from.
_SPREAD = 0.02
#: Shares (regions, patches) of a head that are held at once, unless a single picture has more.
_TOGETHER = 2**18


class LearnedPool(nn.Module, RegionEncoder):
    """Add to the mean of a region's patches what one attention block makes of them: v = mean(V) + alpha Attn(V)[CLS].

    The block reads a learned class token and the patches of the region, no others and without positions. V has a row
    for every occurrence of a patch, as the mean has (eq. 3): a patch that a trace visits three times is three rows.
    Only the row of the class token is read, and it needs nothing of the others but keys and values, which all regions
    of a picture share. So these are computed once a picture, and occurrences are a summand log(count) in the softmax.

    Source: Bianchi et al., One Patch to Caption Them All, section 14, eq. 3 to 5. Form of the block: ours.

    Args:
        config: Options.
        space: Space of the patches that it reads, and of what it writes, ``name[dim]``.

    Raises:
        RegionkitError: ``heads`` does not divide the width of the patches.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: LearnedPoolConfig, space: str) -> None:
        super().__init__()
        width = Space.parse(space).dim
        if width % config.heads:
            fitting = ", ".join(str(heads) for heads in range(1, min(width, 64) + 1) if width % heads == 0)
            raise RegionkitError(
                f"region_encoder.heads: {config.heads} does not divide the {width} of {space}", f"these do: {fitting}"
            )
        self.config, self.space = config, space
        self.pool = PatchPool(
            PatchPoolConfig(
                box_rule=config.box_rule,
                set_weighting=config.set_weighting,
                mask_rule=config.mask_rule,
                compat=config.compat,
            )
        )
        self.cls = nn.Parameter(torch.randn(1, width) * _SPREAD)
        self.block = Block(width, config.heads, config.mlp_ratio, qkv_bias=True)
        self.alpha = nn.Parameter(torch.tensor(ALPHA if config.alpha is None else float(config.alpha)))

    @classmethod
    def build(cls, config: LearnedPoolConfig, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained from ``context.seed`` where it has none.

        Raises:
            WeightsError: The weights are damaged, or were trained on patches of another width.
            RegionkitError: As the constructor.
        """
        file = context.weights
        if file is not None:
            own = Space.parse(file.header.space or context.reads)
            if own.dim != Space.parse(context.reads).dim:
                raise WeightsError(
                    f"{file.path}: these weights read patches of width {own.dim}, the backbone writes {context.reads}",
                    "choose the backbone that they were trained with",
                )
            config = with_stored(config, file.header.config, ARCHITECTURE, kind="region_encoder", source=str(file.path))
        with drawn_from(context.seed):
            encoder = cls(config, context.reads)
        if file is not None:
            load_into(encoder, file.tensors(), file.path)
        if config.alpha is not None:
            nn.init.constant_(encoder.alpha, config.alpha)
        return encoder.eval()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d) of r regions of b images, in the dtype of the patches.

        Args:
            scene: b images whose features are computed once; no gradient reaches them.
            regions: r still regions in pixels of the original images.

        Raises:
            RegionError: A region lies outside its image or is a mask track.
            FeatureError: The backbone produced NaN, or patches of another width.
        """
        regions.require(self.accepts, "learned-pool")
        mean = self.pool.encode(scene, regions)
        if not len(regions) or self._is_the_mean:
            return mean
        summaries, _ = self._of_each(scene.features, regions)
        refined = mean.vectors() + (self.alpha * summaries).to(mean.tokens.device)
        return RegionTokens.single(refined.to(mean.tokens.dtype), mean.space)

    def attention(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, h, w): how the class token attends to the patches, mean over heads, each map scaled to sum to 1.

        What it gives itself is left out. With ``alpha: 0`` it is the weights of the mean.

        Raises:
            RegionError: As :meth:`encode`.
            FeatureError: As :meth:`encode`.
        """
        regions.require(self.accepts, "learned-pool")
        if not len(regions) or self._is_the_mean:
            return self.pool.attention(scene, regions)
        with torch.no_grad():
            maps = self._of_each(scene.features, regions)[1][:, 1:]
        h, w = scene.features.patches.shape[1:3]
        totals = maps.sum(1, keepdim=True)
        weights = torch.from_numpy(self.pool.weights(scene.features, regions)).flatten(1).to(maps)
        # Where the class token looks at itself alone, nothing is left but the mean.
        maps = torch.where(totals > 0, maps, weights)
        return (maps / maps.sum(1, keepdim=True)).reshape(-1, h, w)

    def artifact(self) -> WeightArtifact:
        """Return the weights and the options that shape them; what they were trained for is the recipe's to add."""
        config = {name: getattr(self.config, name) for name in ARCHITECTURE}
        return WeightArtifact(
            self.state_dict(), WeightHeader("region_encoder", "learned-pool", self.space, config=config)
        )

    @property
    def _is_the_mean(self) -> bool:
        """Whether attention has no part in it; in training it may yet get one."""
        return self.config.alpha == 0 and not self.training

    def _of_each(self, features: Features, regions: Regions) -> tuple[Tensor, Tensor]:
        """Return Attn(V)[CLS] (r, d), and how it reads itself and every patch (r, 1 + n), mean over heads."""
        patches = features.patches.detach().flatten(1, 2)  # the backbone is frozen
        if patches.shape[-1] != self.cls.shape[-1]:
            raise FeatureError(
                f"region encoder 'learned-pool' reads {self.space}, got patches of width {patches.shape[-1]}",
                "choose the backbone that it was trained with: toolkit weights list",
            )
        counts = self._counts(features, regions)
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(regions.image):
            rows.setdefault(index, []).append(row)
        most = max(map(len, rows.values()))
        found = [
            self._of_pictures(patches, counts, {index: rows[index] for index in list(rows)[part]})
            for part in iter_batches(len(rows), max(1, _TOGETHER // (most * patches.shape[1])))
        ]
        summaries, shares = (torch.cat(parts) for parts in zip(*found, strict=True))
        places = torch.tensor([row for own in rows.values() for row in own]).argsort().to(summaries.device)
        return summaries[places], shares[places]

    def _of_pictures(self, patches: Tensor, counts: Tensor, rows: dict[int, list[int]]) -> tuple[Tensor, Tensor]:
        """Return what :meth:`_of_each` does of the regions of some pictures, one picture after the other."""
        table = pad_sequence([counts[own] for own in rows.values()], batch_first=True)
        where = torch.tensor([(place, slot) for place, own in enumerate(rows.values()) for slot in range(len(own))])
        with torch.autocast(self.cls.device.type, enabled=False):
            summaries, shares = self.attend(patches[list(rows)].to(self.cls), table.to(self.cls))
        place, slot = where.to(summaries.device).unbind(1)
        return summaries[place, slot], shares[place, slot]

    def attend(self, patches: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the block makes of the class token of s regions of each of p pictures, eq. 4.

        Args:
            patches: (p, n, d) all patches of each picture.
            counts: (p, s, n) how often each patch occurs in each region, 0 where it does not.

        Returns:
            Attn(V)[CLS] (p, s, d); and (p, s, 1 + n), how much the class token reads itself and each patch, mean over
            heads.
        """
        block, attn = self.block, self.block.attn
        tokens = block.norm1(torch.cat([self.cls.expand(len(patches), 1, -1), patches], dim=1))
        queries, keys, values = attn.qkv(tokens).unflatten(-1, (3, self.config.heads, -1)).permute(2, 0, 3, 1, 4)
        logits = queries[:, :, :1] @ keys.transpose(-1, -2) * attn.scale  # (p, heads, 1, 1 + n), whatever the region
        occurrences = pad(counts, (1, 0), value=1.0).log().unsqueeze(1)
        shares = (logits + occurrences).softmax(-1)
        summary = self.cls + attn.proj((shares @ values).transpose(1, 2).flatten(2))
        return summary + block.mlp(block.norm2(summary)), shares.mean(1)

    def _counts(self, features: Features, regions: Regions) -> Tensor:
        """Return (r, n) occurrences of each patch: the weights of the mean, times as many as the region has in all.

        Where boxes of a set or patches weigh less than others, so do their occurrences.
        """
        rules = Rules(box_rule=self.pool.rules.box_rule, mask_rule=self.pool.rules.mask_rule)
        weights = self.pool.weights(features, regions)
        totals = [
            patch_weights(region, features.frames[index], rules).sum()
            for region, index in zip(regions.items, regions.image, strict=True)
        ]
        shares = torch.from_numpy(weights).flatten(1)
        return shares / shares.sum(1, keepdim=True) * torch.tensor(totals).unsqueeze(1)
