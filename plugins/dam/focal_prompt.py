"""The region encoder ``focal-prompt``: two views of a region through the blocks of any vision transformer."""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from regionkit.core.contracts import Backbone, BuildContext, RegionEncoder, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens, Scene
from regionkit.core.geometry import bounding_box
from regionkit.core.regions import Regions
from regionkit.core.spec import STILL_REGIONS, Space
from regionkit.core.stored import drawn_from
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.dam.adapters import Adapter
from regionkit.plugins.dam.configs import FocalPromptConfig
from regionkit.plugins.dam.views import Pictures, Views

#: A patch with less of the region than this many pixels is outside of it for ``masked_attention`` (the released code).
_TRACE = 1e-5
#: Options that are no property of the weights.
_FREE = ("weights", "batch_size")
_CHOOSE = "choose a vision transformer that exposes its blocks: toolkit list-components --kind backbone"


class FocalPrompt(nn.Module, RegionEncoder):
    """Encode a region by a picture of it that attends to the picture that it is cut from (section 3.2).

    Masks enter as a second patch embedding beside the backbone's own; both views share it and all blocks. The tokens of
    the backbone that belong to no patch (class token, registers) take part in every block and in the context, and are
    left out of what is handed on. Everything that is added starts at zero, so that untrained weights change nothing.

    Gradients reach the mask embedding and the adapters through the backbone's blocks, frozen or not.

    Args:
        config: Options; sizes of 0 must have been settled.
        reads: Space of what the backbone's blocks hand on, ``name[dim]``.
        writes: Space of the tokens.
        depth: Blocks that are run.
        patch: (width, height) of a patch in preprocessed pixels.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: FocalPromptConfig, reads: str, writes: str, depth: int, patch: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.reads, self.writes = reads, writes
        self.depth = depth
        width = Space.parse(reads).dim
        self.mask_embedding = nn.Conv2d(1, width, patch[::-1], patch[::-1])
        nn.init.zeros_(self.mask_embedding.weight)
        assert self.mask_embedding.bias is not None
        nn.init.zeros_(self.mask_embedding.bias)
        adapted = depth if config.context == "cross-attention" else 0
        self.adapters = nn.ModuleList(
            Adapter(width, config.heads, config.intermediate, config.form) for _ in range(adapted)
        )

    @classmethod
    def build(cls, config: FocalPromptConfig, context: BuildContext) -> Self:
        """Make the encoder around the backbone of the context, with its weights or from its seed.

        Raises:
            FeatureError: The backbone exposes no blocks, or fewer than ``select_layer`` counts.
            WeightsError: The weights are for a backbone of other sizes.
        """
        backbone = context.backbone
        if backbone is None or not len(backbone.blocks):
            name = "what it is built with" if backbone is None else f"backbone '{type(backbone).__name__}'"
            raise FeatureError(f"focal-prompt works between the blocks of a backbone, and {name} exposes none", _CHOOSE)
        width = Space.parse(context.reads).dim
        depth = blocks_run(config.select_layer, len(backbone.blocks))
        heads = config.heads or heads_of(backbone, width)
        if width % heads:
            raise FeatureError(
                f"focal-prompt: {heads} heads do not share the backbone's width of {width} evenly",
                "set region_encoder.heads to a divisor of it",
            )
        config = dataclasses.replace(config, heads=heads, intermediate=config.intermediate or 4 * width)
        with drawn_from(context.seed):
            encoder = cls(config, context.reads, context.writes, depth, patch_of(backbone))
        if context.weights is not None:
            try:
                load_into(encoder, context.weights.tensors(), context.weights.path)
            except WeightsError as error:
                hint = "they belong to a backbone of other sizes, or to other options of focal-prompt"
                raise WeightsError(error.message, *error.hints, hint) from None
        return encoder.eval()

    def artifact(self) -> WeightArtifact:
        """Return the weights with the options that they were trained under."""
        options = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in _FREE}
        header = WeightHeader("region_encoder", "focal-prompt", self.reads, self.writes, config=options)
        return WeightArtifact(self.state_dict(), header)

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Encode r regions of all pictures together, ``batch_size`` at a time.

        Returns:
            tokens (r, n, d) of the n patches of the local view, row-major; with ``context: concat`` (r, 2 n, d), those
            of the whole picture first.

        Raises:
            RegionError: A region lies outside its image.
            FeatureError: The scene's backbone is not the one that this encoder was made for, or produced NaN.
        """
        regions.require(self.accepts, "focal-prompt")
        if not len(regions):
            return RegionTokens.none(self.writes)
        self._check_backbone(scene.backbone)
        scene.backbone.check_images(scene.images)
        for region, index in zip(regions.items, regions.image, strict=True):
            bounding_box(region, scene.images[index].size)  # a region outside its image is told before the work
        pictures = Pictures(scene.images, scene.backbone, self.config)
        parts = []
        for part in iter_batches(len(regions), self.config.batch_size):
            parts.append(self._encode(scene.backbone, pictures, Regions(regions.items[part], regions.image[part])))
        tokens = torch.cat(parts)
        found = RegionTokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), self.writes)
        if not self.training:
            found.check_finite("region encoder 'focal-prompt'")
        return found

    def global_state(self, backbone: Backbone, views: Views) -> Tensor:
        """Return what the plain backbone makes of pictures and their masks, z of eq. 4.

        Returns:
            (r, prefix + n, d): the selected hidden state, tokens of no patch in front.
        """
        tokens = self._embedded(backbone, views)
        for block in backbone.blocks[: self.depth]:
            tokens = _through(block, tokens)
        return tokens

    def regional_state(self, backbone: Backbone, views: Views, context: Tensor, whole: Views) -> Tensor:
        """Return the local views after blocks and adapters, z' of eq. 5.

        Args:
            backbone: The backbone.
            views: r local views.
            context: (r, m, d): :meth:`global_state` of the whole pictures.
            whole: Those pictures, whose masks say where ``masked_attention`` may look.

        Returns:
            (r, prefix + n, d).
        """
        where = self.mask_embedding.weight
        keep = self._keep(whole, context.shape[1]) if self.config.masked_attention else None
        context = context.to(where)
        tokens = self._embedded(backbone, views)
        for block, adapter in zip(backbone.blocks[: self.depth], self.adapters, strict=True):
            tokens = adapter(_through(block, tokens).to(where), context, keep)
        return tokens

    def _encode(self, backbone: Backbone, pictures: Pictures, regions: Regions) -> Tensor:
        """Return the tokens (r, n, d) of a few regions."""
        places, masks = regions.image, pictures.masks(regions)
        local = pictures.local(places, masks)
        patches = local.grid[0] * local.grid[1]
        if self.config.context == "none":
            return self._own(self.global_state(backbone, local), patches)
        whole = pictures.whole(places, masks)
        context = self.global_state(backbone, whole)
        if self.config.context == "concat":
            both = (context, self.global_state(backbone, local))
            return torch.cat([self._own(one, patches) for one in both], dim=1)
        rows = self._told_apart(whole, local)
        state = self._own(context, patches)
        if not len(rows):
            return state
        some = Views(local.pixels[rows], local.masks[rows], tuple(local.frames[row] for row in rows.tolist()))
        seen = Views(whole.pixels[rows], whole.masks[rows], tuple(whole.frames[row] for row in rows.tolist()))
        place = rows.to(context.device)
        regional = self._own(self.regional_state(backbone, some, context[place], seen), patches)
        return regional if len(rows) == len(regions) else state.index_copy(0, place, regional)

    def _told_apart(self, whole: Views, local: Views) -> Tensor:
        """Return the rows that go through the adapters: all, or those whose two views differ."""
        if self.config.identical_views == "regional":
            return torch.arange(len(whole.pixels))
        pairs = ((whole.pixels, local.pixels), (whole.masks, local.masks))
        differ = [(one != other).flatten(1).any(1) for one, other in pairs]
        return (differ[0] | differ[1].to(differ[0].device)).nonzero().flatten().cpu()

    def _embedded(self, backbone: Backbone, views: Views) -> Tensor:
        """Return what enters the first block: the backbone's embedding with that of the masks on its patches."""
        parameter = next(backbone.blocks[0].parameters(), self.mask_embedding.weight)
        tokens = backbone.embed(views.pixels.to(parameter))
        masks = self.mask_embedding(views.masks.to(self.mask_embedding.weight)).flatten(2).transpose(1, 2)
        prefix = tokens.shape[1] - views.grid[0] * views.grid[1]
        if prefix < 0 or masks.shape[1] != tokens.shape[1] - prefix or tokens.shape[2] != masks.shape[2]:
            raise FeatureError(
                f"focal-prompt embeds masks as {masks.shape[1]} patches of width {masks.shape[2]}, and the backbone "
                f"gives {tokens.shape[1]} tokens of width {tokens.shape[2]}",
                "build focal-prompt with the backbone that it is used with",
            )
        patches = tokens[:, prefix:] + masks.to(tokens)
        return torch.cat([tokens[:, :prefix], patches], dim=1) if prefix else patches

    def _keep(self, whole: Views, tokens: int) -> Tensor:
        """Return (r, tokens): the context's patches that the region touches; all where the view lost the region."""
        height, width = self.mask_embedding.kernel_size
        covered = avg_pool2d((whole.masks.float() + 1) / 2, (height, width), divisor_override=1).flatten(1)
        patches = (covered >= _TRACE).to(self.mask_embedding.weight.device)
        patches = patches | ~patches.any(1, keepdim=True)
        prefix = tokens - patches.shape[1]
        return torch.cat([patches.new_zeros(len(patches), prefix), patches], dim=1)

    def _own(self, state: Tensor, patches: int) -> Tensor:
        """Return the patches of a state (r, prefix + n, d), in this encoder's precision."""
        return state[:, state.shape[1] - patches :].to(self.mask_embedding.weight)

    def _check_backbone(self, backbone: Backbone) -> None:
        if len(backbone.blocks) < self.depth or not len(backbone.blocks):
            raise FeatureError(
                f"focal-prompt runs {self.depth} blocks of its backbone, and '{type(backbone).__name__}' exposes "
                f"{len(backbone.blocks)}",
                _CHOOSE,
            )


def _through(block: nn.Module, tokens: Tensor) -> Tensor:
    """Run a block in the precision of its own weights."""
    parameter = next(block.parameters(), tokens)
    out: Tensor = block(tokens.to(parameter))
    return out


def blocks_run(select_layer: int, blocks: int) -> int:
    """Return how many blocks lead to a hidden state, which are counted from 0 (before the first) or from the end.

    Raises:
        FeatureError: There is no such state.
    """
    depth = select_layer if select_layer >= 0 else blocks + 1 + select_layer
    if not 0 <= depth <= blocks:
        raise FeatureError(
            f"focal-prompt takes hidden state {select_layer} of a backbone with {blocks} blocks",
            f"set region_encoder.select_layer to {-blocks - 1}..{blocks}",
        )
    return depth


def heads_of(backbone: Backbone, width: int) -> int:
    """Return the attention heads of a backbone, as its blocks say; else as many of 64 as fit."""
    for module in backbone.blocks[0].modules():
        for name in ("num_heads", "num_attention_heads", "heads"):
            value = getattr(module, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0 and width % value == 0:
                return value
    return width // 64 if width % 64 == 0 else 1


def patch_of(backbone: Backbone) -> tuple[int, int]:
    """Return (width, height) of a patch in preprocessed pixels.

    Raises:
        FeatureError: It is no whole number of pixels.
    """
    width, height = backbone.frame((64, 64)).patch_size
    if width != round(width) or height != round(height):
        raise FeatureError(
            f"focal-prompt embeds masks patch by patch, and a patch of this backbone is {width:g} x {height:g} pixels",
            "choose a resolution that is a multiple of the patch",
        )
    return round(width), round(height)
