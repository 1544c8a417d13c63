"""Lines with intervals: a score over sizes of regions, or over how much a region was disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from regionkit.plugins.report.charts.canvas import (
    DASHES,
    FONT,
    LINE,
    MARKS,
    SERIES,
    SMALL,
    WIDTH,
    Canvas,
    fitted,
    text_width,
)
from regionkit.plugins.report.charts.scales import Scale, linear, tick_labels

_EDGE = 14.0
_HEIGHT = 240.0


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place of the axis, with its interval where it has one."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A line: ``faint`` ones are context, without a name."""

    label: str
    points: Sequence[Point]
    faint: bool = False


def curves(series: Sequence[Series], across: Sequence[tuple[float, str]], axes: tuple[str, str]) -> Canvas:
    """Draw lines over places that have names.

    Args:
        series: What to draw; up to as many that are not faint as there are colours.
        across: Places on the axis, each with its label.
        axes: What the axis across measures, and what the one upwards does.
    """
    canvas = Canvas(WIDTH)
    loud = [one for one in series if not one.faint]
    values = [value for one in series for point in one.points for value in (point.value,)]
    values += [value for one in loud for point in one.points for value in (point.low, point.high) if value is not None]
    upward = linear(values, _HEIGHT, 24.0)
    ticks = upward.ticks(5)
    labels = tick_labels(ticks)
    left = _EDGE + max((text_width(label, SMALL) for label in labels), default=0.0) + 8
    places = [place for place, _ in across]
    scale = _across(places, left, WIDTH - _EDGE)
    for tick, label in zip(ticks, labels, strict=True):
        canvas.line((left, upward(tick)), (WIDTH - _EDGE, upward(tick)), colour="grid")
        canvas.text(left - 6, upward(tick) + 4, label, size=SMALL, colour="muted", anchor="end")
    canvas.text(_EDGE, 14, fitted(axes[1], WIDTH - 2 * _EDGE, SMALL), size=SMALL, colour="muted")
    canvas.line((left, _HEIGHT), (WIDTH - _EDGE, _HEIGHT), colour="axis")
    bottom = _places(canvas, across, scale, axes[0])
    for one in series:
        if one.faint:
            canvas.line(*((scale(p.x), upward(p.value)) for p in one.points), colour="grid", width=1.25, tip=one.label)
    step = min((second - first for first, second in pairwise(places)), default=0.0)
    for at, one in enumerate(loud):
        # Intervals of several lines at one place stand beside each other.
        shift = (at - (len(loud) - 1) / 2) * min(5.0, abs(scale(places[0] + step) - scale(places[0])) / 10)
        _series(canvas, one, at, scale, upward, shift)
    _key(canvas, loud, bottom, faint=len(loud) < len(series))
    return canvas


def _across(places: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(places), max(places)
    room = (high - low) * 0.06 or 1.0
    return Scale(low - room, high + room, start, end)


def _places(canvas: Canvas, across: Sequence[tuple[float, str]], scale: Scale, axis: str) -> float:
    """Write the labels of places, on two lines by turns where they are many, and return where they end."""
    widest = max((text_width(label, SMALL) for _, label in across), default=0.0)
    turns = widest > _room(across, scale, 1)
    room = _room(across, scale, 2 if turns else 1)
    for at, (place, label) in enumerate(across):
        canvas.line((scale(place), _HEIGHT), (scale(place), _HEIGHT + 4), colour="axis")
        y = _HEIGHT + 17 + (14 if turns and at % 2 else 0)
        shown = fitted(label, room, SMALL)
        half = text_width(shown, SMALL) / 2
        x = min(max(scale(place), half + 2), WIDTH - half - 2)
        canvas.text(x, y, shown, size=SMALL, colour="muted", anchor="middle")
    bottom = _HEIGHT + (52 if turns else 38)
    canvas.caption((scale.start + scale.end) / 2, bottom - 3, axis)
    return bottom


def _room(across: Sequence[tuple[float, str]], scale: Scale, every: int) -> float:
    """Return how wide labels may be where every so many stand on one line; those at the ends are moved inwards."""
    places = sorted(scale(place) for place, _ in across)
    if len(places) <= every:
        return WIDTH - 2 * _EDGE
    apart = min(second - first for first, second in zip(places, places[every:], strict=False))
    edge = min(places[0], WIDTH - places[-1])
    return min(apart, (apart + edge) / 1.5) - 6


def _series(canvas: Canvas, one: Series, at: int, scale: Scale, upward: Scale, shift: float) -> None:
    colour = SERIES[at % len(SERIES)]
    placed = [(scale(point.x) + shift, upward(point.value)) for point in one.points]
    if len(placed) > 1:
        canvas.line(*placed, colour=colour, width=1.75, dash=DASHES[at % len(DASHES)], tip=one.label)
    for point, (x, y) in zip(one.points, placed, strict=True):
        if point.low is not None and point.high is not None:
            canvas.line((x, upward(point.low)), (x, upward(point.high)), colour=colour, width=1.0)
        tip = f"{one.label}: {point.value:.3f}"
        canvas.mark(x, y, MARKS[at % len(MARKS)], colour, radius=4.0, tip=tip)


def _key(canvas: Canvas, loud: Sequence[Series], y: float, *, faint: bool) -> None:
    for at, one in enumerate(loud):
        middle = y + 12 + at * LINE
        colour = SERIES[at % len(SERIES)]
        canvas.line((_EDGE, middle), (_EDGE + 30, middle), colour=colour, width=1.75, dash=DASHES[at % len(DASHES)])
        canvas.mark(_EDGE + 15, middle, MARKS[at % len(MARKS)], colour)
        canvas.text(_EDGE + 38, middle + 4, fitted(one.label, WIDTH - _EDGE * 2 - 38))
    end = y + 12 + len(loud) * LINE
    if faint:
        canvas.line((_EDGE, end), (_EDGE + 30, end), colour="grid", width=1.25)
        canvas.text(_EDGE + 38, end + 4, "all others", colour="muted", size=FONT)
        end += LINE
    canvas.height = end + 4
