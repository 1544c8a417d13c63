"""Regions on the patch grid: the one place where a region of any still kind becomes a weight for each patch.

Three steps, always in this order: original pixels, the preprocessed picture
(:class:`~regionkit.core.frames.Frame`), the patch grid. What leaves the picture is clipped, by these rules:

* A box wholly outside its image, a point outside it, a trace without a point inside it or a mask of another size is an
  error that names the image's size. Points of a trace that lie outside are dropped, as the data sets expect.
* A region inside the image that the frame's crop cut away takes the patches at the rim that are nearest to it.
* Whatever is smaller than a patch takes the patch it lies in. The result never sums to zero and is never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import RegionError
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Trace, WholeImage

BoxRule = Literal["intersect", "coverage", "reference"]
SetWeighting = Literal["per_patch", "per_box"]
MaskRule = Literal["any", "area"]

#: What scaling to the frame may cost, in patches: positions this close to an edge lie on it, smaller shares are none.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Rules:
    """How regions become patch weights.

    Attributes:
        box_rule: ``intersect``: every patch that the box touches counts fully (Patch-ioner, section 3). ``coverage``:
            a patch counts by the share of its area that the box covers. ``reference``: the released code, from patch
            floor(x / P) to floor(x / P) + floor(w / P), both included, which often misses the last row or column.
        set_weighting: ``per_patch``: every (box, patch) occurrence weighs the same, so large boxes weigh more
            (Patch-ioner, eq. 1). ``per_box``: every box weighs the same (the released code).
        mask_rule: ``any``: every patch with a pixel of the mask counts fully. ``area``: a patch counts by the share of
            its area that the mask covers.
    """

    box_rule: BoxRule = "intersect"
    set_weighting: SetWeighting = "per_patch"
    mask_rule: MaskRule = "any"


def patch_weights(region: Region, frame: Frame, rules: Rules | None = None) -> NDArray[np.float64]:
    """Return how much each patch belongs to a region.

    Args:
        region: A still region in pixels of the original image.
        frame: What preprocessing did to that image.
        rules: Named rules; the paper's by default.

    Returns:
        (rows, columns) weights, not normalised: occurrences or covered shares. Their sum is positive and finite.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    rules = rules or Rules()
    parts = patch_parts(region, frame, rules)
    if rules.set_weighting == "per_box":
        parts = parts / parts.sum((1, 2), keepdims=True)
    return parts.sum(0)


def patch_parts(region: Region, frame: Frame, rules: Rules | None = None) -> NDArray[np.float64]:
    """Return the weights of each part of a region: of each box of a box set, of all else as one part.

    Returns:
        (parts, rows, columns), each part with a positive finite sum, before ``set_weighting``.

    Raises:
        RegionError: As :func:`patch_weights`.
    """
    rules = rules or Rules()
    match region:
        case Box():
            return _box(region, frame, rules.box_rule)[None]
        case BoxSet():
            return np.stack([_box(box, frame, rules.box_rule) for box in region.boxes])
        case Mask():
            return _mask(region, frame, rules.mask_rule)[None]
        case Point() | Trace():
            return _points(_inside(region, frame.image_size), frame)[None]
        case Patch():
            return _points(_patch_centre(region, frame.image_size), frame)[None]
        case WholeImage():
            return np.ones((1, *frame.grid))
    raise _not_still(region)


def bounding_box(region: Region, image_size: tuple[int, int]) -> Box:
    """Return the smallest box around a region, in original pixels, clipped to the image.

    A point counts as the pixel that it lies in, so that the box always has an area. Points of a
    trace that lie outside do not count.

    Args:
        region: A still region.
        image_size: (width, height) of its image.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    match region:
        case Box():
            return _clip(region, image_size)
        case BoxSet():
            corners = np.array([_clip(box, image_size).corners for box in region.boxes])
            return _as_box(*corners[:, :2].min(0), *corners[:, 2:].max(0))
        case Mask():
            _check_size(region, image_size)
            rows, columns = np.flatnonzero(region.bitmap.any(1)), np.flatnonzero(region.bitmap.any(0))
            return _as_box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        case Point() | Trace():
            pixels = _pixels(_inside(region, image_size), image_size)
            return _as_box(*pixels.min(0), *(pixels.max(0) + 1))
        case Patch():
            (width, height), row, column = image_size, region.row, region.column
            left, right = column * width / region.columns, (column + 1) * width / region.columns
            return Box(left, row * height / region.rows, right, (row + 1) * height / region.rows)
        case WholeImage():
            return _as_box(0, 0, *image_size)
    raise _not_still(region)


def region_mask(region: Region, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of a region: all that a box touches, the pixel of each point.

    Args:
        region: A still region.
        image_size: (width, height) of its image.

    Returns:
        (H, W), True inside, never all False.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    if isinstance(region, Mask):
        _check_size(region, image_size)
        return region.bitmap.copy()
    inside = np.zeros((image_size[1], image_size[0]), dtype=np.bool_)
    if isinstance(region, Point | Trace):
        pixels = _pixels(_inside(region, image_size), image_size)
        inside[pixels[:, 1], pixels[:, 0]] = True
        return inside
    for part in region.boxes if isinstance(region, BoxSet) else (region,):
        x1, y1, x2, y2 = bounding_box(part, image_size).corners
        inside[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)] = True
    return inside


def box_spans(boxes: NDArray[np.float64], frame: Frame, rule: Literal["intersect", "reference"]) -> NDArray[np.int64]:
    """Return the patches of many boxes of one image, each a rectangle of them.

    Args:
        boxes: (k, 4) x1, y1, x2, y2 in pixels of the original image.
        frame: What preprocessing did to that image.
        rule: As in :class:`Rules`.

    Returns:
        (k, 4) first row and one past the last, first column and one past the last; at least one patch each.

    Raises:
        RegionError: A box lies outside the image.
    """
    clipped = _clipped(boxes, frame.image_size)
    spans = _reference_spans(clipped, frame) if rule == "reference" else _touched_spans(clipped, frame)
    return np.stack([*spans[1], *spans[0]], axis=1).astype(np.int64)


def _box(box: Box, frame: Frame, rule: BoxRule) -> NDArray[np.float64]:
    if rule == "coverage":
        clipped = _clip(box, frame.image_size)
        x1, y1 = frame.to_grid(clipped.x1, clipped.y1)
        x2, y2 = frame.to_grid(clipped.x2, clipped.y2)
        rows, columns = frame.grid
        covered = _shares(np.outer(_overlap(y1, y2, rows), _overlap(x1, x2, columns)))
        if covered.any():  # otherwise it is next to nothing, or cut away by the crop: as for intersect
            return covered
        rule = "intersect"
    top, bottom, left, right = box_spans(np.array([box.corners], dtype=np.float64), frame, rule)[0]
    weights = np.zeros(frame.grid)
    weights[top:bottom, left:right] = 1
    return weights


_Span = tuple[NDArray[np.float64], NDArray[np.float64]]


def _touched_spans(boxes: NDArray[np.float64], frame: Frame) -> list[_Span]:
    """Return first cell and one past the last that boxes (k, 4) touch, across and down; at least one, the nearest."""
    starts = frame.to_grid(boxes[:, 0], boxes[:, 1])  # type: ignore[arg-type]  # elementwise
    ends = frame.to_grid(boxes[:, 2], boxes[:, 3])  # type: ignore[arg-type]
    spans: list[_Span] = []
    for start, end, count in zip(starts, ends, (frame.grid[1], frame.grid[0]), strict=True):
        first = np.clip(np.floor(start + _ROUNDING), 0, count - 1)
        spans.append((first, np.maximum(np.minimum(np.ceil(end - _ROUNDING), count), first + 1)))
    return spans


def _reference_spans(boxes: NDArray[np.float64], frame: Frame) -> list[_Span]:
    """Follow the released code, where a box is ``x, y, w, h`` in pixels of the frame; return spans across and down.

    It clamps x and y to the frame and then w and h to what is left, so a box that a crop cuts at its left moves to the
    right instead of getting narrower. It does so for crops only; we do it always, which changes nothing for boxes
    inside the image and gives the last patch where its slices come out empty.
    """
    corners = frame.to_frame(boxes[:, 0], boxes[:, 1])  # type: ignore[arg-type]  # elementwise
    spans: list[_Span] = []
    for axis, corner in enumerate(corners):
        size, patch = frame.size[axis], frame.patch_size[axis]
        start = np.clip(corner, 0.0, size - 1.0)
        extent = (boxes[:, axis + 2] - boxes[:, axis]) * frame.scale[axis]
        length = np.minimum(np.maximum(extent, 0.0), size - start)
        first = np.floor(start / patch + _ROUNDING)
        spans.append((first, np.minimum(first + np.floor(length / patch + _ROUNDING) + 1, frame.grid[1 - axis])))
    return spans


def _mask(mask: Mask, frame: Frame, rule: MaskRule) -> NDArray[np.float64]:
    _check_size(mask, frame.image_size)
    around = bounding_box(mask, frame.image_size)
    left, top, right, bottom = map(int, around.corners)
    inner = mask.bitmap[top:bottom, left:right].astype(np.float64)  # the rest is empty, and may be large
    covered = _shares(_pixel_shares(frame, 0, top, bottom) @ inner @ _pixel_shares(frame, 1, left, right).T)
    if covered.any():
        return covered if rule == "area" else (covered > 0).astype(np.float64)
    return _box(around, frame, "intersect")


def _shares(covered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop shares of a patch that are nothing but rounding."""
    return np.where(covered > _ROUNDING, covered, 0)


def _points(points: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Count the points (n, 2) in each cell; those outside the frame are dropped, unless all are."""
    unit = frame.to_unit(points)
    seen = ((unit >= -_ROUNDING) & (unit <= 1 + _ROUNDING)).all(1)
    unit = (unit[seen] if seen.any() else unit).clip(0, 1)
    rows, columns = frame.grid
    # x / (1 / G), not x * G: the released code's arithmetic, which differs at some cell edges.
    cells = np.minimum((unit / (1 / np.array([columns, rows]))).astype(np.int64), (columns - 1, rows - 1))
    return (
        np.bincount(cells[:, 1] * columns + cells[:, 0], minlength=rows * columns)
        .reshape(rows, columns)
        .astype(np.float64)
    )


def _pixel_shares(frame: Frame, axis: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return (cells, stop - start): the share of each patch row (axis 0) or column (axis 1) that each pixel covers."""
    across = 1 - axis  # frames count (x, y), arrays (rows, columns)
    patch = frame.patch_size[across] / frame.scale[across]
    edges = np.arange(frame.grid[axis] + 1) * patch + frame.offset[across] / frame.scale[across]
    pixels = np.arange(start, stop, dtype=np.float64)
    return (np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)).clip(0) / patch


def _overlap(start: float, end: float, count: int) -> NDArray[np.float64]:
    """Length of ``start..end`` within each of ``count`` unit cells."""
    cells = np.arange(count, dtype=np.float64)
    return (np.minimum(end, cells + 1) - np.maximum(start, cells)).clip(0)


def _clip(box: Box, image_size: tuple[int, int]) -> Box:
    return _as_box(*_clipped(np.array([box.corners], dtype=np.float64), image_size)[0])


def _clipped(boxes: NDArray[np.float64], image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return boxes (k, 4) clipped to the image; refuse one that lies outside it."""
    width, height = image_size
    outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    if outside.any():
        x1, y1, x2, y2 = boxes[outside][0]
        raise RegionError(
            f"box {x1:g},{y1:g},{x2:g},{y2:g} lies outside its image of {width} x {height} pixels",
            f"give x1,y1,x2,y2 in pixels of the original image, between 0,0 and {width},{height}",
        )
    return np.clip(boxes, 0.0, (width, height, width, height))


def _inside(region: Point | Trace, image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the points (n, 2) that lie in the image, its right and lower edges included."""
    points = np.array(region.points, dtype=np.float64)
    width, height = image_size
    inside = ((points >= 0) & (points <= (width, height))).all(1)
    size = f"{width} x {height} pixels"
    if isinstance(region, Trace):
        if not inside.any():
            raise RegionError(
                f"none of the {len(points)} points of a trace lies inside its image of {size}",
                f"give x,y in pixels of the original image, between 0,0 and {width},{height}; "
                "Trace.from_normalised takes values in 0..1",
            )
        return points[inside]
    if not inside.all():
        x, y = points[~inside][0]
        raise RegionError(
            f"point {x:g},{y:g} lies outside its image of {size}",
            f"give x,y in pixels of the original image, between 0,0 and {width},{height}",
        )
    return points


def _patch_centre(patch: Patch, image_size: tuple[int, int]) -> NDArray[np.float64]:
    x, y = (patch.column + 0.5) / patch.columns, (patch.row + 0.5) / patch.rows
    return np.array([[x * image_size[0], y * image_size[1]]])


def _pixels(points: NDArray[np.float64], image_size: tuple[int, int]) -> NDArray[np.int64]:
    return np.minimum(points.astype(np.int64), (image_size[0] - 1, image_size[1] - 1))


def _check_size(mask: Mask, image_size: tuple[int, int]) -> None:
    height, width = mask.bitmap.shape
    if (width, height) != tuple(image_size):
        raise RegionError(
            f"a mask of {width} x {height} pixels does not fit its image of {image_size[0]} x {image_size[1]} pixels",
            "masks are given at the size of the original image: resize it with nearest neighbour",
        )


def _as_box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(float(x1), float(y1), float(x2), float(y2))


def _not_still(region: Region) -> RegionError:
    return RegionError(
        f"a {region.kind} region has no place in a single image",
        "caption its masks one by one, or choose a region encoder that takes clips: "
        "toolkit list-components --kind region_encoder",
    )
