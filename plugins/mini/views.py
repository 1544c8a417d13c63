"""What a backbone is shown in training: ordinary scenes, and parts of scenes at other scales."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regionkit.plugins.mini.captions import draw_template, phrases, picture_caption, say
from regionkit.plugins.mini.layout import SIDE, Draws, Layout, Placement, make_layout
from regionkit.plugins.mini.scene import render, visible_masks

#: Sides of the windows that are cut from wide scenes, in pixels: up to twice an ordinary picture.
_WINDOW = (SIDE, 2 * SIDE)
#: Largest side of the windows that are cut from ordinary scenes; the smallest just holds an object.
_LARGEST_ZOOM = 88
_MARGIN = 4
#: Patches along each side of a picture.
_GRID = 12


@dataclass(frozen=True)
class Shown:
    """A picture of a training run.

    Attributes:
        pixels: (96, 96, 3) RGB.
        caption: What is said of it.
        layout: The scene, with the objects that the caption names alone and in its order.
        masks: Their visible pixels, (side, side) each; the window that is shown has any side.
    """

    pixels: NDArray[np.uint8]
    caption: str
    layout: Layout
    masks: list[NDArray[np.bool_]]

    def areas(self) -> NDArray[np.float32]:
        """Return (p, 12, 12): for each phrase of the caption, about which part of each patch its objects cover."""
        covered: dict[tuple[str, str, str | None], NDArray[np.bool_]] = {}
        for item, mask in zip(self.layout.objects, self.masks, strict=True):
            covered[item.kind] = covered[item.kind] | mask if item.kind in covered else mask
        return np.stack([_shares(mask) for mask in covered.values()])


def show(seed: int, index: int, rescaled: int) -> Shown:
    """Return picture ``index`` of a training run.

    Args:
        seed: Of the scenes.
        index: Counts the pictures; none is shown twice.
        rescaled: Percent of the pictures that are parts of scenes, half of them windows of wide scenes that are mostly
            reduced, half of them windows of ordinary scenes that are enlarged.
    """
    draws = Draws(19, seed, index)
    if rescaled == 0 or not draws.chance(rescaled):
        layout = make_layout("train", seed, index)
        return Shown(render(layout), picture_caption(layout), layout, visible_masks(layout))
    if draws.chance(50):
        layout = make_layout("wide-train", seed, index)
        item, bounds = draws.pick(layout.objects), _WINDOW
    else:
        layout = make_layout("train", seed, index)
        item = draws.pick(layout.objects)
        bounds = (item.side + _MARGIN, _LARGEST_ZOOM)
    window = window_around(item, bounds, layout.side, draws)
    inside, masks = inside_of(layout, window)
    caption = say(draw_template(draws), phrases(inside.objects), layout.background)
    return Shown(_resized(render(layout), window), caption, inside, masks)


def window_around(item: Placement, bounds: tuple[int, int], frame: int, draws: Draws) -> tuple[int, int, int]:
    """Draw left, top and side of a square window that holds the cell of an object.

    Args:
        item: The object.
        bounds: Smallest and largest side of the window, in pixels, both included.
        frame: Side of the picture that the window is cut from.
        draws: Where the numbers come from.
    """
    side = bounds[0] + draws.below(bounds[1] - bounds[0] + 1)
    corner = []
    for start in (item.left, item.top):
        low, high = max(start + item.side - side, 0), min(start, frame - side)
        corner.append(low + draws.below(high - low + 1))
    return corner[0], corner[1], side


def inside_of(layout: Layout, window: tuple[int, int, int]) -> tuple[Layout, list[NDArray[np.bool_]]]:
    """Return a scene with the objects that are mostly inside a window, and what the window shows of their masks.

    Their sizes are left empty: they mean nothing at another scale.
    """
    left, top, side = window
    objects, masks = [], []
    for item, mask in zip(layout.objects, visible_masks(layout), strict=True):
        cut = mask[top : top + side, left : left + side]
        if 2 * np.count_nonzero(cut) > np.count_nonzero(mask):
            objects.append(replace(item, size=""))
            masks.append(cut)
    return replace(layout, objects=tuple(objects), relation=None), masks


def _resized(pixels: NDArray[np.uint8], window: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Cut out a window, left, top and side, and bring it to 96 x 96."""
    left, top, side = window
    cut = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _shares(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (12, 12): which part of each patch a square mask covers, in whole pixels; it may have any side."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255).resize((_GRID, _GRID), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
