"""How the mini-world is painted: sprites, paint and backgrounds, in integer arithmetic only.

Every operation is exact on integers, so that a scene has the same bytes on every machine and with every version of
numpy and Pillow; nothing here calls a resampling filter of a library.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regionkit.plugins.mini.lexicon import BACKGROUNDS, NOUNS

CELL = 96
COLUMNS = 8
#: Side of a background tile, which repeats at its edges; a scene shows a window of it.
TILE = 256
#: What a pure colour is painted with, by colour word. No channel is 0 or 255 everywhere, as in real paint.
PAINT: dict[str, tuple[int, int, int]] = {
    "red": (245, 30, 35),
    "blue": (30, 95, 250),
    "green": (20, 190, 60),
    "yellow": (255, 215, 10),
    "purple": (160, 50, 225),
}
#: Two ends of the colour ramp of a background and the sizes of its noise grains.
_RAMPS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, ...]]] = {
    "grass": ((40, 105, 30), (125, 190, 75), (2, 4)),
    "gravel": ((85, 82, 80), (190, 186, 180), (4, 8)),
    "sand": ((205, 165, 105), (240, 210, 155), (2, 16)),
    "snow": ((215, 222, 235), (255, 255, 255), (16, 32)),
    "water": ((20, 70, 140), (75, 135, 205), (8, 32)),
    "brick": ((150, 55, 45), (190, 85, 65), (2, 8)),
    "wood": ((110, 70, 35), (165, 115, 65), (2, 4)),
    "carpet": ((95, 30, 85), (150, 70, 130), (1, 2)),
}


@cache
def sheet() -> NDArray[np.uint8]:
    """Return the sprite sheet as shipped, (rows * 96, 8 * 96, 4) RGBA."""
    with Image.open(Path(__file__).with_name("sprites.webp")) as picture:
        return np.asarray(picture.convert("RGBA"))


def shrink(cell: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Shrink a (96, 96, c) integer picture to (side, side, c) by exact area averages, rounded down.

    Pixel i of the result covers [96 i, 96 (i + 1)) on a ruler on which pixel j of the source covers
    [side j, side (j + 1)); the overlaps are whole numbers that sum to 96.
    """
    target, source = np.arange(side)[:, None], np.arange(CELL)[None, :]
    low = np.maximum(target * CELL, source * side)
    high = np.minimum((target + 1) * CELL, (source + 1) * side)
    overlap = np.maximum(high - low, 0)
    rows = np.einsum("ij,jkc->ikc", overlap, cell)
    averages: NDArray[np.int64] = np.einsum("ij,kjc->kic", overlap, rows) // (CELL * CELL)
    return averages


def repaint(rgb: NDArray[np.int64], colour: str) -> NDArray[np.int64]:
    """Replace the hue of every pixel and keep its grey and its chroma: grey stays grey, colour becomes ``colour``."""
    grey = rgb.min(axis=2, keepdims=True)
    chroma = rgb.max(axis=2, keepdims=True) - grey
    painted: NDArray[np.int64] = grey + chroma * np.asarray(PAINT[colour]) // 255
    return painted


@cache
def sprite(noun: str, colour: str | None, side: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return colours multiplied by their opacity (side, side, 3) and opacity (side, side, 1) of a noun, 0-255."""
    row, column = divmod(NOUNS.index(noun), COLUMNS)
    cell = sheet()[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL].astype(np.int64)
    rgb, alpha = cell[..., :3], cell[..., 3:]
    if colour is not None:
        rgb = repaint(rgb, colour)
    small = shrink(np.concatenate([rgb * alpha, alpha], axis=2), side)
    return (small[..., :3] // 255).astype(np.int32), small[..., 3:].astype(np.int32)


def _noise(kind: str, grain: int) -> NDArray[np.int64]:
    """Return a (256, 256) field of 0-255 that repeats at its edges: random cells of ``grain`` pixels, box-blurred."""
    raw = np.random.PCG64(np.random.SeedSequence([97, BACKGROUNDS.index(kind), grain])).random_raw((TILE // grain) ** 2)
    cells = (raw >> np.uint64(56)).astype(np.int64).reshape(TILE // grain, TILE // grain)
    field = np.repeat(np.repeat(cells, grain, axis=0), grain, axis=1)
    for axis in (0, 1):
        field = np.stack([np.roll(field, shift, axis) for shift in range(grain)]).sum(axis=0) // grain
    return field


def _structure(kind: str) -> NDArray[np.int64]:
    """Return what a background has beside noise: (256, 256), added to the noise before the colour ramp."""
    y, x = np.mgrid[0:TILE, 0:TILE]
    level: NDArray[np.int64] = np.zeros((TILE, TILE), dtype=np.int64)
    if kind == "brick":
        offset = (y // 16 % 2) * 16
        level[(y % 16 < 2) | ((x + offset) % 32 < 2)] = 400
    if kind == "wood":
        level = np.where(y % 32 < 2, -300, 0) + (y % 32) * 3 - 48
    if kind == "carpet":
        level = np.where((x // 8 + y // 8) % 2 == 0, 90, -90)
    if kind == "water":
        level = np.abs((y * 4 + np.abs(x % 64 - 32) * 2) % 64 - 32) * 4 - 64
    return level


@cache
def tile(kind: str) -> NDArray[np.int32]:
    """Return the (256, 256, 3) tile of a background, 0-255."""
    low, high, grains = _RAMPS[kind]
    field = np.stack([_noise(kind, grain) for grain in grains]).sum(axis=0) // len(grains)
    level = np.clip(field + _structure(kind), 0, 400)[..., None]
    ramp: NDArray[np.int64] = np.asarray(low) + (np.asarray(high) - np.asarray(low)) * level // 255
    return np.clip(ramp, 0, 255).astype(np.int32)


def paint_background(kind: str, left: int, top: int, light: int, side: int) -> NDArray[np.int32]:
    """Return a (side, side, 3) window of the repeated tile of a background, its light scaled by ``light`` / 256."""
    whole = tile(kind)
    if max(left, top) + side > TILE:
        times = -(-(max(left, top) + side) // TILE)
        whole = np.tile(whole, (times, times, 1))
    window = whole[top : top + side, left : left + side]
    lit: NDArray[np.int32] = np.minimum(window * light >> 8, 255)
    return lit


def paint_sprite(
    canvas: NDArray[np.int32], noun: str, colour: str | None, placed: tuple[int, int, int], mirrored: bool
) -> None:
    """Blend a sprite over ``canvas`` (h, w, 3) in place; ``placed`` is left, top, side in pixels and lies inside."""
    left, top, side = placed
    rgb, alpha = sprite(noun, colour, side)
    if mirrored:
        rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
    window = canvas[top : top + side, left : left + side]
    window[...] = rgb + window * (255 - alpha) // 255


def silhouette(noun: str, side: int, mirrored: bool) -> NDArray[np.bool_]:
    """Return the (side, side) pixels that a sprite makes its own: those of at least half opacity."""
    solid = sprite(noun, None, side)[1][..., 0] >= 128
    return solid[:, ::-1] if mirrored else solid
