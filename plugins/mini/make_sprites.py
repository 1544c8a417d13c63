"""Render the sprite sheet of the mini-world from Noto Color Emoji (SIL OFL 1.1). Run once; the sheet is shipped.

    python -m regionkit.plugins.mini.make_sprites --font NotoColorEmoji.ttf

Debian's package fonts-noto-color-emoji (2.042) was used. The sheet is lossless, one 96-pixel cell a noun, eight a row,
in the order of ``lexicon.NOUNS``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from regionkit.plugins.mini.lexicon import NOUN_EMOJI

CELL = 96
COLUMNS = 8
#: The only size at which the bitmap font can be rendered.
FONT_SIZE = 109
DEFAULT_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"


def render_cell(emoji: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw one emoji, cut it to its ink and centre it in a transparent cell."""
    canvas = Image.new("RGBA", (2 * FONT_SIZE, 2 * FONT_SIZE))
    ImageDraw.Draw(canvas).text((0, 0), emoji, font=font, embedded_color=True)
    ink = canvas.crop(canvas.getbbox())
    ink.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(ink, ((CELL - ink.width) // 2, (CELL - ink.height) // 2))
    return cell


def render_sheet(font_path: str) -> Image.Image:
    """Draw all nouns, row by row."""
    font = ImageFont.truetype(font_path, FONT_SIZE)
    rows = -(-len(NOUN_EMOJI) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for position, emoji in enumerate(NOUN_EMOJI.values()):
        sheet.paste(render_cell(emoji, font), (position % COLUMNS * CELL, position // COLUMNS * CELL))
    return sheet


def main() -> None:
    """Write ``sprites.webp`` beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--font", default=DEFAULT_FONT)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("sprites.webp"))
    arguments = parser.parse_args()
    render_sheet(arguments.font).save(arguments.out, lossless=True, quality=100, method=6)


if __name__ == "__main__":
    main()
