"""Dense captioning, first half: detections and ground truth of each image, and which belongs to which.

Source: Johnson et al., DenseCap (arXiv 1511.07571), section 4.2, and the two programs that are used for it: the Lua one
of the release and its port to torch (densecap-pytorch), which later papers evaluate with. Boxes are ``x1, y1, x2, y2``
in pixels of the original image, half-open. Letters: n detections, m ground-truth boxes, g merged ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import DataError

#: Ground-truth boxes of this IoU or more are one thing that several people described.
MERGED_FROM = 0.7
#: Pixels by which a box may stick out of its image: files that count pixels inclusively, and rounding.
_SLACK = 1.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class DenseImage:
    """What was detected in an image and what is in it.

    Attributes:
        id: Key of the image.
        boxes: (n, 4) detections.
        scores: (n,) how sure each of them is, on any scale; only their order over the whole set counts.
        captions: Captions of the n detections.
        truth_boxes: (m, 4) ground truth.
        truth_captions: One or more captions of each of the m boxes.
        size: ``(width, height)`` in pixels where it is known; boxes are then checked against it.
        ranked: False where nothing says how sure the detections are; all scores are then equal.

    Raises:
        DataError: A box has no area, is not finite or leaves its image, a score is NaN, lengths differ.
    """

    id: str
    boxes: Floats
    scores: Floats
    captions: tuple[str, ...]
    truth_boxes: Floats
    truth_captions: tuple[tuple[str, ...], ...]
    size: tuple[int, int] | None = None
    ranked: bool = True

    def __post_init__(self) -> None:
        for name, boxes, mates in (
            ("detection", self.boxes, (len(self.scores), len(self.captions))),
            ("ground-truth box", self.truth_boxes, (len(self.truth_captions),)),
        ):
            if boxes.ndim != 2 or boxes.shape[1] != 4 or any(len(boxes) != count for count in mates):
                raise DataError(f"dense-map: image '{self.id}': {name}s of shape {boxes.shape} for {mates} values")
            _check_boxes(boxes, name, self.id, self.size)
        if np.isnan(self.scores).any():
            at = int(np.flatnonzero(np.isnan(self.scores))[0])
            raise DataError(f"dense-map: image '{self.id}': the confidence of detection {at} is NaN")


def _check_boxes(boxes: Floats, name: str, image_id: str, size: tuple[int, int] | None) -> None:
    x1, y1, x2, y2 = boxes.T
    faults = [
        (~np.isfinite(boxes).all(1), "is not finite"),
        ((x2 <= x1) | (y2 <= y1), "has no area as x1,y1,x2,y2"),
    ]
    if size:
        beyond = (x1 < -_SLACK) | (y1 < -_SLACK) | (x2 > size[0] + _SLACK) | (y2 > size[1] + _SLACK)
        faults.append((beyond, f"leaves the image of {size[0]} x {size[1]} pixels"))
    for wrong, what in faults:
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            corners = ",".join(f"{value:g}" for value in boxes[at])
            raise DataError(
                f"dense-map: image '{image_id}': {name} {at} is {corners}, which {what}",
                "boxes are x1,y1,x2,y2 in pixels of the image, with x2 > x1 and y2 > y1",
                "x, y, width, height, as COCO files store boxes, is written with the key bbox and not box",
            )


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """All detections of a data set, in the order given, and the merged ground truth that each overlaps most.

    Attributes:
        scores: (n,) confidences.
        truth: (n,) which merged box, counted over the whole data set; -1 for none.
        overlap: (n,) IoU with it.
        captions: Captions of the n detections.
        truths: Pooled captions of each of the g merged boxes.
    """

    scores: Floats
    truth: Integers
    overlap: Floats
    captions: tuple[str, ...]
    truths: tuple[tuple[str, ...], ...]


def match(images: Sequence[DenseImage], *, inclusive: bool = False, count_empty: bool = False) -> Matches:
    """Find for every detection the merged ground-truth box that it overlaps most, of equals the first.

    Args:
        images: The data set.
        inclusive: As the Lua program: boxes include their last pixel, so every width and height is one more; and a
            detection that overlaps nothing takes the last box of its image, since the index -1 that stands for "none"
            is one that torch7 counts from the end. (Read in its code, and confirmed by vectors; the box can then
            only be lost, since an overlap of 0 never counts.) With False, as the torch port.
        count_empty: Images without a detection keep their ground truth. The drivers of the released evaluations skip
            such images, which raises recall.
    """
    truths: list[tuple[str, ...]] = []
    found = [np.zeros(0, np.int64)], [np.zeros(0)]
    for image in images:
        if not (len(image.boxes) or count_empty):
            continue
        groups = merge(iou(image.truth_boxes, image.truth_boxes, inclusive=inclusive))
        which, overlap = _most_overlapped(image, groups, inclusive)
        found[0].append(np.where(which < 0, -1, which + len(truths)))
        found[1].append(overlap)
        truths += [tuple(text for at in group for text in image.truth_captions[at]) for group in groups]
    return Matches(
        scores=np.concatenate([np.zeros(0), *(image.scores for image in images)]),
        truth=np.concatenate(found[0]),
        overlap=np.concatenate(found[1]),
        captions=tuple(text for image in images for text in image.captions),
        truths=tuple(truths),
    )


def _most_overlapped(image: DenseImage, groups: list[Integers], inclusive: bool) -> tuple[Integers, Floats]:
    """Return for n detections of an image the merged box (n,), -1 for none, and the overlap (n,) with it."""
    if not (groups and len(image.boxes)):
        return np.full(len(image.boxes), -1), np.zeros(len(image.boxes))
    lengths = np.array([len(group) for group in groups])
    sums = np.add.reduceat(image.truth_boxes[np.concatenate(groups)], np.cumsum(lengths) - lengths)
    overlaps = iou(image.boxes, sums / lengths[:, None], inclusive=inclusive)
    which = overlaps.argmax(1)
    overlap = overlaps[np.arange(len(which)), which]
    return np.where(overlap > 0, which, len(groups) - 1 if inclusive else -1), overlap


def iou(boxes: Floats, others: Floats, *, inclusive: bool = False) -> Floats:
    """Return the IoU (n, m) of boxes (n, 4) with others (m, 4); ``inclusive`` counts the last pixel as inside."""
    more = 1.0 if inclusive else 0.0
    left, top, right, bottom = boxes.T[:, :, None]
    left_of, top_of, right_of, bottom_of = others.T[:, None]
    width = np.minimum(right, right_of) - np.maximum(left, left_of) + more
    height = np.minimum(bottom, bottom_of) - np.maximum(top, top_of) + more
    common = np.maximum(width, 0) * np.maximum(height, 0)
    area = (right - left + more) * (bottom - top + more)
    ratio: Floats = common / (area + (right_of - left_of + more) * (bottom_of - top_of + more) - common)
    return ratio


def merge(overlaps: Floats) -> list[Integers]:
    """Group the boxes of an image that show one thing.

    Again and again the box with the most neighbours, of equals the first, takes its neighbours and leaves with them. A
    group need not be close all round: two neighbours of its first box may be far from each other.

    Args:
        overlaps: (m, m) IoU of the boxes with each other.

    Returns:
        Positions of the boxes of each of g groups, in the order in which they left.
    """
    near = overlaps >= MERGED_FROM
    neighbours = near.sum(1)
    groups: list[Integers] = []
    while len(near) and neighbours[first := neighbours.argmax()] > 1:
        group = np.flatnonzero(near[first])
        groups.append(group)
        near[group] = False
        neighbours -= near[:, group].sum(1)
        near[:, group] = False
        neighbours[group] = 0
    return [*groups, *np.flatnonzero(neighbours)[:, None]]  # whoever is left has no neighbour but itself
