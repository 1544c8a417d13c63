"""Tables as plain text and Markdown, without any library."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns; on a terminal the last column is cut to its width."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(header))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = []
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        lines.append(line if not limit or len(line) <= limit else f"{line[: limit - 1]}…")
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, aligned: bool = True) -> str:
    """Return a Markdown table, with columns that are lined up in the source, too, or as narrow as it can be."""
    table = [[one_line(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in table)) if aligned else 0 for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) if aligned else " --- " for width in widths) + "|")
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Return a text with every run of white space as one space, as a table's cell needs it."""
    return " ".join(text.split())
