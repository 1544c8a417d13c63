"""How well the regions overlap that expressions were taken to mean and those that they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError, RegionError
from regionkit.core.geometry import region_mask
from regionkit.core.regions import Box, Mask, Region
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of, ratio_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs

#: Positions of candidates; Python refuses to read numbers of thousands of digits.
_NUMBER = re.compile("[0-9]{1,9}")


class ReferringIou(Metric):
    """Overlap of the chosen candidate and the target, from 0 to 1: mIoU, and oIoU as part ``overall``.

    mIoU, which stands for the metric, is the mean over expressions: every expression counts alike. oIoU is the sum of
    all intersections over the sum of all unions: large regions count more. An empty union counts 0.

    Areas are pixels where one of the two regions is a mask, and exact areas of boxes where both are boxes. Of boxes,
    ``Sample.info["overlaps"]``, the IoU of each candidate with the target, takes the place of their own IoU in mIoU
    where a data set states it: it knows the pixels behind them.

    Source: referring segmentation as RegionVLM (arXiv 2403.18260, Table 1) reports it; oIoU is that of earlier work.
    """

    needs = ("candidates",)
    parts = ("", "overall")

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._areas: list[tuple[float, float]] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in answers: the position of the chosen candidate of each sample, written as a number.

        Raises:
            DataError: An answer is no position among the candidates, or a region has no area to compare.
        """
        for sample, answer in checked_pairs("referring-iou", samples, captions):
            if not (_NUMBER.fullmatch(answer) and int(answer) < len(sample.candidates)):
                raise DataError(
                    f"referring-iou: the answer '{answer:.40}' to sample '{sample.id}' is no number below "
                    f"{len(sample.candidates)}",
                    "it judges referring tasks, such as ris@mini; captions are judged by other metrics",
                )
            chosen = sample.candidates[int(answer)]
            common, joined = _areas(sample, chosen)
            overlap = common / joined if joined else 0.0
            stated = sample.info.get("overlaps")
            if stated is not None and not any(isinstance(region, Mask) for region in (chosen, sample.region)):
                overlap = float(stated[int(answer)])
            self._scores.append(overlap)
            self._areas.append((common, joined))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        mean = mean_of(self._scores)
        told = {"choice": "argmax of log-likelihood", "n": len(self._scores)}
        areas = np.array(self._areas, dtype=np.float64).reshape(-1, 2)
        value = float(self.pool("overall", areas.sum(0)[None])[0])
        per_sample = tuple(self._scores)
        parts = {
            "": Score(mean, per_sample, signature("referring-iou", average="expressions", **told)),
            "overall": Score(
                value, per_sample, signature("referring-iou-overall", average="pixels", **told), statistics=areas
            ),
        }
        return Score(mean, per_sample, parts[""].signature, parts)

    @classmethod
    def pool(cls, part: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the summed intersections over the summed unions (d,) from their sums (d, 2); 0 for an empty union."""
        return ratio_of(sums)


def _areas(sample: Sample, chosen: Region) -> tuple[float, float]:
    """Return the areas, in pixels, that the chosen region and the target share and cover together."""
    target = sample.region
    if isinstance(chosen, Box) and isinstance(target, Box):
        return _areas_of_boxes(chosen, target)
    mask = next((region for region in (target, chosen) if isinstance(region, Mask)), None)
    if mask is None:
        raise DataError(
            f"referring-iou: sample '{sample.id}' compares regions of kinds '{chosen.kind}' and '{target.kind}', "
            "which are no two areas",
            "give candidates and region as masks, or both as boxes",
        )
    height, width = mask.bitmap.shape
    try:
        one, other = region_mask(chosen, (width, height)), region_mask(target, (width, height))
    except RegionError as error:
        raise DataError(f"referring-iou: sample '{sample.id}': {error.message}", *error.hints) from error
    return float(np.count_nonzero(one & other)), float(np.count_nonzero(one | other))


def _areas_of_boxes(one: Box, other: Box) -> tuple[float, float]:
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    common = max(width, 0.0) * max(height, 0.0)
    return common, sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in (one, other)) - common
