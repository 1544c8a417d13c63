"""A region shown to a model that reads pictures: cut out, ringed, framed, or left sharp in a blurred picture.

Two papers' baselines meet here. Circle: Shtedritski et al., What does CLIP know about a red circle?, arXiv 2304.06712.
Blur: Yang et al., Fine-Grained Visual Prompting, arXiv 2306.04356. Widths and radius are those that RegionVLM's
released evaluation draws them with.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from regionkit.core.errors import RegionkitError
from regionkit.core.geometry import bounding_box, region_mask
from regionkit.core.regions import Box, BoxSet, Point, Region, Trace, WholeImage

Style = Literal["whole", "crop", "circle", "box", "marked", "blur"]

#: What lines are drawn with, and how wide, in pixels of the original picture.
_RED, _WIDTH = (255, 0, 0), 10
#: Standard deviation of the blur, in pixels of the original picture.
_RADIUS = 10.0


def render(
    image: Image.Image, region: Region, style: Style, *, width: int = _WIDTH, radius: float = _RADIUS
) -> Image.Image:
    """Draw a region for a model that reads pictures.

    Args:
        image: The picture, of any mode; it is left as it is.
        region: A still region in its pixels. Its bounding box grows to whole pixels, so that none of it is lost.
        style: ``whole``: the picture alone. ``crop``: the bounding box, cut out. ``circle``: a red ellipse inscribed in
            the bounding box. ``box``: the bounding box in red. ``marked``: the region itself in red, around each box of
            a set, around a mask or patch, along a trace, a dot at a point; nothing on a whole picture. ``blur``: all
            pixels outside the region blurred.
        width: Width of red lines in pixels. They are drawn inwards, and a box with less room is filled; those of
            ``marked`` are drawn outwards, which leaves small regions to be seen. Dots are twice as wide.
        radius: Standard deviation of the blur in pixels.

    Returns:
        An RGB picture without notes (``info``), of the size of ``image``, or of the box for ``crop``.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
        RegionkitError: There is no such style, or ``width`` or ``radius`` makes no sense.
    """
    if style not in get_args(Style):
        raise RegionkitError(f"there is no visual prompt '{style}'", f"styles are: {', '.join(get_args(Style))}")
    if width < 1 or not (math.isfinite(radius) and radius >= 0):
        raise RegionkitError(f"a line is 1 pixel wide or more and a radius 0 or more, not {width} and {radius:g}")
    box = pixel_bounds(region, image.size)  # refuses what lies outside, whatever the style
    picture = image.convert("RGB")
    if picture is image:
        picture = image.copy()
    picture.info = {}
    match style:
        case "crop":
            return picture.crop(box)
        case "circle" | "box":
            draw = ImageDraw.Draw(picture)
            shape = draw.ellipse if style == "circle" else draw.rectangle
            left, top, right, bottom = box
            shape((left, top, right - 1, bottom - 1), outline=_RED, width=width)  # Pillow's corners lie inside
        case "marked":
            _mark(picture, region, width)
        case "blur":
            inside = Image.fromarray(region_mask(region, image.size))
            picture = Image.composite(picture, picture.filter(ImageFilter.GaussianBlur(radius)), inside)
    return picture


def _mark(picture: Image.Image, region: Region, width: int) -> None:
    draw = ImageDraw.Draw(picture)
    match region:
        case WholeImage():
            return
        case Box() | BoxSet():
            for box in region.boxes if isinstance(region, BoxSet) else (region,):
                left, top, right, bottom = pixel_bounds(box, picture.size)
                # Around it, and within the picture: a line that nobody sees marks nothing.
                start = max(left - width, 0), max(top - width, 0)
                stop = min(right + width, picture.width) - 1, min(bottom + width, picture.height) - 1
                draw.rectangle((*start, *stop), outline=_RED, width=width)
        case Trace():
            draw.line(region.points, fill=_RED, width=width, joint="curve")
            _dot(draw, region.points[0], width)  # where it begins, and all there is of a trace of one point
        case Point():
            for point in region.points:
                _dot(draw, point, width)
        case _:
            mask = region_mask(region, picture.size)
            grown = _grown(_grown(mask, width).T, width).T
            picture.paste(_RED, mask=Image.fromarray(grown & ~mask))


def _grown(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return a mask (h, w) with all pixels within reach of it along their column; any reach costs the same."""
    reach = min(width, len(mask))
    counts = np.pad(mask.astype(np.int32), ((reach + 1, reach), (0, 0))).cumsum(0)
    near: NDArray[np.bool_] = counts[2 * reach + 1 :] > counts[: -2 * reach - 1]
    return near


def _dot(draw: ImageDraw.ImageDraw, point: tuple[float, float], radius: float) -> None:
    x, y = point
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_RED)


def pixel_bounds(region: Region, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the whole pixels that a region touches, right and bottom exclusive.

    Args:
        region: A still region.
        image_size: (width, height) of its image.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    x1, y1, x2, y2 = bounding_box(region, image_size).corners
    left, top = math.floor(x1), math.floor(y1)
    return left, top, max(math.ceil(x2), left + 1), max(math.ceil(y2), top + 1)
