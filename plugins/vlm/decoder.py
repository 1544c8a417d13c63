"""A vision-language model that is shown each region as a picture.

The picture's tokens stand where the prompt says ``<image>``, among the marks of tiles that the model was trained with;
from there on it is a causal language model like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import BuildContext, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.language.adapters import is_adapter
from regionkit.core.language.building import as_stored, fresh_tokenizer
from regionkit.core.language.causal import CausalDecoder
from regionkit.core.language.models import Naming, has_adapters, load_tensors
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.stored import drawn_from
from regionkit.plugins.vlm.config import SIZES, VlmConfig
from regionkit.plugins.vlm.families import (
    connect,
    in_vision_tower,
    look,
    make_config,
    new_model,
    restore_config,
    sizes_of,
    tokens_of,
)
from regionkit.plugins.vlm.tiles import IMAGE, Tiling, marked, with_marks

#: Tiles that pass through the vision tower together.
_TILES = 32


class Vlm(CausalDecoder):
    """Writes captions of pictures; see :class:`~regionkit.plugins.vlm.config.VlmConfig` for its options.

    Args:
        config: Options.
        model: The vision-language model.
        tokenizer: The ids that it writes; it has the marks of pictures.
        tiling: How pictures are prepared.

    Raises:
        RegionkitError: Adapters would reach the vision tower.
    """

    name = "vlm"
    naming = Naming("causal")
    sizes = SIZES

    def __init__(self, config: VlmConfig, model: Any, tokenizer: LanguageTokenizer, tiling: Tiling) -> None:
        config = dataclasses.replace(config, **sizes_of(model.config, config.tiles))
        super().__init__(config, "", model, tokenizer)
        self.tiling = tiling
        inside = [name for name, _ in model.named_parameters() if is_adapter(name) and in_vision_tower(name)]
        if inside:
            raise RegionkitError(
                f"decoder 'vlm': lora_targets put adapters on {inside[0].partition('.lora_')[0]}, which sees pictures",
                "what it sees must not move: let lora_targets fit layers of text_model alone",
            )

    @classmethod
    def build(cls, config: VlmConfig, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained where it has none.

        An untrained decoder takes its words from ``context.parts["corpus"]``, or its tokenizer from the option, and its
        initial weights, and those of fresh adapters, from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged or of another shape, or there are none and no corpus either.
            RegionkitError: The options describe no model.
        """
        file, who = context.weights, cls._who()
        with drawn_from(context.seed):
            if file is None:
                tokenizer = with_marks(fresh_tokenizer(config, context, who), config.tiles)
                tiling = Tiling(config.picture, config.picture * config.tiles, split=config.tiles > 1)
                return cls(config, new_model(make_config(config, tokenizer), who), tokenizer, tiling).eval()
            header, tensors, source = file.header, file.tensors(), str(file.path)
            tokenizer = LanguageTokenizer.of_extra(header.extra.get("tokenizer"), source)
            tiling = Tiling.of_extra(header.extra.get("pictures"), source)
            stored = header.extra.get("model")
            if not isinstance(stored, Mapping):
                raise WeightsError(f"{source}: its header does not say which model these are the weights of")
            config = as_stored(config, header, cls.sizes, has_adapters(tensors), source)
            decoder = cls(config, new_model(restore_config(stored, source), who), tokenizer, tiling)
            load_tensors(decoder.model, tensors, file.path)
        return decoder.eval()

    def visual_features(self, views: RegionViews) -> Tensor:
        """Return (r, d_v): the mean of what the vision tower sees in a picture, over its patches, then over its tiles.

        Source: F_I of Byun et al., arXiv 2510.12931, section 3.1; before the connector, which is no part of V.
        """
        cuts = [self.tiling.cut(picture)[0] for picture in _views(views).pictures]
        means = self._seen([tile for tiles in cuts for tile in tiles], lambda seen: seen.mean(1))
        rows = torch.split(means, [len(tiles) for tiles in cuts])
        return torch.stack([row.mean(0) for row in rows]) if rows else means[:0]

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the prompt with the picture in it; without a picture, of the start alone.

        Raises:
            RegionkitError: The prompt has more than one place for a picture.
        """
        start = list(self.tokenizer.start)
        if not tokens.tokens.shape[1]:
            start = start or [self.tokenizer.end]  # some state has to predict the first word
            return self._embed(start).expand(len(tokens), -1, -1), tokens.mask.new_ones(len(tokens), len(start))
        text = self.config.prompt if prompt is None else prompt
        before, _, behind = (text if IMAGE in text else IMAGE + text).partition(IMAGE)
        if IMAGE in behind:
            raise RegionkitError(
                f"decoder 'vlm' shows one picture a region, and the prompt has several places for it: \"{text}\"",
                f"write {IMAGE} once, or leave it out to ask after the picture",
            )
        first, last = [*start, *self.tokenizer.encode(before)], self.tokenizer.encode(behind)
        words = [self._embed(ids).expand(len(tokens), -1, -1) for ids in (first, last)]
        ones = [tokens.mask.new_ones(len(tokens), len(ids)) for ids in (first, last)]
        return torch.cat([words[0], tokens.tokens, words[1]], 1), torch.cat([ones[0], tokens.mask, ones[1]], 1)

    def artifact(self) -> WeightArtifact:
        """Return the weights, adapters included, and what the decoder knows of them."""
        artifact = super().artifact()
        extra = {**artifact.header.extra, "pictures": self.tiling.to_extra()}
        return dataclasses.replace(artifact, header=dataclasses.replace(artifact.header, extra=extra))

    def _tokens(self, inputs: RegionTokens | RegionViews) -> RegionTokens:
        """Return the embeddings of pictures, marks included, padded on the right; no tokens stand for no picture."""
        weight = self._weight
        if isinstance(inputs, RegionTokens) and not inputs.tokens.shape[1]:
            count = len(inputs)
            empty = torch.ones(count, 0, dtype=torch.bool, device=weight.device)
            return RegionTokens(weight.new_zeros(count, 0, weight.shape[1]), empty, inputs.space)
        cuts = [self.tiling.cut(picture) for picture in _views(inputs).pictures]
        features = self._seen([tile for tiles, _ in cuts for tile in tiles], lambda seen: connect(self.model, seen))
        count = tokens_of(self.model.config)
        rows = [self.tokenizer.encode(marked(grid, count)) for _, grid in cuts]
        ids, lengths = self._padded(rows)
        place = torch.eq(ids, self.model.config.image_token_id)
        embeddings = self.model.get_input_embeddings()(ids)
        embeddings = embeddings.masked_scatter(place.unsqueeze(-1), features.to(embeddings))
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
        return RegionTokens(embeddings, mask, f"vlm/picture[{weight.shape[1]}]")

    def _seen(self, tiles: Sequence[Image.Image], made: Any) -> Tensor:
        """Return what is made of the vision tower's (n, patches, d_v), a few tiles at a time."""
        device, dtype = self._weight.device, self._weight.dtype
        found = []
        for part in iter_batches(len(tiles), _TILES):
            pixels = self.tiling.pixels(tiles[part]).to(device=device, dtype=dtype)
            found.append(made(look(self.model, pixels)))
        width = self.config.vision_hidden
        return torch.cat(found) if found else self._weight.new_zeros(0, width)


def _views(inputs: RegionTokens | RegionViews) -> RegionViews:
    if isinstance(inputs, RegionTokens):
        raise FeatureError(
            f"decoder 'vlm' reads pictures and got vectors in {inputs.space}",
            "choose a region encoder that writes pictures: region_encoder: picture",
        )
    return inputs
