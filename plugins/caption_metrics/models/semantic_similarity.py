"""How near a caption and its references are in the space of a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch.nn.functional import cosine_similarity

from regionkit.core.contracts import BuildContext, Metric, Sample, Score, iter_batches
from regionkit.core.language.encoders import TextEncoder, load_encoder
from regionkit.core.signatures import signature
from regionkit.core.weights import WeightFile
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.models.configs import SemanticSimilarityConfig
from regionkit.plugins.caption_metrics.models.inputs import Pair, pairs_of
from regionkit.plugins.caption_metrics.models.sources import weights_of
from regionkit.plugins.caption_metrics.words.cleaning import CLEANINGS

NAME = "semantic-similarity"
#: Samples that are judged together.
_TOGETHER = 128


class SemanticSimilarity(Metric):
    """Mean over samples of the cosine of sentence vectors of caption and reference, from -1 to 1.

    An empty caption is a sentence like any other: under all-MiniLM-L6-v2 it is .356 from "cat". Nothing is made 0 of
    it; report the share of empty captions beside this number, or a metric of words.

    Args:
        config: Options.
        weights: The encoder; None for a small untrained one.
        seed: Of the untrained one.

    Source: the recognition of categories (LVIS, PACO) as Osprey (arXiv 2312.10032) and VideoRefer (arXiv 2501.00599)
    evaluate it, both with all-MiniLM-L6-v2; Describe Anything (arXiv 2504.16072) reports it too.
    """

    def __init__(self, config: SemanticSimilarityConfig, weights: WeightFile | None = None, seed: int = 0) -> None:
        self.config, self.weights, self.seed = config, weights, seed
        self._pairs: list[Pair] = []
        self._scores: list[float] = []

    @classmethod
    def build(cls, config: SemanticSimilarityConfig, context: BuildContext) -> Self:
        """Take the weights of the context; they are read when captions are first judged.

        Raises:
            WeightsError: There are none.
        """
        return cls(config, weights_of(NAME, config.weights, context), context.seed)

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A caption is no text, or a sample has no reference.
        """
        self._pairs += pairs_of(NAME, samples, captions, references=True)

    def compute(self) -> Score:
        """Judge everything taken in so far; 0 for nothing.

        Raises:
            WeightsError: The weights are damaged.
            FeatureError: The encoder gives NaN or infinite values.
        """
        encoder = load_encoder(NAME, self.weights, seed=self.seed)
        new = self._pairs[len(self._scores) :]
        for part in iter_batches(len(new), _TOGETHER):
            self._scores += self._judged(encoder, new[part])
        told = signature(
            NAME,
            model=encoder.size if self.weights else "untrained",
            weights=encoder.digest[:12],
            pooling=encoder.reading.pooling,
            cleaning=self.config.cleaning,
            references=self.config.references,
            n=len(self._scores),
        )
        return Score(mean_of(self._scores), tuple(self._scores), told)

    def _judged(self, encoder: TextEncoder, pairs: Sequence[Pair]) -> list[float]:
        clean, clean_reference = _cleaning(self.config.cleaning)
        texts = [(clean(pair.caption), [clean_reference(text) for text in pair.references]) for pair in pairs]
        places = {text: at for at, text in enumerate(dict.fromkeys(one for own, all_ in texts for one in (own, *all_)))}
        vectors = encoder.sentences(list(places))
        scores = []
        for own, references in texts:
            others = vectors[torch.tensor([places[text] for text in references])]
            found = cosine_similarity(vectors[places[own]].unsqueeze(0), others, dim=-1)
            scores.append(float(found.max() if self.config.references == "best" else found.mean()))
        return scores


def _cleaning(name: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return what is done to captions, and what to references."""
    return (str, str) if name == "none" else CLEANINGS[name]
