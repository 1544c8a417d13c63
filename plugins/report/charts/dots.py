"""Dots with intervals: means of the levels of axes, and differences that single changes make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regionkit.plugins.report.charts.canvas import SMALL, WIDTH, Canvas, fitted, text_width
from regionkit.plugins.report.charts.scales import Scale, linear, tick_labels

_EDGE = 14.0
_ROW = 24.0
_HEAD = 26.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval.

    Attributes:
        label: What it is of.
        value: None where it is not known.
        low: Lower end; None for no interval.
        high: Upper end.
        shown: The value in words.
        strong: Whether it stands out: the mark is filled.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    shown: str
    strong: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Dots under a heading, with a remark at its right."""

    title: str
    remark: str
    dots: Sequence[Dot]


def dots(groups: Sequence[Group], axis: str, *, zero: bool = False, labels_above: bool = False) -> Canvas:
    """Draw groups of dots below each other on one axis.

    Args:
        groups: What to draw.
        axis: What the axis measures.
        zero: Draw a line at zero.
        labels_above: Write each label above its dot over the whole width, for long ones; else to its left.
    """
    every = [dot for group in groups for dot in group.dots]
    words = max((text_width(dot.shown, SMALL) for dot in every), default=0.0) + 10
    gutter = 0.0 if labels_above else min(max((text_width(dot.label) for dot in every), default=0.0), WIDTH * 0.38) + 14
    canvas = Canvas(WIDTH)
    values = [value for dot in every for value in (dot.value, dot.low, dot.high)]
    scale = linear(values, _EDGE + gutter + 6, WIDTH - _EDGE - words, zero=zero)
    row = _ROW + (16.0 if labels_above else 0.0)
    height = 8.0 + sum(len(group.dots) * row + (_HEAD if group.title else 0.0) + 6 for group in groups)
    _frame(canvas, scale, 8.0, height, axis, zero=zero)
    y = 8.0
    for group in groups:
        y = _head(canvas, group, y)
        for dot in group.dots:
            _one(canvas, dot, scale, y, row, gutter, above=labels_above)
            y += row
        y += 6
    return canvas


def _frame(canvas: Canvas, scale: Scale, top: float, bottom: float, axis: str, *, zero: bool) -> None:
    ticks = scale.ticks()
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line((scale(tick), top), (scale(tick), bottom), colour="grid")
        canvas.text(scale(tick), bottom + 16, label, size=SMALL, colour="muted", anchor="middle")
    if zero:
        canvas.line((scale(0.0), top), (scale(0.0), bottom), colour="axis", width=1.25)
    canvas.line((scale.start, bottom), (scale.end, bottom), colour="axis")
    middle = (scale.start + scale.end) / 2
    canvas.caption(middle, bottom + 34, axis)
    canvas.height = bottom + 44


def _head(canvas: Canvas, group: Group, y: float) -> float:
    if not group.title:
        return y
    remark = fitted(group.remark, WIDTH / 2, SMALL)
    room = WIDTH - 2 * _EDGE - text_width(remark, SMALL) - 12
    # The heading lies over the grid, on a ground of its own.
    canvas.rectangle(0, y, WIDTH, _HEAD - 4, "paper")
    canvas.text(_EDGE, y + 16, fitted(group.title, room, bold=True), bold=True)
    canvas.text(WIDTH - _EDGE, y + 16, remark, size=SMALL, colour="muted", anchor="end")
    return y + _HEAD


def _one(canvas: Canvas, dot: Dot, scale: Scale, y: float, row: float, gutter: float, *, above: bool) -> None:
    middle = y + row - _ROW / 2
    if above:
        canvas.rectangle(_EDGE - 2, y, min(text_width(dot.label) + 6, WIDTH - 2 * _EDGE), 17, "paper")
        canvas.text(_EDGE, y + 13, fitted(dot.label, WIDTH - 2 * _EDGE))
    else:
        canvas.text(_EDGE + gutter - 8, middle + 4, fitted(dot.label, gutter - 8), anchor="end")
    canvas.text(WIDTH - _EDGE, middle + 4, dot.shown, size=SMALL, anchor="end")
    if dot.value is None:
        return
    tip = f"{dot.label}: {dot.shown}"
    if dot.low is not None and dot.high is not None:
        canvas.line((scale(dot.low), middle), (scale(dot.high), middle), colour="accent", width=2, tip=tip)
        for end in (dot.low, dot.high):
            canvas.line((scale(end), middle - 4), (scale(end), middle + 4), colour="accent", width=1.5)
    canvas.mark(scale(dot.value), middle, hollow=not dot.strong, radius=4.5, tip=tip)
