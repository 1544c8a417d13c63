"""Masks grown and shrunk: by a disc, whose radius need not be whole, and by a square of pixels.

A mask ends at the edge of its picture: what lies beyond is no part of it. Distances are those of pixel centres, so the
disc of radius 1 is a pixel with its four neighbours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Bitmap = NDArray[np.bool_]

#: Rows from which on distances are found by the lower envelope; below that, looking at them one by one is faster.
_FAR = 64


def grown(bitmap: Bitmap, radius: float) -> Bitmap:
    """Return a mask (H, W) with all pixels that are at most ``radius`` pixels away from one of its own."""
    if radius < 1 or not bitmap.any():
        return bitmap.copy()
    radius = min(radius, math.hypot(*bitmap.shape))
    reach = math.ceil(radius)
    (top, bottom), (left, right) = (_span(bitmap, axis) for axis in (1, 0))
    window = np.s_[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach]
    found = np.zeros_like(bitmap)
    found[window] = _squared_distances(bitmap[window], radius) <= radius * radius
    return found


def shrunk(bitmap: Bitmap, radius: float) -> Bitmap:
    """Return a mask (H, W) without the pixels at most ``radius`` pixels away from one outside it.

    Where none would be left, the one that is farthest from the outside stays, the uppermost of several, then the
    leftmost; an empty mask stays empty.
    """
    if radius < 1 or not bitmap.any():
        return bitmap.copy()
    (top, bottom), (left, right) = (_span(bitmap, axis) for axis in (1, 0))
    inner = bitmap[top:bottom, left:right]
    outside = np.pad(~inner, 1, constant_values=True)
    far = _squared_distances(outside, math.hypot(*outside.shape))[1:-1, 1:-1]
    kept = far > radius * radius
    if not kept.any():
        kept.flat[int(far.argmax())] = True
    found = np.zeros_like(bitmap)
    found[top:bottom, left:right] = kept
    return found


def dilated(bitmap: Bitmap, side: int) -> Bitmap:
    """Return a mask (H, W) grown by a square of ``side`` pixels; by an even one it grows further down and right."""
    for axis in (0, 1):
        length = bitmap.shape[axis]
        reach = [(0, 0), (0, 0)]
        reach[axis] = (side // 2, side - 1 - side // 2)
        sums = np.cumsum(np.pad(bitmap, reach), axis=axis, dtype=np.int64)
        before = np.zeros_like(sums.take([0], axis))
        sums = np.concatenate([before, sums], axis=axis)
        bitmap = (sums.take(range(side, side + length), axis) - sums.take(range(length), axis)) > 0
    return bitmap


def _span(bitmap: Bitmap, axis: int) -> tuple[int, int]:
    """Return the first row (axis 1) or column (axis 0) with a pixel of the mask, and one past the last."""
    places = np.flatnonzero(bitmap.any(axis))
    return int(places[0]), int(places[-1]) + 1


def _squared_distances(bitmap: Bitmap, reach: float) -> NDArray[np.int64]:
    """Return (H, W) the squared distance to the nearest True pixel; beyond ``reach`` some larger number.

    Along the rows first; then over the rows above and below, nearest first, until none can be nearer, or for a far
    reach by the lower envelope of parabolas, which costs the same for any (Felzenszwalb and Huttenlocher, Distance
    Transforms of Sampled Functions, 2012).
    """
    height, width = bitmap.shape
    beyond = math.ceil(reach) + 1
    across = np.arange(width, dtype=np.int64)
    left = np.maximum.accumulate(np.where(bitmap, across, -beyond - width), axis=1)
    right = np.minimum.accumulate(np.where(bitmap, across, beyond + 2 * width)[:, ::-1], axis=1)[:, ::-1]
    along = np.minimum(np.minimum(across - left, right - across), beyond) ** 2
    if min(height, beyond) > _FAR:
        return _lower_envelope(along)
    found = along.copy()
    for step in range(1, min(height, beyond)):
        if step * step >= found.max():
            break
        np.minimum(found[step:], along[:-step] + step * step, out=found[step:])
        np.minimum(found[:-step], along[step:] + step * step, out=found[:-step])
    return found


def _lower_envelope(heights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (H, W) at each row the least of all parabolas ``(row - r) ** 2 + heights[r]``, for all columns at once."""
    rows, columns = heights.shape
    every = np.arange(columns)
    lowest = np.zeros((rows, columns), dtype=np.int64)  # by place in the envelope, the row whose parabola is lowest
    starts = np.full((rows + 1, columns), np.inf)  # and the row from which on it is
    starts[0] = -np.inf
    last = np.zeros(columns, dtype=np.int64)
    for row in range(1, rows):
        meets, todo = np.empty(columns), every
        while len(todo):
            other = lowest[last[todo], todo]
            rise = heights[row, todo] - heights[other, todo] + row * row - other * other
            meets[todo] = rise / (2 * (row - other))
            todo = todo[meets[todo] <= starts[last[todo], todo]]
            last[todo] -= 1
        last += 1
        lowest[last, every], starts[last, every] = row, meets
        starts[last + 1, every] = np.inf
    found = np.empty_like(heights)
    place = np.zeros(columns, dtype=np.int64)
    for row in range(rows):
        while (behind := starts[place + 1, every] < row).any():
            place += behind
        other = lowest[place, every]
        found[row] = (row - other) ** 2 + heights[other, every]
    return found
