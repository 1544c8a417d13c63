"""One picture of how a caption came about: where the region is, what was looked at, and what the words depend on."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regionkit.core.drawing import COLOURS, draw_region, heat_colours, heat_over, tint_patches, wrapped_lines
from regionkit.core.explanations import Explanation

#: Width of the sheet, its margin, and the space between what stands on it, in pixels.
_WIDTH, _MARGIN, _GAP = 1240, 28, 20
_INNER = _WIDTH - 2 * _MARGIN
_SIDE = (_INNER - 2 * _GAP) // 3
_CAPTION, _HEAD, _TEXT, _SMALL = 26, 17, 15, 13
_ROW = 26
_INK, _FAINT, _LINE = "#1b1b1b", "#666666", "#dddddd"
#: Least, none and most influence: what speaks against a caption is blue, what speaks for it is red.
_AGAINST, _FOR = (33, 102, 172), (198, 40, 30)
#: A token that was certain, and one that was a surprise of this many nats or more.
_SURPRISED, _MOST_SURPRISE = (245, 150, 20), 4.0
#: Tokens of a caption, and sheets below each other, that are drawn at most.
MOST_TOKENS, MOST_SHEETS = 48, 12
#: The strongest colour stands for this many nats at least, in the map and in tables: rounding is no influence.
_LEAST_SCALE, _LEAST_TABLE = 0.1, 1.0
#: Texts that are drawn at most; each has a column among the tokens.
_MOST_TEXTS = 8
#: Characters of a text that are looked at, to see how much of it fits.
_LONGEST = 400
#: Texts with less of the weight are not drawn: there is nothing to see.
_LEAST_WEIGHT = 0.0005
#: Influences that are smaller are rounding, or nothing to look at.
_LEAST = 0.005

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, eq=False)
class Sheet:
    """An explanation and the words around it.

    Attributes:
        explanation: What is drawn.
        title: What it is the explanation of.
        remarks: Sentences below the title.
    """

    explanation: Explanation
    title: str
    remarks: Sequence[str] = ()


def draw_explanations(sheets: Sequence[Sheet]) -> Image.Image:
    """Return explanations below each other on one picture, at most :data:`MOST_SHEETS`; what more there are is told."""
    drawn = [_sheet(sheet) for sheet in sheets[:MOST_SHEETS]]
    if len(sheets) > len(drawn):
        drawn.append(_lines([f"and {len(sheets) - len(drawn)} more: the JSON has all of them"], _TEXT, _FAINT))
    return _stacked(drawn, _MARGIN, ruled=True)


def _sheet(sheet: Sheet) -> Image.Image:
    found = sheet.explanation
    blocks = [_lines([sheet.title], _SMALL, _FAINT), _caption(found)]
    blocks += [_lines(sheet.remarks, _TEXT, _FAINT)] if sheet.remarks else []
    blocks.append(_pictures(found))
    blocks += [_memory(found)] if found.texts else []
    blocks += [_tokens(found)] if found.tokens else []
    told = dict.fromkeys(f"{_PARTS[part]}: {note}" for part, note in found.notes.items() if part in _PARTS)
    blocks += [_lines(list(told), _SMALL, _FAINT)] if told else []
    return _stacked(blocks, 0)


#: What notes are about.
_PARTS = {
    "weights": "weights", "influence": "influence", "region": "region", "texts": "memory", "tokens": "tokens",
    "end": "caption",
}  # fmt: skip


def _caption(found: Explanation) -> Image.Image:
    """Write the caption large, each token shaded by how little it was expected."""
    font = _font(_CAPTION)
    if not found.tokens:
        return _lines([found.text or "(no caption)"], _CAPTION, _INK)
    places, x, y = [], 0, 0
    for token in found.tokens[:MOST_TOKENS]:
        width = math.ceil(font.getlength(token.text)) + 12
        if x + width > _INNER and x:
            x, y = 0, y + _CAPTION + 18
        places.append((x, y, width))
        x += width + 5
    block = Image.new("RGB", (_INNER, y + _CAPTION + 38), "white")
    pen = ImageDraw.Draw(block)
    for token, (x, y, width) in zip(found.tokens, places, strict=False):
        shade = _shade(_SURPRISED, -token.log_probability / _MOST_SURPRISE)
        pen.rounded_rectangle((x, y, x + width, y + _CAPTION + 12), 5, fill=shade, outline=_LINE)
        pen.text((x + 6, y + 4), token.text, fill=_INK, font=font)
    words = f"log-probability {found.log_probability:.2f}; the darker a token, the less likely it was"
    words += f"; {len(found.tokens) - len(places)} more tokens" if len(found.tokens) > len(places) else ""
    pen.text((0, block.height - _SMALL - 4), words, fill=_FAINT, font=_font(_SMALL))
    return block


def _pictures(found: Explanation) -> Image.Image:
    """Draw the picture with its region, with the weights, and with the influence of its patches, side by side."""
    image, patches, region = found.image, found.patches, found.region
    scale = _SIDE / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    panels = [_under(draw_region(picture.copy(), region, scale, COLOURS[0], ""), "the picture and its region", "")]
    if patches.weights is not None:
        heat = draw_region(heat_over(picture, patches.weights, patches.frame), region, scale, "white", "", tinted=False)
        legend = f"{patches.inside:.0%} inside, on {patches.area:.0%} of the patches; 0 to {patches.weights.max():.1%}"
        panels.append(_under(heat, "weights of the region encoder", legend, heat_colours(np.linspace(0, 1, _SIDE))))
    influence = patches.influence_map()
    if influence is not None:
        most = max(float(np.abs(influence).max()), _LEAST_SCALE)
        drawn = tint_patches(picture, _two_sided(influence / most), np.abs(influence / most) * 0.85, patches.frame)
        drawn = draw_region(drawn, region, scale, "white", "", tinted=False)
        alone = patches.cells.max() + 1 == patches.cells.size
        what = "a painted square" if patches.how == "picture" else "a patch" if alone else "a square of patches"
        how = "with" if patches.how == "picture" else "without"
        legend = f"nats the caption loses {how} {what}, up to ±{most:.2g}"
        bar = np.linspace(-1, 1, _SIDE)
        panels.append(_under(drawn, "influence", legend, 255 - (255 - _two_sided(bar)) * np.abs(bar)[:, None]))
    block = Image.new("RGB", (_INNER, max(panel.height for panel in panels)), "white")
    for at, panel in enumerate(panels):
        block.paste(panel, (at * (_SIDE + _GAP), 0))
    return block


def _under(drawn: Image.Image, head: str, legend: str, bar: NDArray[np.float64] | None = None) -> Image.Image:
    """Put a head over a picture, and a bar of colours (width, 3) with its legend under it."""
    top, below = _HEAD + 10, 10 + _SMALL + 14
    panel = Image.new("RGB", (_SIDE, top + drawn.height + below), "white")
    panel.paste(drawn, (0, top))
    pen = ImageDraw.Draw(panel)
    pen.text((0, 2), head, fill=_INK, font=_font(_HEAD))
    if bar is not None:
        stripe = np.repeat(bar.round().astype(np.uint8)[None], 8, axis=0)
        panel.paste(Image.fromarray(stripe), (0, top + drawn.height + 6))
    pen.text((0, top + drawn.height + 18), legend, fill=_FAINT, font=_font(_SMALL))
    return panel


def _memory(found: Explanation) -> Image.Image:
    """List the texts of the memory as bars, with what the caption loses without each."""
    texts = found.texts[: _texts_drawn(found)]
    words, bar, head = int(_INNER * 0.52), int(_INNER * 0.26), _HEAD + 12
    block = Image.new("RGB", (_INNER, head + len(texts) * _ROW + 4), "white")
    pen, font = ImageDraw.Draw(block), _font(_TEXT)
    held = min(sum(text.weight for text in texts), 1.0)
    which = f"these {len(texts)} hold" if len(texts) > 1 else "this one holds"
    title = f"texts of the memory: {which} {held:.1%} of the weight"
    pen.text((0, 2), title, fill=_INK, font=_font(_HEAD))
    losses = found.texts_influence
    if losses is not None:
        pen.text((words + bar + 90, 5), "caption loses without it", fill=_FAINT, font=_font(_SMALL))
    for at, text in enumerate(texts):
        y = head + at * _ROW
        pen.text((0, y + 3), f"{at + 1}", fill=_FAINT, font=font)
        pen.text((24, y + 3), _fitted(text.label, words - 34, font), fill=_INK, font=font)
        pen.rectangle((words, y + 4, words + bar, y + _ROW - 6), fill="#f1f1f1")
        pen.rectangle((words, y + 4, words + round(bar * text.weight), y + _ROW - 6), fill=COLOURS[1])
        pen.text((words + bar + 8, y + 3), f"{text.weight:.1%}", fill=_INK, font=font)
        if losses is not None:
            most = float(np.nanmax(np.abs(losses), initial=0.0))
            _cell(pen, (words + bar + 90, y, words + bar + 150, y + _ROW - 2), float(losses[at]), most)
    return block


def _tokens(found: Explanation) -> Image.Image:
    """List the tokens: how likely each was, what it loses without region and texts, and what else could stand there."""
    tokens = found.tokens[:MOST_TOKENS]
    font, small = _font(_TEXT), _font(_SMALL)
    heads, columns = _columns(found)
    top, left, wide = _HEAD + 12 + _SMALL + 8, 190, 58
    block = Image.new("RGB", (_INNER, top + len(tokens) * _ROW + 4), "white")
    pen = ImageDraw.Draw(block)
    title = "tokens: how likely each was" + (", and the nats it loses without the region or a text" if columns else "")
    pen.text((0, 2), title, fill=_INK, font=_font(_HEAD))
    for at, head in enumerate(["p", *heads]):
        pen.text((left + at * wide + wide // 2, top - _SMALL - 6), head, fill=_FAINT, font=small, anchor="ma")
    others = left + (1 + len(heads)) * wide + 14
    pen.text((others, top - _SMALL - 6), "next likeliest", fill=_FAINT, font=small)
    most = max((float(np.nanmax(np.abs(column), initial=0.0)) for column in columns), default=0.0)
    for row, token in enumerate(tokens):
        y = top + row * _ROW
        shade = _shade(_SURPRISED, -token.log_probability / _MOST_SURPRISE)
        pen.rounded_rectangle((0, y, left - 14, y + _ROW - 3), 4, fill=shade, outline=_LINE)
        pen.text((7, y + 3), _fitted(token.text, left - 30, font), fill=_INK, font=font)
        chance = _percent(math.exp(token.log_probability))
        pen.text((left + wide // 2, y + 3), chance, fill=_INK, font=font, anchor="ma")
        for at, column in enumerate(columns, 1):
            x = left + at * wide
            _cell(pen, (x + 2, y, x + wide - 2, y + _ROW - 3), float(column[row]), most)
        named = ", ".join(
            f"{_quoted(one.text)} {_percent(math.exp(one.log_probability))}" for one in token.alternatives
        )
        pen.text((others, y + 4), _fitted(named, _INNER - others, small), fill=_FAINT, font=small)
    return block


def _texts_drawn(found: Explanation) -> int:
    """Return how many texts are drawn, the heaviest: at least one, and as many as there are columns for."""
    return max(1, min(sum(text.weight >= _LEAST_WEIGHT for text in found.texts), _MOST_TEXTS))


def _columns(found: Explanation) -> tuple[list[str], list[NDArray[np.float64]]]:
    """Return what tokens are held against: the region, and each text by its number."""
    heads, columns = [], []
    if found.patches.region_of_tokens is not None:
        heads, columns = ["region"], [found.patches.region_of_tokens]
    if found.tokens_by_text is not None:
        shown = found.tokens_by_text.T[: _texts_drawn(found)]
        heads, columns = [*heads, *(f"text {at}" for at in range(1, len(shown) + 1))], [*columns, *shown]
    return heads, columns


def _cell(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], value: float, most: float) -> None:
    """Write an influence into a box, coloured by it."""
    share = 0.0 if math.isnan(value) else value / max(most, _LEAST_TABLE)
    pen.rectangle(box, fill=_shade(_FOR if share > 0 else _AGAINST, abs(share) * 0.8), outline="#eeeeee")
    words = "-" if math.isnan(value) else f"{value:+.2f}" if abs(value) >= _LEAST else "0"
    place = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
    dark = "#aaaaaa" if words in ("0", "-") else "white" if abs(share) > 0.7 else _INK
    pen.text(place, words, fill=dark, font=_font(_SMALL), anchor="mm")


def _two_sided(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the colours (..., 3) of shares -1..1 of the largest influence, without their strength."""
    return np.where(share[..., None] > 0, np.array(_FOR, np.float64), np.array(_AGAINST, np.float64))


def _shade(colour: tuple[int, int, int], strength: float) -> tuple[int, int, int]:
    """Mix a colour with white."""
    strength = min(max(strength, 0.0), 1.0)
    red, green, blue = (round(255 - (255 - band) * strength) for band in colour)
    return red, green, blue


def _quoted(token: str) -> str:
    """Return a token as it stands in a list: signs in quotation marks, as they would be lost among the commas."""
    return token if any(sign.isalnum() for sign in token) else f'"{token}"'


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def _fitted(text: str, width: float, font: Font) -> str:
    """Return as much of a text as fits into ``width`` pixels on one line."""
    text = " ".join(text.split())[:_LONGEST]
    if font.getlength(text) <= width:
        return text
    fits, most = 0, len(text)
    while fits < most:
        middle = (fits + most + 1) // 2
        if font.getlength(f"{text[:middle]}…") <= width:
            fits = middle
        else:
            most = middle - 1
    return f"{text[:fits]}…"


@functools.cache
def _font(size: int) -> Font:
    """Return the font at a size; Pillow reads it anew every time that it is asked."""
    return ImageFont.load_default(size)


def _lines(texts: Sequence[str], size: int, colour: str) -> Image.Image:
    """Write sentences below each other, wrapped."""
    lines = [line for text in texts for line in wrapped_lines(text, _INNER, size) or [""]]
    block = Image.new("RGB", (_INNER, max(len(lines), 1) * (size + 6)), "white")
    pen, font = ImageDraw.Draw(block), _font(size)
    for at, line in enumerate(lines):
        pen.text((0, at * (size + 6)), line, fill=colour, font=font)
    return block


def _stacked(blocks: Sequence[Image.Image], margin: int, *, ruled: bool = False) -> Image.Image:
    """Put blocks below each other; a rule between them where asked for."""
    gap = 2 * _GAP if ruled else 12
    height = sum(block.height for block in blocks) + gap * (len(blocks) - 1) + 2 * margin
    sheet = Image.new("RGB", (_INNER + 2 * margin, height), "white")
    pen, y = ImageDraw.Draw(sheet), margin
    for at, block in enumerate(blocks):
        if ruled and at:
            pen.line((margin, y - gap // 2, margin + _INNER, y - gap // 2), fill=_LINE, width=2)
        sheet.paste(block, (margin, y))
        y += block.height + gap
    return sheet
