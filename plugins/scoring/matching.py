"""Predictions and references brought together by id: what is judged, and what is missing, extra or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.plugins.scoring.predictions import Detection, Predictions
from regionkit.plugins.scoring.references import References
from regionkit.plugins.scoring.words import listed

#: What a sample that stands for an image without detections says in ``Sample.info``.
NO_DETECTION = MappingProxyType({"detections": 0})


@dataclass(slots=True)
class Matched:
    """What is judged, in the order of the references.

    Attributes:
        samples: One a caption; for dense captioning one a detection, and one for each image without any.
        captions: One a sample; empty for an image without detections.
        ids: How many ids of the references that is.
        missing: Ids with references and no prediction.
        extra: Ids with a prediction and no references.
        refused: Ids that cannot be judged, and why.
    """

    samples: list[Sample] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    ids: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def match(predictions: Predictions, references: References) -> Matched:
    """Pair predictions with what they are judged against.

    In a file of detections an image that is left out is one on which nothing was detected, and not missing.

    Raises:
        DataError: There is nothing to judge.
    """
    found = Matched(refused=dict(references.refused))
    for name, sample in references.samples.items():
        if name in predictions.refused:
            found.refused[name] = predictions.refused[name]
        elif name in predictions.captions:
            found.samples.append(sample)
            found.captions.append(predictions.captions[name])
        elif predictions.detections:
            for one, caption in _detected(sample, predictions.detections.get(name, ())):
                found.samples.append(one)
                found.captions.append(caption)
        else:
            found.missing.append(name)
    found.ids = len(references.samples) - len(found.missing) - sum(name in references.samples for name in found.refused)
    known = references.samples.keys() | references.refused.keys()
    given = (*predictions.captions, *predictions.detections, *predictions.refused)
    found.extra = [name for name in given if name not in known]
    if not found.samples:
        raise _nothing(predictions, references, found)
    return found


def _detected(sample: Sample, detections: tuple[Detection, ...]) -> Iterator[tuple[Sample, str]]:
    """Yield a sample and a caption for each detection of an image, or one of the whole image that says there are none.

    What a model says of its confidence is ``Sample.info["confidence"]``.
    """
    if not detections:
        yield replace(sample, region=WholeImage(), info={**sample.info, **NO_DETECTION}), ""
    for at, one in enumerate(detections):
        info = dict(sample.info)
        if one.confidence is not None:
            info["confidence"] = one.confidence
        yield replace(sample, id=f"{sample.id}#{at}", region=one.box, info=info), one.caption


def _nothing(predictions: Predictions, references: References, found: Matched) -> DataError:
    """Say why nothing can be judged."""
    if found.refused and not (found.missing and found.extra):
        name, reason = next(iter(found.refused.items()))
        return DataError(f"nothing can be scored: {len(found.refused):,} refused; the first, '{name}': {reason}")
    return DataError(
        f"{predictions.name} and {references.name} have no id in common",
        f"predictions are of: {listed(found.extra, 3)}",
        f"references are of: {listed([*references.samples, *references.refused], 3)}",
    )
