"""Pictures with their regions, captions, and maps of where a region encoder looked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regionkit.core.errors import DataError
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Trace

#: Colours that stay apart for colour-blind readers (Okabe and Ito), the darkest and the palest left out.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#F0E442")

_SIDE = 480
_LARGEST = 1600
_PANEL = 360
_MARGIN = 16
_FONT_SIZE = 18
_SMALL = 14
#: Longest side of each of the two pictures of a panel, in pixels.
_PANEL_SIDE = 360
_ACROSS = 3
#: Panels that one sheet shows at most; more could not be looked at, and might not fit into memory.
MOST_PANELS = 60
#: Colours of the least, and so on up to the most weight: dark to light, so that they also differ in grey.
_HEAT = ((13, 8, 60), (105, 30, 110), (190, 55, 85), (245, 130, 30), (252, 228, 130))
#: How much the heat hides of the picture below it, where there is the least and the most weight.
_OPACITY = (0.45, 0.8)


def draw_captions(image: Image.Image, regions: Sequence[Region], captions: Sequence[str]) -> Image.Image:
    """Return a picture of the image with numbered regions, and the captions in a panel to its right.

    Args:
        image: The picture; small ones are enlarged and large ones reduced so that lines and text stay readable.
        regions: Regions in pixels of ``image``.
        captions: One caption a region.
    """
    longest = max(image.size)
    scale = min(max(longest, _SIDE), _LARGEST) / longest
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for index, region in enumerate(regions):
        colour = COLOURS[index % len(COLOURS)]
        picture = draw_region(picture, region, scale, colour, str(index + 1) if len(regions) > 1 else "")
    return _with_panel(picture, captions)


def draw_attention(
    image: Image.Image,
    regions: Sequence[Region],
    maps: NDArray[np.float32],
    frame: Frame,
    captions: Sequence[str],
    notes: Sequence[str],
) -> Image.Image:
    """Return a sheet of one panel a region: the picture with the region, the weights over the picture, the caption.

    Weights are coloured patch by patch, where the frame puts the patches, from none to the largest weight of the map;
    what the frame's crop cut away is left nearly black.

    Args:
        image: The picture.
        regions: r regions in pixels of ``image``, at most :data:`MOST_PANELS`.
        maps: (r, rows, columns) weights, not negative.
        frame: Of the picture.
        captions: One caption a region.
        notes: One line a region, below its caption.

    Raises:
        DataError: There are too many regions.
    """
    if len(regions) > MOST_PANELS:
        raise DataError(
            f"{len(regions)} regions are too many for one sheet, which shows up to {MOST_PANELS}",
            "name fewer regions, or a file of arrays, which holds any number: --out maps.npz",
        )
    scale = _PANEL_SIDE / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    panels = []
    for index, (region, weights) in enumerate(zip(regions, maps, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        label = str(index + 1) if len(regions) > 1 else ""
        seen = draw_region(picture.copy(), region, scale, colour, label)
        heat = draw_region(heat_over(picture, weights, frame), region, scale, "white", "", tinted=False)
        panels.append(_panel(seen, heat, captions[index], notes[index]))
    return _sheet(panels)


def heat_over(picture: Image.Image, weights: NDArray[np.float64] | NDArray[np.float32], frame: Frame) -> Image.Image:
    """Colour a reduced picture by the weights of the patches that lie over it."""
    share = weights / max(float(weights.max()), 1e-30)
    return tint_patches(picture, heat_colours(share), np.interp(share, (0, 1), _OPACITY), frame)


def heat_colours(share: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the colours (..., 3) of shares 0..1 of the largest weight."""
    stops = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(share, stops, [stop[band] for stop in _HEAT]) for band in range(3)], axis=-1)


def tint_patches(
    picture: Image.Image, colours: NDArray[np.float64], opacity: NDArray[np.float64], frame: Frame
) -> Image.Image:
    """Lay a colour over each patch of a reduced picture, which turns grey; what the crop cut away is nearly black.

    Args:
        picture: The picture at any size.
        colours: (rows, columns, 3) of each patch, 0..255.
        opacity: (rows, columns) how much each hides of the picture below it, 0..1.
        frame: Of the picture.
    """
    rows, columns = (_cells_under(picture.size, frame, axis) for axis in (1, 0))
    laid, strength = (values[rows.clip(0)][:, columns.clip(0)] for values in (colours, opacity[..., None]))
    grey = np.asarray(picture.convert("L"), dtype=np.float64)[..., None]
    mixed = grey * (1 - strength) + laid * strength
    cut = (rows < 0)[:, None] | (columns < 0)[None, :]
    mixed[cut] = grey[cut] * 0.15
    return Image.fromarray(mixed.round().astype(np.uint8))


def _cells_under(size: tuple[int, int], frame: Frame, axis: int) -> NDArray[np.int64]:
    """Return the column (axis 0) or row (axis 1) of patches under each drawn pixel; -1 where the crop cut it away."""
    centres = np.zeros((size[axis], 2))
    centres[:, axis] = (np.arange(size[axis]) + 0.5) * frame.image_size[axis] / size[axis]
    unit = frame.to_unit(centres)[:, axis]
    cells = np.floor(unit * frame.grid[1 - axis]).astype(np.int64)
    return np.where((unit >= 0) & (unit < 1), cells, -1)


def _panel(seen: Image.Image, heat: Image.Image, caption: str, note: str) -> Image.Image:
    """Put the two pictures side by side, or one above the other where they are wide, and the words below."""
    aside = seen.width <= 1.5 * seen.height
    places = ((0, 0), (seen.width + 8, 0) if aside else (0, seen.height + 8))
    width = max(places[1][0] + heat.width, _PANEL_SIDE)
    bottom = places[1][1] + heat.height
    words = [(line, _FONT_SIZE) for line in wrapped_lines(caption, width, _FONT_SIZE) or ["(no caption)"]]
    words += [(line, _SMALL) for line in wrapped_lines(note, width, _SMALL)]
    panel = Image.new("RGB", (width, bottom + 8 + sum(size + 6 for _, size in words)), "white")
    for part, place in zip((seen, heat), places, strict=True):
        panel.paste(part, place)
    pen, y = ImageDraw.Draw(panel), bottom + 6
    for line, size in words:
        pen.text((0, y), line, fill="black" if size == _FONT_SIZE else "#555555", font=ImageFont.load_default(size))
        y += size + 6
    return panel


def wrapped_lines(text: str, width: int, size: int) -> list[str]:
    """Return a text cut into lines that fit into ``width`` pixels at a font size."""
    return textwrap.wrap(text, max(int(width / ImageFont.load_default(size).getlength("n")), 8))


def _sheet(panels: Sequence[Image.Image]) -> Image.Image:
    """Lay panels out in rows, about as wide as high."""
    if not panels:
        return Image.new("RGB", (_PANEL_SIDE, _MARGIN), "white")
    width, height = (max(panel.size[axis] for panel in panels) + _MARGIN for axis in (0, 1))
    across = min(max(round(math.sqrt(len(panels) * height / width)), 1), _ACROSS)
    down = math.ceil(len(panels) / across)
    sheet = Image.new("RGB", (across * width + _MARGIN, down * height + _MARGIN), "white")
    for index, panel in enumerate(panels):
        sheet.paste(panel, (_MARGIN + index % across * width, _MARGIN + index // across * height))
    return sheet


def draw_region(
    picture: Image.Image, region: Region, scale: float, colour: str, label: str, *, tinted: bool = True
) -> Image.Image:
    """Draw a region; the inside of a mask is tinted, or else only its outline is drawn.

    Args:
        picture: Drawn on, and returned or replaced.
        region: In pixels of the original picture.
        scale: From those to pixels of ``picture``.
        colour: Of lines and points.
        label: Written at its corner; empty for none.
        tinted: Whether a mask is filled.
    """
    if isinstance(region, Mask):
        picture = _tint(picture, region, colour) if tinted else _outline(picture, region, colour)
    pen = ImageDraw.Draw(picture)
    corner = (4.0, 4.0)
    if isinstance(region, Box | BoxSet):
        boxes = region.boxes if isinstance(region, BoxSet) else (region,)
        for box in boxes:
            pen.rectangle([value * scale for value in box.corners], outline=colour, width=3)
        corner = (boxes[0].x1 * scale, boxes[0].y1 * scale)
    elif isinstance(region, Patch):
        width, height = picture.width / region.columns, picture.height / region.rows
        corner = (region.column * width, region.row * height)
        pen.rectangle((*corner, corner[0] + width, corner[1] + height), outline=colour, width=3)
    elif isinstance(region, Point | Trace):
        points = [(x * scale, y * scale) for x, y in region.points]
        if isinstance(region, Trace) and len(points) > 1:
            pen.line(points, fill="black", width=6, joint="curve")
            pen.line(points, fill=colour, width=3, joint="curve")
        for x, y in points if isinstance(region, Point) else points[:1]:
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline="black", width=2)
        corner = (points[0][0] + 6, points[0][1] + 6)
    elif isinstance(region, Mask):
        rows, columns = np.nonzero(region.bitmap)
        corner = (float(columns.min()) * scale, float(rows.min()) * scale)
    else:
        pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=colour, width=4)
    if label:
        _tag(pen, corner, label, colour, picture.size)
    return picture


def _tint(picture: Image.Image, region: Mask, colour: str) -> Image.Image:
    bitmap = Image.fromarray(region.bitmap.astype(np.uint8) * 120).resize(picture.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", picture.size, colour), picture, bitmap)


def _outline(picture: Image.Image, region: Mask, colour: str) -> Image.Image:
    bitmap = Image.fromarray(region.bitmap.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
    inside = np.pad(np.asarray(bitmap) > 0, 2)
    shifted = [np.roll(inside, step, axis) for axis in (0, 1) for step in (-2, -1, 1, 2)]
    rim = (inside & ~np.logical_and.reduce(shifted))[2:-2, 2:-2]
    return Image.composite(Image.new("RGB", picture.size, colour), picture, Image.fromarray(rim.astype(np.uint8) * 255))


def _tag(pen: ImageDraw.ImageDraw, corner: tuple[float, float], label: str, colour: str, size: tuple[int, int]) -> None:
    font = ImageFont.load_default(_FONT_SIZE)
    left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
    width, height = right - left + 8, bottom - top + 8
    x = min(max(corner[0], 0), size[0] - width)
    y = min(max(corner[1], 0), size[1] - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 4 - left, y + 4 - top), label, fill="black", font=font)


def _with_panel(picture: Image.Image, captions: Sequence[str]) -> Image.Image:
    font = ImageFont.load_default(_FONT_SIZE)
    columns = max(int((_PANEL - 44) / font.getlength("n")), 8)
    wrapped = [textwrap.wrap(caption, columns) or ["(no caption)"] for caption in captions]
    line = _FONT_SIZE + 6
    needed = _MARGIN * 2 + sum(len(lines) * line + 8 for lines in wrapped)
    sheet = Image.new("RGB", (picture.width + _PANEL, max(picture.height, needed)), "white")
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    y = _MARGIN
    for index, lines in enumerate(wrapped):
        x = picture.width + _MARGIN
        pen.rectangle((x, y + 3, x + 16, y + 19), fill=COLOURS[index % len(COLOURS)], outline="black")
        if len(wrapped) > 1:
            number = str(index + 1)
            pen.text((x + 8, y + 11), number, fill="black", font=ImageFont.load_default(13), anchor="mm")
        for text in lines:
            pen.text((x + 26, y), text, fill="black", font=font)
            y += line
        y += 8
    return sheet
