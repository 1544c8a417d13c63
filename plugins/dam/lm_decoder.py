"""Region tokens and a prompt into a causal language model.

Lian et al., Describe Anything: Detailed Localized Image and Video Captioning, arXiv 2504.16072, section 3: the tokens
of a region take the place of ``<image>`` in the prompt, among the embeddings of its words.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens
from regionkit.core.language.causal import CAUSAL, CausalDecoder
from regionkit.core.language.options import CAUSAL_SIZES
from regionkit.core.tasks import REGION_MARK
from regionkit.plugins.dam.chat_templates import IMAGE, TEMPLATES, place_image
from regionkit.plugins.dam.lm_config import LmTokensConfig


class LmTokens(CausalDecoder):
    """Writes captions with a causal language model; see :class:`LmTokensConfig` for its options."""

    name = "lm-tokens"
    naming = CAUSAL
    sizes = CAUSAL_SIZES
    habits = ("template", "prompt")
    places_regions = True

    @classmethod
    def filled(cls, config: LmTokensConfig) -> LmTokensConfig:
        """Say the sizes that follow from others."""
        return dataclasses.replace(config, kv_heads=config.kv_heads or config.heads)

    @property
    def _end(self) -> int:
        found = self.tokenizer.id_of(TEMPLATES[self.config.template].stop)
        return self.tokenizer.end if found is None else found

    @property
    def _stop(self) -> str:
        stop = TEMPLATES[self.config.template].stop
        return stop if self.tokenizer.id_of(stop) is None else ""

    def chunks(self, prompt: str | None) -> list[list[int]]:
        """Return the ids of the prompt before, between and behind the places of the region.

        A prompt says where they are with ``<image>``, as the release does, or with one mark a region, as tasks do.
        Each chunk is tokenised for itself, as the released code does: a word behind the region starts anew. What the
        tokenizer puts before every text, such as BOS, is kept before the first alone.
        """
        text = self.config.prompt if prompt is None else prompt
        question = place_image(text if IMAGE in text else text.replace(REGION_MARK, IMAGE))
        pieces = TEMPLATES[self.config.template].render(question).split(IMAGE)
        first, *others = (self.tokenizer.encode(piece) for piece in pieces)
        return [[*self.tokenizer.start, *first], *others]

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings (r, t, d) that the model reads before a caption, and which of them are no padding.

        Raises:
            FeatureError: The tokens cannot be shared out equally among the places of the prompt, or a region without
                any meets an empty prompt.
        """
        chunks = self.chunks(prompt)
        places, count = len(chunks) - 1, tokens.tokens.shape[1]
        if count % places:
            raise FeatureError(
                f"{self._who()}: {count} tokens a region cannot be shared out among the {places} {IMAGE} of the prompt",
                f"write one {IMAGE}, or as many as the region encoder has frames",
            )
        rows = len(tokens)
        pieces = [(self._embed(chunk).expand(rows, -1, -1), len(chunk)) for chunk in chunks]
        parts, valid = [pieces[0][0]], [tokens.mask.new_ones(rows, pieces[0][1])]
        for index, (words, length) in enumerate(pieces[1:]):
            share = slice(index * count // places, (index + 1) * count // places)
            parts += [tokens.tokens[:, share], words]
            valid += [tokens.mask[:, share], tokens.mask.new_ones(rows, length)]
        inside = torch.cat(valid, dim=1)
        self._check_something(inside.sum(dim=1))
        return torch.cat(parts, dim=1), inside

    def _check_something(self, lengths: Tensor) -> None:
        if len(lengths) and int(lengths.min()) == 0:
            raise FeatureError(
                f"{self._who()}: region {int(lengths.argmin())} has no token, and the prompt is empty: "
                "nothing stands before the text",
                "give a prompt, or check the region encoder before it",
            )
