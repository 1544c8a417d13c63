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


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(header), line("---" for _ in header), *(line(row) for row in rows)])
