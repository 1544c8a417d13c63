"""ViECap's decoder: the nearest words of a vocabulary are said before the caption.

Fei et al., Transferable Decoding with Visual Entities for Zero-Shot Image Captioning, arXiv 2307.16525.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.plugins.zeroshot.entities import EntityDecoder
from regionkit.plugins.zeroshot.entities_config import PLACE
from regionkit.plugins.zeroshot.viecap_config import ViecapConfig

#: Sentences whose vectors make that of a word, with ``ensemble``.
TEMPLATES: tuple[str, ...] = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
#: Words that are embedded together.
_WORDS = 128
#: Where the header of a weight file says how the vectors with it were made.
_ENSEMBLE = "ensemble"


def embed_vocabulary(
    encode: Callable[[Sequence[str]], Tensor], words: Sequence[str], templates: Sequence[str], *, each: bool = False
) -> Tensor:
    """Return the vectors (n, d) of n words, float32 on the CPU.

    Each is the unit mean of the unit vectors of the word's sentences; without templates that of one sentence, as it is.
    With ``each`` they are (n, t, d), the unit vectors of all t sentences.
    """
    parts = []
    for part in iter_batches(len(words), _WORDS):
        some = words[part]
        if not templates:
            parts.append(encode([f"A photo of {_article(word)} {word}." for word in some]).float().cpu())
            continue
        units = normalize(
            encode([one.replace(PLACE, word) for word in some for one in templates]).float().cpu(), dim=-1
        )
        units = units.view(len(some), len(templates), -1)
        parts.append(units if each else normalize(units.mean(dim=1), dim=-1))
    return torch.cat(parts)


def _article(word: str) -> str:
    return "an" if word[:1] in tuple("aeiou") else "a"


def entity_probabilities(vectors: Tensor, entries: Tensor, temperature: float) -> Tensor:
    """Return (r, n): a softmax over the cosines of vectors (r, d) with the vocabulary's (n, d).

    Of a word with several vectors (n, t, d) the nearest counts.
    """
    units = normalize(entries.float(), dim=-1)
    cosines = normalize(vectors.float(), dim=-1) @ units.flatten(0, -2).T
    if units.ndim == 3:
        cosines = cosines.view(len(vectors), *units.shape[:2]).amax(dim=-1)
    return (cosines / temperature).softmax(dim=-1)


def top_entities(probabilities: Tensor, words: Sequence[str], top_k: int, threshold: float) -> list[list[str]]:
    """Return the likeliest ``top_k`` words of each row (r, n) whose probability is at least ``threshold``."""
    values, places = probabilities.topk(min(top_k, len(words)), dim=-1)
    rows = zip(values.tolist(), places.tolist(), strict=True)
    # Values descend: those from the threshold on come first.
    return [[words[at] for value, at in zip(*row, strict=True) if value >= threshold] for row in rows]


class Viecap(EntityDecoder):
    """Writes captions behind soft tokens and the nearest words; see :class:`ViecapConfig` for its options."""

    name = "viecap"
    config: ViecapConfig
    _encode: Callable[[Sequence[str]], Tensor] | None = None
    _entries: tuple[tuple[str, ...], Tensor] | None = None
    _why: str = ""

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Build as elsewhere; vectors of the vocabulary come with the weights, or are made when first needed.

        Raises:
            WeightsError, RegionkitError: As elsewhere.
        """
        decoder = super().build(config, context)
        made = context.weights.header.extra if context.weights is not None else {}
        if config.each or made.get(_ENSEMBLE, config.ensemble) != config.ensemble:
            decoder._stored = None  # those that came along are means
        backbone = context.backbone
        if backbone is None:
            decoder._why = "it was built without a backbone"
        elif not backbone.text_space:
            decoder._why = f"backbone '{type(backbone).__name__}' has no text tower"
        elif Space.parse(backbone.text_space).dim != decoder.width:
            decoder._why = f"the text tower writes {backbone.text_space}, and the decoder reads {decoder.space}"
        else:
            decoder._encode = backbone.encode_text
        return decoder

    def entities(self, tokens: RegionTokens) -> list[list[str]]:
        """Return the nearest words of r regions of one token.

        Raises:
            FeatureError: There is nothing to make the vectors of the vocabulary with.
        """
        words, entries = self.entries()
        vectors = tokens.vectors()
        likely = entity_probabilities(vectors, entries.to(vectors.device), self.config.temperature)
        return top_entities(likely, words, self.config.top_k, self.config.threshold)

    @torch.no_grad()
    def entries(self) -> tuple[tuple[str, ...], Tensor]:
        """Return the words of the vocabulary and their vectors (n, d), or (n, t, d); raises as :meth:`entities`."""
        if self._entries is None:
            if self._stored is not None and (self.config.vocabulary == "auto" or self._stored[0] == self.vocabulary):
                self._entries = self._stored
            elif self._encode is None:
                raise FeatureError(
                    f"{self._who()} compares regions with words, and cannot embed those of its vocabulary: {self._why}",
                    "choose a backbone with a text tower: toolkit compat shows which parts fit; or name the official "
                    "vectors, a checkpoint of this decoder with the role 'vocabulary'",
                )
            else:
                templates = TEMPLATES if self.config.ensemble else ()
                vectors = embed_vocabulary(self._encode, self.vocabulary, templates, each=self.config.each)
                self._entries = (self.vocabulary, vectors)
        return self._entries

    def artifact(self) -> WeightArtifact:
        """Return the weights, with the vectors of the vocabulary where they can be made and are one a word."""
        if self._encode is not None and not self.config.each:
            self._stored = self.entries()
        made = super().artifact()
        extra = {**made.header.extra, _ENSEMBLE: self.config.ensemble}
        return dataclasses.replace(made, header=dataclasses.replace(made.header, extra=extra))
