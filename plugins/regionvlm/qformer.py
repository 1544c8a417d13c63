"""RegionVLM's region encoder: points as text steer the queries of a Q-Former over the whole picture.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models, sections 3.1 and 3.3. The network
is transformers' ``InstructBlipQFormerModel``, whose outputs are those of the released code bit for bit: queries and
text attend to each other in every layer, and only the queries look at the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

from regionkit.core.contracts import BuildContext, RegionEncoder, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.geometry import bounding_box
from regionkit.core.regions import Region, Regions
from regionkit.core.spec import STILL_REGIONS, Space
from regionkit.core.stored import drawn_from, with_stored
from regionkit.core.visual_prompts import Style, render
from regionkit.core.weights import WeightFile, WeightHeader, load_into
from regionkit.plugins.regionvlm.configs import ARCHITECTURE, MEANING, PointQFormerConfig
from regionkit.plugins.regionvlm.point_text import (
    NumeralTokenizer,
    PointTokenizer,
    point_string,
    tokenizer_from,
    tokenizer_of,
)
from regionkit.plugins.regionvlm.points import Numbers, PointRule, region_points
from regionkit.plugins.regionvlm.positions import patch_waves, waves

#: BERT's, in every Q-Former that was released.
_EPS = 1e-12
#: Spread of fresh weights in BERT; narrower networks start wider, or their layers would hardly say anything at first.
_SPREAD, _BERT_WIDTH = 0.02, 768
#: Largest number that is drawn, far beyond any number of pixels.
_LARGE = 2**62


class PointQFormer(nn.Module, RegionEncoder):
    """Turns a region into the outputs of learned queries that read its points and the whole picture.

    Args:
        config: Sizes and options.
        reads: Space of the picture features, ``name[dim]``.
        writes: Space of the query outputs.
        tokenizer: Reads point text.

    Raises:
        WeightsError: ``vocabulary`` has fewer rows than the tokenizer has ids.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: PointQFormerConfig, reads: str, writes: str, tokenizer: PointTokenizer) -> None:
        super().__init__()
        if config.vocabulary and config.vocabulary < tokenizer.size:
            raise WeightsError(
                f"region_encoder.vocabulary: {config.vocabulary} rows are fewer than the {tokenizer.size} ids of the "
                "tokenizer",
                "leave it out to have as many rows as ids",
            )
        self.config, self.tokenizer = config, tokenizer
        self.reads, self.space = reads, writes
        self.rule = PointRule(config.points, config.order, config.dilate, config.draws)
        width = Space.parse(reads).dim
        spread = _SPREAD * math.sqrt(_BERT_WIDTH / config.hidden)
        self.qformer = InstructBlipQFormerModel(
            InstructBlipQFormerConfig(
                vocab_size=config.vocabulary or tokenizer.size,
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.head_count,
                intermediate_size=config.intermediate,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                max_position_embeddings=config.positions,
                layer_norm_eps=_EPS,
                initializer_range=spread,
                pad_token_id=tokenizer.pad,
                cross_attention_frequency=config.cross_every,
                encoder_hidden_size=width,
            )
        )
        self.query_tokens = nn.Parameter(torch.randn(1, config.queries, config.hidden) * spread)
        self.ln_vision = nn.LayerNorm(width, eps=config.eps)

    @classmethod
    def build(cls, config: PointQFormerConfig, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained from ``context.seed`` where it has none.

        Raises:
            WeightsError: The weights are damaged, of another shape or for features of another width, or the tokenizer
                that ``tokenizer`` names cannot be read.
        """
        file = context.weights
        with drawn_from(context.seed):
            if file is None:
                encoder = cls(config, context.reads, context.writes, tokenizer_of(config.tokenizer))
                encoder._order_numerals()
                return encoder.eval()
            _check_width(context.reads, file)
            stored = file.header.config
            config = with_stored(config, stored, ARCHITECTURE, kind="region_encoder", source=str(file.path))
            encoder = cls(config, context.reads, context.writes, tokenizer_from(file.header.extra, file.path))
        load_into(encoder, file.tensors(), file.path)
        return encoder.eval()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return the query outputs of r regions of b pictures.

        Args:
            scene: b images whose features are computed once; for ``prompt: crop`` and ``circle`` the backbone runs
                again on what is drawn. No gradient reaches the features.
            regions: r still regions in pixels of the original images.

        Returns:
            tokens (r, queries, hidden), none of them padding. In evaluation they follow from picture and region alone;
            in training points are drawn anew from torch's global random numbers, as dropout is.

        Raises:
            RegionError: A region lies outside its image or is a mask track.
            FeatureError: The backbone produced NaN, or features of another width.
        """
        regions.require(self.accepts, "point-qformer")
        if not len(regions):
            return RegionTokens.none(self.space)
        texts = self.texts(scene, regions)
        pictures, rows = self._seen(scene, regions)
        outputs = [
            self._queries(pictures, rows[part], texts[part]) for part in iter_batches(len(rows), self.config.batch_size)
        ]
        tokens = torch.cat(outputs)
        return RegionTokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), self.space)

    def texts(self, scene: Scene, regions: Regions) -> list[str]:
        """Return the point text of each region as it is before it is cut to ``max_point_tokens``.

        Raises:
            RegionError: A region lies outside its image or is a mask track.
        """
        numbers: Numbers | None = _drawn if self.training else None
        texts = []
        for region, index in zip(regions.items, regions.image, strict=True):
            size = scene.images[index].size
            if self.config.prompt != "points":
                bounding_box(region, size)  # refuses what lies outside
                texts.append("")
                continue
            texts.append(point_string(region_points(region, size, self.rule, numbers), self.config.compat))
        return texts

    def attention(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, h, w): where the queries look, each map summing to 1.

        The mean over heads, queries and the layers that ``attention_layers`` names. What the class token gets is left
        out. With ``prompt: circle`` it is where they look in the picture with the circle.

        Raises:
            RegionError: As :meth:`encode`.
            FeatureError: With ``prompt: crop`` there is no map of the whole picture.
        """
        grid = scene.backbone.frame(scene.images[0].size).grid if scene.images else (0, 0)
        count = grid[0] * grid[1]
        maps = [self.query_tokens.new_zeros(0, count)]
        for weights in self._looks(scene, regions):
            chosen = weights[:, -1:] if self.config.attention_layers == "last" else weights
            mean = chosen.mean((1, 2, 3))[:, -count:]
            maps.append(mean / mean.sum(1, keepdim=True))
        found = torch.cat(maps)
        return found.reshape(len(found), *grid)

    def attention_maps(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, layers, heads, queries, n): all cross-attention, of the layers that have any, in order.

        n counts the class token, where the features have one, and then the patches, row-major; each row sums to 1.

        Raises:
            RegionError: As :meth:`encode`.
            FeatureError: As :meth:`attention`.
        """
        looks = list(self._looks(scene, regions))
        if looks:
            return torch.cat(looks)
        layers = len(self._looking())
        return self.query_tokens.new_zeros(0, layers, self.config.head_count, self.config.queries, 0)

    def artifact(self) -> WeightArtifact:
        """Return the weights, the options that shape them or that they were trained with, and the tokenizer."""
        config = {name: getattr(self.config, name) for name in (*ARCHITECTURE, *MEANING)}
        config |= {"heads": self.config.head_count, "vocabulary": self.qformer.config.vocab_size}
        config["norm_eps"] = self.config.eps
        extra = {"tokenizer": self.tokenizer.to_extra()}
        header = WeightHeader(
            "region_encoder", "point-qformer", self.reads, writes=self.space, config=config, extra=extra
        )
        return WeightArtifact(self.state_dict(), header)

    def _queries(self, pictures: Tensor, rows: Sequence[int], texts: Sequence[str]) -> Tensor:
        """Run the Q-Former for some regions: pictures (p, n, d), the picture of each, its text."""
        ids, mask = self._ids(texts)
        queries = self.query_tokens.expand(len(rows), -1, -1)
        looking = torch.ones(queries.shape[:2], dtype=torch.long, device=queries.device)
        with torch.autocast(queries.device.type, enabled=False):  # half precision loses what points differ in
            found = self.qformer(
                input_ids=ids,
                attention_mask=torch.cat([looking, mask], dim=1),
                query_embeds=queries,
                encoder_hidden_states=pictures[torch.tensor(rows, device=pictures.device)],
            )
        return cast(Tensor, found.last_hidden_state)[:, : self.config.queries]

    def _ids(self, texts: Sequence[str]) -> tuple[Tensor | None, Tensor]:
        """Return ids (r, s) and mask (r, s), padded at the end; no ids where no region has any."""
        without = self.config.empty_text == "none"
        encoded = [
            [] if without and not text else self.tokenizer.encode(text, self.config.most_tokens) for text in texts
        ]
        longest = max(map(len, encoded))
        pad, device = self.tokenizer.pad, self.query_tokens.device
        ids = torch.tensor([one + [pad] * (longest - len(one)) for one in encoded], dtype=torch.long, device=device)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in encoded], device=device)
        return (ids if longest else None), mask.long()

    def _seen(self, scene: Scene, regions: Regions) -> tuple[Tensor, list[int]]:
        """Return what the Q-Former sees (p, n, d), and which of the p pictures each region belongs to."""
        if self.config.prompt in ("points", "none"):
            used = sorted(set(regions.image))
            place = {index: row for row, index in enumerate(used)}
            return self._normed(scene.features, used), [place[index] for index in regions.image]
        scene.backbone.check_images(scene.images)
        style: Style = "crop" if self.config.prompt == "crop" else "circle"
        parts = []
        for part in iter_batches(len(regions), self.config.batch_size):
            pairs = zip(regions.items[part], regions.image[part], strict=True)
            with torch.no_grad():
                drawn = [self._drawn(scene.images[index], one, style) for one, index in pairs]
                features = scene.backbone.encode(drawn)
            features.check_finite(f"backbone '{type(scene.backbone).__name__}'")
            parts.append(self._normed(features, range(len(features))))
        return torch.cat(parts), list(range(len(regions)))

    def _drawn(self, image: Image.Image, region: Region, style: Style) -> Image.Image:
        """Draw one region on its picture, whose notes (``info``) go with it: tiny backbones ask where it is from."""
        drawn = render(image, region, style, width=self._line_width(image.size))
        drawn.info = dict(image.info)
        return drawn

    def _line_width(self, image_size: tuple[int, int]) -> int:
        """Return the width of the circle's line in pixels of the original picture, as the option says."""
        return self.config.circle_width or max(1, round(max(image_size) / 64))

    def _normed(self, features: Features, chosen: Sequence[int]) -> Tensor:
        """Return the class token, where it is wanted, and the patches of some pictures, (p, n, d), normalised."""
        rows = torch.tensor(list(chosen), device=features.patches.device)
        seen = features.patches[rows].flatten(1, 2)
        front = 0
        if self.config.cls == "auto" and features.cls is not None:
            seen, front = torch.cat([features.cls[rows].unsqueeze(1), seen], dim=1), 1
        if seen.shape[-1] != self.ln_vision.normalized_shape[0]:
            raise FeatureError(
                f"region encoder 'point-qformer' reads {self.reads} and got features of width {seen.shape[-1]}",
                "choose the backbone that it was trained with: toolkit weights list",
            )
        # Detached: the backbone is frozen.
        seen = cast(Tensor, self.ln_vision(seen.detach().to(self.ln_vision.weight)))
        if self.config.patch_positions == "sincos":
            grid = (features.patches.shape[1], features.patches.shape[2])
            places = patch_waves(grid, seen.shape[-1]).to(seen)
            seen = seen + nn.functional.pad(places, (0, 0, front, 0))
        return seen

    @torch.no_grad()
    def _looks(self, scene: Scene, regions: Regions) -> Iterator[Tensor]:
        """Yield the cross-attention (r, layers, heads, queries, n) of some regions after the others."""
        regions.require(self.accepts, "point-qformer")
        if self.config.prompt == "crop":
            raise FeatureError(
                "point-qformer with prompt 'crop' looks at cut-outs and has no attention map of the whole picture",
                "set region_encoder.prompt to points, circle or none",
            )
        if not len(regions):
            return
        was = self.training
        self.eval()  # neither dropout nor new points
        try:
            texts = self.texts(scene, regions)
            pictures, rows = self._seen(scene, regions)
            for part in iter_batches(len(rows), self.config.batch_size):
                with self._watched() as weights:
                    self._queries(pictures, rows[part], texts[part])
                yield torch.stack(weights, dim=1)
        finally:
            self.train(was)

    def _looking(self) -> list[Any]:
        """Return the cross-attention modules, in order."""
        return [layer.crossattention.attention for layer in self.qformer.encoder.layer if layer.has_cross_attention]

    @contextmanager
    def _watched(self) -> Iterator[list[Tensor]]:
        """Collect softmax(q k / sqrt(d)) of each cross-attention that runs, (r, heads, queries, n).

        It is computed again from what goes in: the fast kernels never hold it.
        """
        weights: list[Tensor] = []

        def look(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            hidden = named["hidden_states"] if "hidden_states" in named else positional[0]
            keys = module.key(named["encoder_hidden_states"]).unflatten(-1, (self.config.head_count, -1))
            queries = module.query(hidden).unflatten(-1, (self.config.head_count, -1))
            scores = torch.einsum("rqhd,rnhd->rhqn", queries, keys) * module.scaling
            weights.append(scores.softmax(-1))

        hooks = [module.register_forward_pre_hook(look, with_kwargs=True) for module in self._looking()]
        try:
            yield weights
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _order_numerals(self) -> None:
        """Start the numerals as waves of their value, for models trained from nothing.

        BERT's embeddings of numerals are ordered already: 31 is more like 32 than like 80. Random ones would have to be
        learned one by one.
        """
        if isinstance(self.tokenizer, NumeralTokenizer):
            words = self.qformer.embeddings.word_embeddings.weight
            words[self.tokenizer.numerals] = waves(torch.arange(101), words.shape[1]).to(words)


def _drawn(count: int) -> list[int]:
    """Draw whole numbers from torch's global generator, which the training loop seeds and keeps in its checkpoints."""
    return cast(list[int], torch.randint(_LARGE, (count,)).tolist())


def _check_width(reads: str, file: WeightFile) -> None:
    """Refuse weights for features of another width, in one sentence."""
    own, wanted = Space.parse(file.header.space or reads).dim, Space.parse(reads).dim
    if own != wanted:
        raise WeightsError(
            f"{file.path}: this Q-Former looks at features of width {own}, and the backbone writes {reads}",
            "choose the backbone that it was trained with",
        )
