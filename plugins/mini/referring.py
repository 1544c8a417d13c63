"""Referring segmentation in the mini-world: which of these masks does an expression mean?"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from regionkit.plugins.mini.layout import Draws, Layout
from regionkit.plugins.mini.scene import MiniObject, MiniScene, tight_box


def targets(layout: Layout) -> tuple[int, ...]:
    """Return the positions of objects that an expression picks: one of its kind, in a scene that has other kinds."""
    kinds = Counter(item.kind for item in layout.objects)
    if len(kinds) < 2:
        return ()
    return tuple(at for at, item in enumerate(layout.objects) if kinds[item.kind] == 1)


def candidates_of(
    scene: MiniScene, target: MiniObject, draws: Draws
) -> tuple[list[NDArray[np.bool_]], tuple[float, ...]]:
    """Return masks to choose from, in an order that is drawn, and the IoU of each with the target's mask.

    They are the masks of all objects, a half of each, left or right, and the ground: the pixels of no object.
    """
    masks: list[NDArray[np.bool_]] = [item.mask for item in scene.objects]
    masks += [half for item in scene.objects if (half := _half(item.mask, right=draws.chance(50))).any()]
    ground = ~np.logical_or.reduce([item.mask for item in scene.objects])
    masks.append(ground)
    order = _shuffled(len(masks), draws)
    return [masks[at] for at in order], tuple(_overlap(masks[at], target.mask) for at in order)


def _half(mask: NDArray[np.bool_], *, right: bool) -> NDArray[np.bool_]:
    """Return the left or the right half of a mask, cut down the middle of its box; one column has no left half."""
    x1, _, x2, _ = tight_box(mask)
    middle = (x1 + x2) // 2
    half = mask.copy()
    half[:, slice(0, middle) if right else slice(middle, None)] = False
    return half


def _shuffled(count: int, draws: Draws) -> list[int]:
    """Return 0..count-1 in an order that is drawn (Fisher and Yates)."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = draws.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection of two masks over their union."""
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))
