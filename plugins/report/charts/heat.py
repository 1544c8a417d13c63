"""Two axes against each other: the means, coloured by what the two do beyond the sum of their effects."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.plugins.report.charts.canvas import FONT, SMALL, WIDTH, Canvas, fitted, text_width, wrapped
from regionkit.plugins.report.words import number

_EDGE = 14.0
_CELL = 46.0
#: Narrower cells have their heading turned.
_NARROW = 74.0
#: Role of the middle colour, and how many there are on each side.
_STEPS = 4


def heat(
    names: tuple[str, str],
    labels: tuple[Sequence[str], Sequence[str]],
    means: Sequence[Sequence[float | None]],
    residuals: Sequence[Sequence[float | None]],
    largest: float,
) -> Canvas:
    """Draw a table of means, and in each cell the residual, which its colour shows, too.

    Args:
        names: The axis of the rows and that of the columns.
        labels: Their levels.
        means: One list a row.
        residuals: What of a mean is neither the row's nor the column's effect, as many as means.
        largest: The residual that has the strongest colour; plots that stand beside each other share it.
    """
    rows, columns = labels
    canvas = Canvas(WIDTH)
    longest = max((text_width(label) for label in (*rows, names[0])), default=0.0)
    gutter = min(longest, WIDTH * 0.3) + 12
    cell = (WIDTH - 2 * _EDGE - gutter) / max(len(columns), 1)
    left = _EDGE + gutter
    top = _columns(canvas, names[1], columns, left, cell)
    canvas.text(_EDGE, top - 8, fitted(names[0], gutter - 8, SMALL), size=SMALL, colour="muted")
    for at, label in enumerate(rows):
        y = top + at * _CELL
        for line_at, line in enumerate(lines := wrapped(label, gutter - 10, FONT, 2)):
            canvas.text(left - 8, y + _CELL / 2 + 4 + (line_at - (len(lines) - 1) / 2) * 15, line, anchor="end")
        for place in range(len(columns)):
            tip = f"{names[0]} {label}, {names[1]} {columns[place]}"
            _cell(canvas, (left + place * cell, y, cell), means[at][place], residuals[at][place], largest, tip)
    _key(canvas, top + len(rows) * _CELL + 14, largest)
    return canvas


def _columns(canvas: Canvas, name: str, labels: Sequence[str], left: float, cell: float) -> float:
    """Write the headings of columns, turned where cells are narrow, and return where the cells begin."""
    canvas.text(left, 18, fitted(name, WIDTH - left - _EDGE, SMALL), size=SMALL, colour="muted")
    if cell >= _NARROW:
        lines = [wrapped(label, cell - 8, FONT, 2) for label in labels]
        bottom = 36 + 15 * (max(map(len, lines), default=1) - 1)
        for at, one in enumerate(lines):
            for line_at, line in enumerate(one):
                y = bottom - 15 * (len(one) - 1 - line_at)
                canvas.text(left + (at + 0.5) * cell, y, line, anchor="middle")
        return bottom + 10.0
    shown = [fitted(label, 120.0) for label in labels]
    end = 32 + max(text_width(label) for label in shown)
    for at, label in enumerate(shown):
        canvas.text(left + (at + 0.5) * cell + 4, end, label, turn=-90)
    return end + 8


def _cell(
    canvas: Canvas,
    place: tuple[float, float, float],
    mean: float | None,
    residual: float | None,
    largest: float,
    tip: str,
) -> None:
    x, y, width = place
    step = _STEPS if residual is None else _step(residual, largest)
    told = f"{tip}: mean {number(mean)}, beyond both effects {number(residual, sign=True)}"
    canvas.rectangle(x + 1, y + 1, width - 2, _CELL - 2, f"h{step}", tip=told)
    colour = f"t{step}"
    middle = x + width / 2
    wide = width >= text_width(number(mean)) + 4
    canvas.text(middle, y + 20, number(mean, 3 if wide else 2), colour=colour, anchor="middle", bold=True)
    canvas.text(middle, y + 36, number(residual, 2, sign=True), size=SMALL, colour=colour, anchor="middle")


def _step(residual: float, largest: float) -> int:
    """Return the colour of a residual, from 0 to 8, 4 for none."""
    share = min(max(residual / largest, -1.0), 1.0) if largest else 0.0
    return _STEPS + round(_STEPS * share)


def _key(canvas: Canvas, y: float, largest: float) -> None:
    """Draw what the colours mean."""
    for step in range(2 * _STEPS + 1):
        canvas.rectangle(_EDGE + step * 18, y, 17, 10, f"h{step}")
    end = _EDGE + (2 * _STEPS + 1) * 18
    words = f"{number(-largest, 2, sign=True)} to {number(largest, 2, sign=True)} beyond both effects"
    canvas.text(end + 8, y + 9, fitted(words, WIDTH - end - 8 - _EDGE, SMALL), size=SMALL, colour="muted")
    canvas.height = y + 22
