"""Dense captioning from files: what a detector wrote and the ground truth, with no pipeline and without torch.

Predictions are ``{image id: [{"box": [x1, y1, x2, y2], "caption": "...", "score": .9}, ...]}``, or a list of such
records with an ``image_id`` each, as COCO results are. Ground truth is ``{image id: [{"box": ..., "caption": "..."},
...]}``, or a COCO-style file with ``images`` and ``annotations``. A ``bbox`` is ``x, y, width, height``, a ``box`` is
corners; an image of the ground truth that the predictions leave out, or list empty, is one on which nothing was
detected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.regions.dense_matching import DenseImage
from regionkit.plugins.caption_metrics.regions.dense_records import (
    BoxFormat,
    box_of,
    captions_of,
    confidence_of,
    load_json,
)

if TYPE_CHECKING:
    from regionkit.core.contracts import Sample

_FORM = 'write {"image id": [{"box": [x1, y1, x2, y2], "caption": "..."}, ...]}, or a COCO-style file'
#: Ids that a message lists at most.
_SHOWN = 5

_Records = dict[str, list[Mapping[str, Any]]]
_Sizes = dict[str, tuple[int, int]]


def read_dense(predictions: Path, references: Path, box_format: BoxFormat = "auto") -> list[DenseImage]:
    """Read both files; see :func:`dense_images`."""
    return dense_images(load_json(predictions), load_json(references), box_format, (str(predictions), str(references)))


def dense_images(
    predictions: Any,
    references: Any,
    box_format: BoxFormat = "auto",
    names: tuple[str, str] = ("predictions", "references"),
) -> list[DenseImage]:
    """Return the images of the ground truth, in its order, with what was detected on them.

    Args:
        predictions: Parsed JSON of what was detected; all records have a ``score`` or none has.
        references: Parsed JSON of the ground truth.
        box_format: Of the boxes of both; ``auto`` goes by the key of each record.
        names: What to call the two in messages.

    Raises:
        DataError: A record, named by its file and image, cannot be read, or a box cannot be one; an image of the
            predictions is none of the ground truth; some detections have a score and some have none.
    """
    found, _ = _by_image(predictions, names[0])
    truth, sizes = _by_image(references, names[1])
    strangers = [image_id for image_id in found if image_id not in truth]
    if strangers:
        raise DataError(
            f"{names[0]}: {len(strangers)} of {len(found)} images are none of {names[1]}: {_listed(strangers)}",
            f"it has {len(truth)}, such as {_listed(list(truth))}",
        )
    ranked = _ranked(found, names[0])
    return [
        _image(
            image_id, found.get(image_id, []), truth[image_id], sizes.get(image_id), box_format, names, ranked=ranked
        )
        for image_id in truth
    ]


def dense_samples(images: Sequence[DenseImage]) -> tuple[list[Sample], list[str]]:
    """Return one sample a detection with its caption, for ``DenseMap.update``.

    An image on which nothing was detected is one sample of the whole image, with ``info["detections"] == 0`` and an
    empty caption. Confidences go into the info of samples where the detections have some.
    """
    from regionkit.core.contracts import Sample
    from regionkit.core.regions import Box, WholeImage

    samples, captions = [], []
    for image in images:
        truth = tuple(
            {"box": box, "caption": texts}
            for box, texts in zip(image.truth_boxes.tolist(), image.truth_captions, strict=True)
        )
        shared = {"ground_truth": truth, **({"image_size": image.size} if image.size else {})}
        if not image.captions:
            samples.append(Sample(image.id, image.id, WholeImage(), (), {**shared, "detections": 0}))
            captions.append("")
        for at, (box, score) in enumerate(zip(image.boxes.tolist(), image.scores.tolist(), strict=True)):
            info = {**shared, "confidence": score} if image.ranked else shared
            samples.append(Sample(f"{image.id}/{at}", image.id, Box(*box), (), info))
            captions.append(image.captions[at])
    return samples, captions


def _image(
    image_id: str,
    found: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]],
    size: tuple[int, int] | None,
    box_format: BoxFormat,
    names: tuple[str, str],
    *,
    ranked: bool,
) -> DenseImage:
    boxes, captions, scores = [], [], []
    for at, record in enumerate(found):
        where = f"{names[0]}: image '{image_id}': detection {at}"
        boxes.append(box_of(record, where, box_format))
        texts = captions_of(record, where)
        if len(texts) > 1:
            raise DataError(f"{where} has {len(texts)} captions, and must have one")
        captions.append(texts[0])
        scores.append(confidence_of(record["score"], where) if ranked else 1.0)
    where = f"{names[1]}: image '{image_id}': ground-truth box"
    return DenseImage(
        id=image_id,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        scores=np.array(scores, np.float64),
        captions=tuple(captions),
        truth_boxes=np.array(
            [box_of(record, f"{where} {at}", box_format) for at, record in enumerate(truth)], np.float64
        ).reshape(-1, 4),
        truth_captions=tuple(captions_of(record, f"{where} {at}") for at, record in enumerate(truth)),
        size=size,
        ranked=ranked,
    )


def _ranked(found: _Records, name: str) -> bool:
    """Say whether detections have scores; some with and some without are refused."""
    bare = [image_id for image_id, records in found.items() for record in records if "score" not in record]
    total = sum(map(len, found.values()))
    if bare and len(bare) < total:
        raise DataError(
            f"{name}: {len(bare)} of {total} detections have no score, such as one of image '{bare[0]}'",
            "write a score to all of them, or to none",
        )
    return not bare


def _by_image(data: Any, name: str) -> tuple[_Records, _Sizes]:
    """Return records by image in the file's order, and the sizes of images where the file says them."""
    if isinstance(data, Mapping) and isinstance(data.get("annotations"), list):
        images = data.get("images") or []
        if not isinstance(images, list):
            raise DataError(f"{name}: its images are no list", _FORM)
        return _grouped(data["annotations"], [_id_of(image, "id", name) for image in images], name), _sizes(images)
    if isinstance(data, list):
        return _grouped(data, [], name), {}
    if not isinstance(data, Mapping):
        raise DataError(f"{name}: this is no table of images", _FORM)
    for image_id, records in data.items():
        if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
            raise DataError(f"{name}: image '{image_id}': no list of boxes with captions", _FORM)
    return {str(image_id): records for image_id, records in data.items()}, {}


def _grouped(records: Sequence[Any], images: Sequence[str], name: str) -> _Records:
    groups: _Records = {image_id: [] for image_id in images}
    for record in records:
        image_id = _id_of(record, "image_id", name)
        if images and image_id not in groups:
            raise DataError(f"{name}: an annotation is of image '{image_id}', which is none of its images")
        groups.setdefault(image_id, []).append(record)
    return groups


def _id_of(record: Any, key: str, name: str) -> str:
    if not isinstance(record, Mapping) or not isinstance(record.get(key), (str, int)):
        raise DataError(f"{name}: a record has no {key}: {record!r:.80}", _FORM)
    return str(record[key])


def _sizes(images: Sequence[Mapping[str, Any]]) -> _Sizes:
    return {
        str(image["id"]): (image["width"], image["height"])
        for image in images
        if isinstance(image.get("width"), int) and isinstance(image.get("height"), int)
    }


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(f"'{one}'" for one in ids[:_SHOWN]) + more
