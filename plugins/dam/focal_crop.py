"""Which pixels of a picture a region is, and which part of the picture is cut out around it (section 3.2.1)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from regionkit.core.geometry import region_mask
from regionkit.core.regions import Point, Region, Trace
from regionkit.plugins.dam.configs import FocalPromptConfig

#: ``x1, y1, x2, y2`` in whole pixels of the original picture, half-open.
PixelBox = tuple[int, int, int, int]

#: Radius of the disc that a point becomes, as a share of the picture's shorter side.
_POINT_SHARE = 1 / 50


def pixels_of(region: Region, image_size: tuple[int, int], point_radius: float) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of a region: those of a mask, all that a box touches, a disc around each point.

    A disc holds the pixels whose centre is no further than the radius from the centre of the point's own pixel, as far
    as they lie in the picture. Points of a trace that lie outside count for nothing.

    Args:
        region: A still region.
        image_size: (width, height) of its image.
        point_radius: In pixels; -1 scales with the picture.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    mask = region_mask(region, image_size)
    if not isinstance(region, Point | Trace):
        return mask
    radius = max(1.0, min(image_size) * _POINT_SHARE) if point_radius < 0 else point_radius
    return widened(mask, radius)


def widened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Return all pixels whose centre is no further than ``radius`` from that of a pixel of the mask (H, W).

    Each row of the disc is a run of pixels, and runs are added up by where they start and end, so that ten thousand
    points cost no more than their number times the radius.
    """
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    reach = min(math.floor(radius), height)
    if reach < 1:
        return mask
    starts = np.zeros((height, width + 1), dtype=np.int32)
    for step in range(-reach, reach + 1):
        half = math.floor(math.sqrt(radius * radius - step * step))
        there = (rows + step >= 0) & (rows + step < height)
        row, left = rows[there] + step, np.maximum(columns[there] - half, 0)
        right = np.minimum(columns[there] + half + 1, width)
        np.add.at(starts, (row, left), 1)
        np.add.at(starts, (row, right), -1)
    inside: NDArray[np.bool_] = starts.cumsum(1)[:, :width] > 0
    return inside


def tight_box(mask: NDArray[np.bool_]) -> PixelBox:
    """Return the smallest box around the pixels of a mask (H, W), which must have one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def view_box(mask: NDArray[np.bool_], config: FocalPromptConfig) -> PixelBox:
    """Return the part of the picture that the local view shows, by ``crop``, ``scale``, ``min_side`` and ``min_on``.

    Args:
        mask: (H, W), True somewhere.
        config: The options.
    """
    height, width = mask.shape
    if config.crop == "full":
        return 0, 0, width, height
    box = tight_box(mask)
    if config.crop in ("tight", "masked"):
        return box
    smallest = config.min_side if config.crop == "focal" else 0
    spans = [
        _span(box[axis], box[axis + 2], (width, height)[axis], config.scale, smallest, config.smallest)
        for axis in (0, 1)
    ]
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _span(start: int, stop: int, limit: int, scale: float, smallest: int, rule: str) -> tuple[int, int]:
    """Widen ``start..stop`` around its middle and cut it off at 0 and ``limit``; it is never moved back inside.

    ``expanded`` sets the smallest length of the result, ``base`` that of what is scaled. The latter follows the
    released code to the pixel, in which positions are cut off towards zero, also below zero.
    """
    length, middle = stop - start, (start + stop) / 2
    if rule == "base":
        length = max(length, smallest)
        start = int(middle - length / 2)
        margin = math.floor(length * (scale - 1) / 2)
        first, last = start - margin, start + length + margin
    else:
        wide = max(math.floor(length * scale), smallest)
        first = math.floor(middle - wide / 2)
        last = first + wide
    return max(first, 0), min(last, limit)
