"""How well the regions overlap that expressions were taken to mean and those that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError


class ReferringIou(Metric):
    """Mean over expressions of the IoU between the chosen candidate and the target, from 0 to 1.

    It is the mIoU of referring segmentation as RegionVLM (arXiv 2403.18260, Table 1) reports it: every expression
    counts alike. ``Sample.info["overlaps"]`` holds the IoU of each candidate with the target.
    """

    needs: ClassVar[tuple[str, ...]] = ("candidates", "overlaps")

    def __init__(self) -> None:
        self._scores: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in answers: the position of the chosen candidate of each sample, written as a number.

        Raises:
            DataError: An answer is no position among the candidates.
        """
        for sample, answer in zip(samples, captions, strict=True):
            overlaps = sample.info["overlaps"]
            if not (answer.isdecimal() and int(answer) < len(overlaps)):
                raise DataError(
                    f"referring-iou: the answer '{answer}' to sample '{sample.id}' is no number below {len(overlaps)}",
                    "it judges referring tasks, such as ris@mini; captions are judged by other metrics",
                )
            self._scores.append(float(overlaps[int(answer)]))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        mean = sum(self._scores) / len(self._scores) if self._scores else 0.0
        return Score(mean, tuple(self._scores), "referring-iou|mean over expressions|argmax of log-likelihood")
