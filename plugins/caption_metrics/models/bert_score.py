"""BERTScore: how well each token of a caption finds one like it in a reference, and the other way round."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, Metric, Sample, Score, iter_batches
from regionkit.core.language.encoders import Encoded, TextEncoder, check_layers, load_encoder
from regionkit.core.signatures import signature
from regionkit.core.weights import WeightFile
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.models.configs import BertScoreConfig
from regionkit.plugins.caption_metrics.models.inputs import Pair, pairs_of
from regionkit.plugins.caption_metrics.models.sources import weights_of

NAME = "bert-score"
#: Samples whose states are in memory together.
_TOGETHER = 64


class BertScore(Metric):
    """F1 of the greedy matching of tokens by the cosine of their contextual states, from -1 to 1, in practice .8 to 1.

    Against several references the best counts. A caption, or a reference, of no token scores 0 before rescaling.

    Args:
        config: Options.
        weights: The encoder; None for a small untrained one.
        seed: Of the untrained one.

    Source: Zhang et al., BERTScore, ICLR 2020, section 3, as the authors' package bert-score 0.3.13 computes it: the
    tokens around a text weigh nothing and may be matched all the same. Where that package pads shorter texts it takes 0
    for the best cosine of a token if all are negative; here it is what it is.
    """

    def __init__(self, config: BertScoreConfig, weights: WeightFile | None = None, seed: int = 0) -> None:
        self.config, self.weights, self.seed = config, weights, seed
        self._pairs: list[Pair] = []
        self._scores: list[float] = []

    @classmethod
    def build(cls, config: BertScoreConfig, context: BuildContext) -> Self:
        """Take the weights of the context; they are read when captions are first judged.

        Raises:
            WeightsError: There are none, or the encoder has fewer blocks than are asked for.
        """
        weights = weights_of(NAME, config.weights, context)
        if weights is not None:
            check_layers(NAME, weights, config.layer)
        return cls(config, weights, context.seed)

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
        encoder = load_encoder(NAME, self.weights, layers=self.config.layer, seed=self.seed)
        known = 0 if self.config.idf else len(self._scores)  # document frequencies change with every reference
        frequencies = self._frequencies(encoder) if self.config.idf else None
        scores = self._scores[:known]
        for part in iter_batches(len(self._pairs) - known, _TOGETHER):
            scores += self._judged(encoder, self._pairs[known:][part], frequencies)
        self._scores = scores
        return Score(mean_of(scores), tuple(scores), self._signature(encoder))

    def _signature(self, encoder: TextEncoder) -> str:
        return signature(
            NAME,
            value="f1",
            model=encoder.size if self.weights else "untrained",
            weights=encoder.digest[:12],
            layer=self.config.layer,
            idf="references of this run" if self.config.idf else "none",
            rescale=f"{self.config.baseline:g}" if self.config.baseline else "none",
            references="best",
            n=len(self._pairs),
        )

    def _judged(self, encoder: TextEncoder, pairs: Sequence[Pair], weights: Mapping[int, float] | None) -> list[float]:
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.caption, *pair.references)))
        seen = {
            text: (normalize(one.states, dim=-1), token_weights(one, weights))
            for text, one in zip(texts, encoder.encode(texts), strict=True)
        }
        floor = self.config.baseline
        best = (max(greedy_f1(*seen[pair.caption], *seen[text]) for text in pair.references) for pair in pairs)
        return [(value - floor) / (1 - floor) for value in best]

    def _frequencies(self, encoder: TextEncoder) -> dict[int, float]:
        """Return the inverse document frequency of each id: in how many references of the run it is not."""
        counts: Counter[int] = Counter()
        seen: dict[str, frozenset[int]] = {}
        references = [text for pair in self._pairs for text in pair.references]
        for text in references:
            if text not in seen:
                seen[text] = frozenset(encoder.ids(text))
            counts.update(seen[text])
        # An id of no reference has the largest weight.
        return {
            -1: math.log(len(references) + 1),
            **{one: math.log((len(references) + 1) / (count + 1)) for one, count in counts.items()},
        }


def token_weights(text: Encoded, frequencies: Mapping[int, float] | None = None) -> Tensor:
    """Return the weight (t,) of each id of a text: 0 around it, else 1, or its inverse document frequency.

    Args:
        text: The text.
        frequencies: Weight by id, with that of ids which are not in it under -1; None for equal weights.
    """
    if frequencies is None:
        return text.words.float()
    rare = torch.tensor([frequencies.get(one, frequencies[-1]) for one in text.ids])
    return rare * text.words


def greedy_f1(caption: Tensor, caption_weights: Tensor, reference: Tensor, reference_weights: Tensor) -> float:
    """Return the F1 of a caption against a reference.

    Args:
        caption: (t, d) unit vectors of its tokens.
        caption_weights: (t,) their weights.
        reference: (s, d) unit vectors of the reference's tokens.
        reference_weights: (s,) their weights.

    Returns:
        The harmonic mean of precision and recall, the weighted means of the best cosines; 0 where all weights of either
        are 0, as those of an empty text are, or where the two sum to 0.
    """
    cosines = caption @ reference.T
    if not (caption_weights.sum() > 0 and reference_weights.sum() > 0):
        return 0.0
    precision = float((cosines.max(1).values * caption_weights).sum() / caption_weights.sum())
    recall = float((cosines.max(0).values * reference_weights).sum() / reference_weights.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
