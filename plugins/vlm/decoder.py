"""A vision-language model that is shown each region as a picture.

The picture's tokens stand where the prompt says ``<image>``, among the marks of tiles that the model was trained with;
from there on it is a causal language model like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from regionkit.core.contracts import BuildContext, WeightArtifact
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.language.adapters import is_adapter
from regionkit.core.language.building import as_stored, fresh_tokenizer
from regionkit.core.language.causal import CausalDecoder
from regionkit.core.language.models import Naming, has_adapters, load_tensors
from regionkit.core.language.prefix import Prefix
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.stored import drawn_from
from regionkit.plugins.vlm.config import SIZES, VlmConfig
from regionkit.plugins.vlm.families import (
    FAMILIES,
    in_vision_tower,
    make_config,
    new_model,
    restore_config,
    sizes_of,
    with_marks,
)
from regionkit.plugins.vlm.family import Looked, Pictures, Shown
from regionkit.plugins.vlm.native import spread_positions

#: Where a prompt has its picture, in every family.
IMAGE = "<image>"


@dataclass(frozen=True)
class PictureTokens(RegionTokens):
    """Tokens of r pictures, marks included.

    Attributes:
        places: (r, t, 3) 1, row and column of each token of a picture; zeros at marks.
        deep: (r, t, k, d) what joins the states behind each of the first k layers; zeros at marks. None where nothing
            does.
    """

    places: Tensor
    deep: Tensor | None


class Vlm(CausalDecoder):
    """Writes captions of pictures; see :class:`~regionkit.plugins.vlm.config.VlmConfig` for its options.

    Args:
        config: Options.
        model: The vision-language model.
        tokenizer: The ids that it writes; it has the marks of pictures.
        pictures: How pictures are prepared.

    Raises:
        RegionkitError: Adapters would reach the vision tower.
    """

    name = "vlm"
    naming = Naming("causal")
    sizes = SIZES
    habits = ("prompt", "template", "pixels")

    def __init__(self, config: VlmConfig, model: Any, tokenizer: LanguageTokenizer, pictures: Pictures) -> None:
        config = dataclasses.replace(config, **sizes_of(model.config, pictures))
        super().__init__(config, "", model, tokenizer)
        self.family = FAMILIES[model.config.model_type]
        self.pictures = self.family.bounded(pictures, config.pixels) if config.pixels else pictures
        inside = [name for name, _ in model.named_parameters() if is_adapter(name) and in_vision_tower(name)]
        if inside:
            raise RegionkitError(
                f"decoder 'vlm': lora_targets put adapters on {inside[0].partition('.lora_')[0]}, which sees pictures",
                "what it sees must not move: let lora_targets fit layers of the language model alone",
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
                family = FAMILIES[config.model]
                tokenizer = with_marks(fresh_tokenizer(config, context, who), family.new_marks(config))
                model = new_model(make_config(config, tokenizer), who)
                return cls(config, model, tokenizer, family.pictures_of_options(config)).eval()
            header, tensors, source = file.header, file.tensors(), str(file.path)
            tokenizer = LanguageTokenizer.of_extra(header.extra.get("tokenizer"), source)
            stored = header.extra.get("model")
            if not isinstance(stored, Mapping):
                raise WeightsError(f"{source}: its header does not say which model these are the weights of")
            config = as_stored(config, header, cls.sizes, has_adapters(tensors), source)
            made_of = restore_config(stored, source)
            pictures = FAMILIES[made_of.model_type].pictures_of_extra(header.extra.get("pictures"), source)
            decoder = cls(config, new_model(made_of, who), tokenizer, pictures)
            load_tensors(decoder.model, tensors, file.path)
        return decoder.eval()

    def visual_features(self, views: RegionViews) -> Tensor:
        """Return (r, d_v): the mean of what the vision tower sees in a picture, over its patches, then over its tiles.

        Source: F_I of Byun et al., arXiv 2510.12931, section 3.1; before the connector, which is no part of V.
        """
        shown = self._prepared(views)
        if not shown:
            return self._weight.new_zeros(0, self.config.vision_hidden)
        return self.family.features(self.model, shown)

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the prompt with the picture in it; without a picture, of the start alone.

        Raises:
            RegionkitError: The prompt has more than one place for a picture.
        """
        prefix = self.prefix(tokens, prompt)
        return prefix.embeddings, prefix.valid

    def prefix(self, tokens: RegionTokens, prompt: str | None = None) -> Prefix:
        """Return what :meth:`spliced` does, and where in its picture each token lies, if the model is told."""
        start = list(self.tokenizer.start)
        if not tokens.tokens.shape[1]:
            start = start or [self.tokenizer.end]  # some state has to predict the first word
            return Prefix(self._embed(start).expand(len(tokens), -1, -1), tokens.mask.new_ones(len(tokens), len(start)))
        opening, closing = self._around(self.config.prompt if prompt is None else prompt)
        first, last = [*start, *self.tokenizer.encode(opening)], self.tokenizer.encode(closing)
        beside = {"places": tokens.places} if isinstance(tokens, PictureTokens) else {}
        if isinstance(tokens, PictureTokens) and tokens.deep is not None:
            beside["deep"] = tokens.deep
        shown = Prefix(tokens.tokens, tokens.mask, beside)
        before, behind = (self._embed(ids).expand(len(tokens), -1, -1) for ids in (first, last))
        return shown.preceded_by(before).followed_by(behind)

    def model_inputs(self, prefix: Prefix) -> dict[str, Tensor]:
        """Return the inputs of the model, with positions in rows and columns where the family has them."""
        inputs = super().model_inputs(prefix)
        if self.family.spreads:  # always: the models remember those of an earlier call
            inputs["position_ids"] = spread_positions(prefix)
        return inputs

    @contextmanager
    def reading(self, prefix: Prefix) -> Iterator[None]:
        """Add what deep layers of the tower saw, where the family has such, to the states of the whole prefix."""
        deep, length = prefix.beside.get("deep"), prefix.valid.shape[1]
        hooks = []
        if deep is not None:
            for part, layer in zip(deep.unbind(2), self.family.layers(self.model), strict=False):
                hooks.append(layer.register_forward_hook(_joining(part, length)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def width(self) -> int:
        """Width of the words that it reads; what it is shown are pictures, which lie in no space."""
        return int(self._weight.shape[1])

    def artifact(self) -> WeightArtifact:
        """Return the weights, adapters included, and what the decoder knows of them."""
        artifact = super().artifact()
        extra = {**artifact.header.extra, "pictures": self.pictures.to_extra()}
        return dataclasses.replace(artifact, header=dataclasses.replace(artifact.header, extra=extra))

    def _tokens(self, inputs: RegionTokens | RegionViews) -> RegionTokens:
        """Return the embeddings of pictures, marks included, padded on the right; no tokens stand for no picture."""
        weight = self._weight
        if isinstance(inputs, RegionTokens) and not inputs.tokens.shape[1]:
            count = len(inputs)
            empty = torch.ones(count, 0, dtype=torch.bool, device=weight.device)
            return RegionTokens(weight.new_zeros(count, 0, weight.shape[1]), empty, inputs.space)
        shown = self._prepared(_views(inputs))
        looked = self.family.look(self.model, shown) if shown else []
        rows = [self.tokenizer.encode(self.family.text(self.model.config, one.grid)) for one in shown]
        ids, lengths = self._padded(rows)
        holes = torch.eq(ids, self.model.config.image_token_id)
        embeddings = _filled(self.model.get_input_embeddings()(ids), holes, [one.tokens for one in looked])
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
        return self._told(RegionTokens(embeddings, mask, f"vlm/picture[{weight.shape[1]}]"), holes, looked)

    def _told(self, tokens: RegionTokens, holes: Tensor, looked: Sequence[Looked]) -> RegionTokens:
        """Return the tokens with what else the model is told of them."""
        places = [one.places for one in looked if one.places is not None]
        if not places:
            return tokens
        ones = [torch.cat([one.new_ones(len(one), 1), one], 1) for one in places]
        deep = [one.deep.transpose(0, 1) for one in looked if one.deep is not None]
        rows, length = holes.shape
        return PictureTokens(
            tokens.tokens,
            tokens.mask,
            tokens.space,
            _filled(ones[0].new_zeros(rows, length, 3), holes, ones),
            _filled(deep[0].new_zeros(rows, length, *deep[0].shape[1:]), holes, deep) if deep else None,
        )

    def _prepared(self, views: RegionViews) -> list[Shown]:
        return [self.pictures.shown(picture) for picture in _views(views).pictures]

    def _around(self, prompt: str) -> tuple[str, str]:
        """Return what stands before a prompt's picture and behind it, in the template of the model.

        Raises:
            RegionkitError: The prompt has more than one place for a picture.
        """
        before, _, behind = (prompt if IMAGE in prompt else IMAGE + prompt).partition(IMAGE)
        if IMAGE in behind:
            raise RegionkitError(
                f"decoder 'vlm' shows one picture a region, and the prompt has several places for it: \"{prompt}\"",
                f"write {IMAGE} once, or leave it out to ask after the picture",
            )
        template = self.family.template if self.config.template == "auto" else self.config.template
        opening, _, closing = template.partition("{}")
        return opening + before, behind + closing


def _joining(part: Tensor, length: int) -> Callable[[Any, Any, Tensor], Tensor]:
    """Return a hook that adds (r, t, d) to the states that a layer returns of t positions, and of no single word."""

    def join(layer: Any, inputs: Any, states: Tensor) -> Tensor:
        if states.shape[1] != length:
            return states
        return states + part.repeat_interleave(len(states) // len(part), 0)  # beams of a row stand together

    return join


def _filled(values: Tensor, holes: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Put parts, one (n, ...) a row, into the holes (r, t) of values (r, t, ...)."""
    if not parts:
        return values
    wide = holes.view(*holes.shape, *(1 for _ in values.shape[2:]))
    return values.masked_scatter(wide, torch.cat(list(parts)).to(values))


def _views(inputs: RegionTokens | RegionViews) -> RegionViews:
    if isinstance(inputs, RegionTokens):
        raise FeatureError(
            f"decoder 'vlm' reads pictures and got vectors in {inputs.space}",
            "choose a region encoder that writes pictures: region_encoder: picture",
        )
    return inputs
