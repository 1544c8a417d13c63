"""A scene of the mini-world: picture, objects with exact boxes and masks, and the mark that its pictures carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from regionkit.plugins.mini import drawing
from regionkit.plugins.mini.layout import Layout, Placement, make_layout

#: Key and value of the mark: in ``Image.info`` in memory, in a text chunk of a PNG file.
MARK_KEY = "regionkit"
MARK_VALUE = "mini-world"


@dataclass(frozen=True)
class MiniObject:
    """One object as it can be seen: ``box`` x1, y1, x2, y2 half-open and ``mask`` (side, side) bool, both in pixels.

    Pixels that a later object hides belong to neither.
    """

    placement: Placement
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]

    @property
    def noun(self) -> str:
        """Return the noun."""
        return self.placement.noun

    @property
    def size(self) -> str:
        """Return "small" or "big"."""
        return self.placement.size

    @property
    def colour(self) -> str | None:
        """Return the colour word, or None for a noun in its natural colours."""
        return self.placement.colour


@dataclass(frozen=True)
class MiniScene:
    """A scene: its layout, from which everything else follows."""

    layout: Layout

    @property
    def id(self) -> str:
        """Return split/seed/index."""
        return self.layout.id

    @property
    def background(self) -> str:
        """Return the word for the background."""
        return self.layout.background

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Return the picture as (side, side, 3) RGB."""
        return render(self.layout)

    @property
    def image(self) -> Image.Image:
        """Return the picture as a PIL image that carries the mark."""
        return mark(Image.fromarray(self.pixels))

    @cached_property
    def objects(self) -> tuple[MiniObject, ...]:
        """Return the objects, painted from first to last."""
        masks = visible_masks(self.layout)
        return tuple(
            MiniObject(placement, tight_box(mask), mask)
            for placement, mask in zip(self.layout.objects, masks, strict=True)
        )


@lru_cache(maxsize=64)
def make_scene(split: str, seed: int, index: int) -> MiniScene:
    """Return scene ``index`` of a split, one of ``layout.SPLITS``, under a seed."""
    return MiniScene(make_layout(split, seed, index))


def render(layout: Layout) -> NDArray[np.uint8]:
    """Paint a scene: (side, side, 3) RGB."""
    canvas = drawing.paint_background(layout.background, *layout.window, side=layout.side)
    for item in layout.objects:
        drawing.paint_sprite(canvas, item.noun, item.colour, (item.left, item.top, item.side), item.mirrored)
    return canvas.astype(np.uint8)


def visible_masks(layout: Layout) -> list[NDArray[np.bool_]]:
    """Return a (side, side) mask an object, less the pixels that later objects hide."""
    hidden = np.zeros((layout.side, layout.side), dtype=bool)
    masks = []
    for item in reversed(layout.objects):
        own = np.zeros_like(hidden)
        shape = drawing.silhouette(item.noun, item.side, item.mirrored)
        own[item.top : item.top + item.side, item.left : item.left + item.side] = shape
        masks.append(own & ~hidden)
        hidden |= own
    return masks[::-1]


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the smallest half-open box x1, y1, x2, y2 around a mask with at least one pixel."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mark(image: Image.Image) -> Image.Image:
    """Put the mark of the mini-world on a picture, in place, and return it."""
    image.info[MARK_KEY] = MARK_VALUE
    return image


def is_marked(image: Image.Image) -> bool:
    """Say whether a picture is of the mini-world's making."""
    return image.info.get(MARK_KEY) == MARK_VALUE


def save_png(image: Image.Image, path: Path) -> None:
    """Write a picture of the mini-world with its mark, so that a mini model accepts it again."""
    text = PngImagePlugin.PngInfo()
    text.add_text(MARK_KEY, MARK_VALUE)
    image.save(path, format="PNG", pnginfo=text)
