"""Semantic IoU: the words that a predicted phrase shares with the category of its region (LVIS, PACO)."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.words.cleaning import CLEANINGS
from regionkit.plugins.caption_metrics.words.configs import SemanticIouConfig


class SemanticIou(Metric):
    """Mean over regions of the IoU between two sets of lower-case words, from 0 to 1 (papers print it times 100).

    Where a sample has several references, the one that agrees best counts; LVIS and PACO have one category a region.
    Where neither side has a word left after cleaning, the value is 0: the release of Osprey divides by zero there, that
    of VideoRefer adds 1e-10 to the denominator, which is left out here, and comes to 0.

    Source: Yuan et al., Osprey, arXiv 2312.10032, and its release; the release of VideoRefer (arXiv 2501.00599).
    """

    def __init__(self, config: SemanticIouConfig) -> None:
        self.config = config
        self._scores: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in phrases for samples, in order.

        Raises:
            DataError: A sample has no reference; a phrase or a reference is no text.
        """
        for sample, caption in checked_pairs("semantic-iou", samples, captions, references=True):
            if not sample.references:
                raise DataError(f"semantic-iou: sample '{sample.id}' has no reference: its category, as a phrase")
            found = [semantic_iou(caption, category, self.config.cleaning) for category in sample.references]
            self._scores.append(max(found))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        told = signature("semantic-iou", cleaning=self.config.cleaning, references="best", empty=0, n=len(self._scores))
        return Score(mean_of(self._scores), tuple(self._scores), told)


def semantic_iou(prediction: str, category: str, cleaning: str) -> float:
    """Return the IoU of the words of a prediction and of a category, cleaned as ``CLEANINGS`` says; 0 for no words."""
    clean = CLEANINGS[cleaning]
    said = set(clean.prediction(prediction).lower().split())
    meant = set(clean.category(category).lower().split())
    return len(said & meant) / max(len(said | meant), 1)
