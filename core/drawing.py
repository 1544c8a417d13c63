"""A picture with its regions and their captions drawn beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Trace

#: Colours that stay apart for colour-blind readers (Okabe and Ito), the darkest and the palest left out.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#F0E442")

_SIDE = 480
_LARGEST = 1600
_PANEL = 360
_MARGIN = 16
_FONT_SIZE = 18


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
        picture = _draw_region(picture, region, scale, colour, str(index + 1) if len(regions) > 1 else "")
    return _with_panel(picture, captions)


def _draw_region(picture: Image.Image, region: Region, scale: float, colour: str, label: str) -> Image.Image:
    if isinstance(region, Mask):
        picture = _tint(picture, region, colour)
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
