"""Dense captioning as a metric: mean average precision of boxes with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.features import Caption
from regionkit.core.regions import Box
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.regions.dense_configs import DenseMapConfig
from regionkit.plugins.caption_metrics.regions.dense_matching import DenseImage, Floats
from regionkit.plugins.caption_metrics.regions.dense_precision import DenseResult, evaluate
from regionkit.plugins.caption_metrics.regions.dense_records import confidence_of, ground_truth
from regionkit.plugins.caption_metrics.regions.dense_similarity import judge_of
from regionkit.plugins.caption_metrics.regions.dense_ties import Spread

_NOTHING_FOUND = 'an image without detections is one sample of the whole image with info["detections"] == 0'


@dataclass(slots=True)
class _Gathered:
    """What was taken in of an image."""

    told: Any
    size: tuple[int, int] | None
    truth_boxes: Floats
    truth_captions: tuple[tuple[str, ...], ...]
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)


class DenseMap(Metric):
    """Mean average precision of dense captioning (Johnson et al., DenseCap, section 4.2), from 0 to 1.

    A sample is a detection: its region is a box. ``Sample.info["ground_truth"]`` lists all that is in its image, as
    mappings with ``box`` (``x1, y1, x2, y2`` in pixels) and ``caption``, a text or several, or as
    ``(x1, y1, x2, y2, caption)``; it is the same object, or an equal one, for all samples of an image.
    ``Sample.info["image_size"]``, ``(width, height)``, is used to check boxes where it is there. An image on which
    nothing was detected is one sample of the whole image with ``info["detections"] == 0``; its caption is ignored.

    Parts: the mean average precision; ``detection``, that of the boxes alone; where confidences are tied, the mean
    ``tie-expected`` and the standard deviation ``tie-spread`` of the value over the orders in which the sorts of the
    released programs could leave them, and the mean ``tie-broken`` where a little noise tells them apart
    (:class:`~regionkit.plugins.caption_metrics.regions.dense_ties.Ties`). Without ties all three say the value.

    The value is no sum over images: a detection's part in it depends on the rank of all others. There are no values of
    samples and no statistics; an interval would take a new ranking for every draw of images.
    """

    needs = ("ground_truth",)

    def __init__(self, config: DenseMapConfig) -> None:
        self.config = config
        self.judge = judge_of(config)
        ties = ("tie-expected", "tie-spread", "tie-broken")
        self.parts = ("detection", *ties) if self.judge.similarity is None else ("", "detection", *ties)
        self._images: dict[str, _Gathered] = {}
        self._source = ""
        self._result: DenseResult | None = None

    def prepare(self) -> None:
        """Start METEOR, where it judges, without waiting for it."""
        if self.judge.start is not None:
            self.judge.start()

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of detections, in order; without a ``confidence`` in their info all are equally sure.

        Raises:
            DataError: A sample is no box, its ground truth cannot be read or differs from that of other samples of its
                image, its confidence is no number, or only some have one; a caption is no text.
        """
        for sample, caption in zip(samples, captions, strict=True):
            self._take(sample, caption, None)

    def update_from(self, samples: Sequence[Sample], captions: Sequence[Caption]) -> None:
        """Take in captions with the log-likelihoods by which they are ranked; see :meth:`update`."""
        for sample, caption in zip(samples, captions, strict=True):
            # Only the order counts: the exponential would tie all that are less likely than the smallest number.
            self._take(sample, caption.text, caption.score)

    def compute(self) -> Score:
        """Judge everything taken in so far.

        Raises:
            DataError: A box of an image, which is named, has no area or leaves the image.
        """
        if self._result is None:
            self._result = evaluate(
                [self._image(image_id, gathered) for image_id, gathered in self._images.items()],
                self.judge.similarity,
                inclusive=self.config.variant == "lua",
                count_empty=self.config.count_empty,
                recall_points=self.config.recall_points,
                tie_orders=self.config.tie_orders,
            )
        found = self._result
        ties, judged = found.ties, found.precision is not None
        boxes = self._score("detection", float(found.detection.mean()), similarity=None, order="stable")
        parts = {
            **({"": self._score("", found.value, similarity=self.judge.label, order="stable")} if judged else {}),
            "detection": boxes,
            "tie-expected": self._tied("tie-expected", ties.sorted.mean, ties.sorted),
            "tie-spread": self._tied("tie-spread", ties.sorted.deviation, ties.sorted),
            "tie-broken": self._tied("tie-broken", ties.broken.mean, ties.broken),
        }
        return replace(parts[self.parts[0]], parts=parts)

    def _tied(self, part: str, value: float, spread: Spread) -> Score:
        tried = f"all {spread.orders}" if spread.exact else f"{spread.orders} at random"
        return self._score(part, value, similarity=self.judge.label, order=tried)

    def _score(self, part: str, value: float, *, similarity: str | None, order: str) -> Score:
        assert self._result is not None
        share = self._result.ties.share
        said = signature(
            f"dense-map-{part}" if part else "dense-map",
            variant=self.config.variant,
            similarity=similarity,
            recall_points=self.config.recall_points,
            count_empty="yes" if self.config.count_empty else "no",
            confidence=self._source or "none",
            # Whoever ranks by likelihoods has a tie here and there: below one percent all count as alike.
            ties=f"{share:.0%}" if share >= 0.01 else "below 1%",
            order=order,
            truths=self._result.truths,
            n=len(self._images),
        )
        return Score(value, None, said)

    def _take(self, sample: Sample, caption: str, likelihood: float | None) -> None:
        image = self._image_of(sample)
        self._result = None
        if not isinstance(sample.region, Box):
            if sample.info.get("detections") != 0:
                raise DataError(
                    f"dense-map: sample '{sample.id}' is a region of kind {sample.region.kind}, no box", _NOTHING_FOUND
                )
            return
        if not isinstance(caption, str):
            raise DataError(f"dense-map: the caption of sample '{sample.id}' is {caption!r:.40}, and must be text")
        source, confidence = self._confidence(sample, likelihood)
        if self._source not in ("", source):
            raise DataError(
                f"dense-map: the confidence of sample '{sample.id}' is {source}, of samples before it {self._source}",
                "all detections are ranked alike: option confidence says by what",
            )
        self._source = source
        image.boxes.append(sample.region.corners)
        image.scores.append(confidence)
        image.captions.append(caption)

    def _image_of(self, sample: Sample) -> _Gathered:
        """Return what was taken in of a sample's image."""
        if "ground_truth" not in sample.info:
            raise DataError(f"dense-map: sample '{sample.id}' has no info['ground_truth'], what is in its image")
        told, known = sample.info["ground_truth"], self._images.get(sample.image_id)
        if known is not None and known.told is told:
            return known
        boxes, captions = ground_truth(told, f"dense-map: image '{sample.image_id}'")
        if known is None:
            known = _Gathered(told, sample.info.get("image_size"), boxes, captions)
            self._images[sample.image_id] = known
        elif not np.array_equal(known.truth_boxes, boxes) or known.truth_captions != captions:
            raise DataError(
                f"dense-map: sample '{sample.id}' and others of image '{sample.image_id}' have different ground truths",
                "info['ground_truth'] lists all that is in the image, the same for all its samples",
            )
        return known

    def _confidence(self, sample: Sample, likelihood: float | None) -> tuple[str, float]:
        """Return by what a detection is ranked, and its confidence."""
        told, wanted = sample.info.get("confidence"), self.config.confidence
        if wanted == "info" or (wanted == "auto" and told is not None):
            return "info", confidence_of(told, f"dense-map: sample '{sample.id}'")
        if wanted in ("auto", "likelihood") and likelihood is not None:
            return "likelihood", confidence_of(likelihood, f"dense-map: sample '{sample.id}'")
        return "uniform", 1.0

    def _image(self, image_id: str, gathered: _Gathered) -> DenseImage:
        return DenseImage(
            id=image_id,
            boxes=np.array(gathered.boxes, np.float64).reshape(-1, 4),
            scores=np.array(gathered.scores, np.float64),
            captions=tuple(gathered.captions),
            truth_boxes=gathered.truth_boxes,
            truth_captions=gathered.truth_captions,
            size=gathered.size,
            ranked=self._source != "uniform",
        )
