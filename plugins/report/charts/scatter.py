"""Quality against time: every pipeline a point, and the front of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regionkit.plugins.report.charts.canvas import LINE, SMALL, WIDTH, Canvas, fitted, text_width
from regionkit.plugins.report.charts.scales import Scale, linear, logarithmic, tick_labels
from regionkit.plugins.report.words import seconds

_EDGE = 14.0
_HEIGHT = 260.0
#: Points of the front that have a number and a line in the key.
_MOST = 12
_RADIUS = 5.0
#: Where a number may stand beside its point, the best place first: signs of x and y.
_AROUND = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1.6), (0, 1.6), (1.4, 0), (-1.4, 0))


@dataclass(frozen=True, slots=True)
class Point:
    """A pipeline: seconds a sample, a value, and whether it is on the front."""

    label: str
    time: float
    value: float
    front: bool


def scatter(points: Sequence[Point], axis: str) -> Canvas:
    """Draw points over time; those of the front are numbered, and the key says who they are.

    Args:
        points: At least one; times are positive.
        axis: What the axis upwards measures.
    """
    canvas = Canvas(WIDTH)
    upward = linear([point.value for point in points], _HEIGHT, 26.0)
    ticks = upward.ticks(5)
    labels = tick_labels(ticks)
    left = _EDGE + max((text_width(label, SMALL) for label in labels), default=0.0) + 8
    across = logarithmic([point.time for point in points], left, WIDTH - _EDGE)
    for tick, label in zip(ticks, labels, strict=True):
        canvas.line((left, upward(tick)), (WIDTH - _EDGE, upward(tick)), colour="grid")
        canvas.text(left - 6, upward(tick) + 4, label, size=SMALL, colour="muted", anchor="end")
    canvas.text(_EDGE, 14, fitted(axis, WIDTH - 2 * _EDGE, SMALL), size=SMALL, colour="muted")
    for tick in across.ticks(6):
        canvas.line((across(tick), 26), (across(tick), _HEIGHT), colour="grid")
        canvas.text(across(tick), _HEIGHT + 17, seconds(tick), size=SMALL, colour="muted", anchor="middle")
    canvas.line((left, _HEIGHT), (WIDTH - _EDGE, _HEIGHT), colour="axis")
    middle = (left + WIDTH - _EDGE) / 2
    canvas.caption(middle, _HEIGHT + 35, "time a sample")
    front = sorted((point for point in points if point.front), key=lambda point: (point.time, point.value))
    _front(canvas, front, across, upward)
    for point in points:
        if not point.front:
            tip = _told(point)
            canvas.mark(across(point.time), upward(point.value), "circle", "axis", hollow=True, radius=3.5, tip=tip)
    for point in front:
        canvas.mark(across(point.time), upward(point.value), "diamond", "accent", radius=_RADIUS, tip=_told(point))
    _numbers(canvas, points, front[:_MOST], across, upward)
    _key(canvas, front)
    return canvas


def _front(canvas: Canvas, front: Sequence[Point], across: Scale, upward: Scale) -> None:
    """Draw the front as steps: until the next point's time, nothing better is known than the last one."""
    steps: list[tuple[float, float]] = []
    for point in front:
        x, y = across(point.time), upward(point.value)
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    if len(steps) > 1:
        canvas.line(*steps, colour="accent", width=1.25, dash=(4, 3))


def _numbers(canvas: Canvas, points: Sequence[Point], front: Sequence[Point], across: Scale, upward: Scale) -> None:
    """Write the numbers of the front where they cover no point and no other number."""
    taken = [(across(p.time) - 5, upward(p.value) - 5, across(p.time) + 5, upward(p.value) + 5) for p in points]
    for at, point in enumerate(front, 1):
        text = str(at)
        width, x, y = text_width(text, SMALL, bold=True), across(point.time), upward(point.value)
        boxes = []
        for right, down in _AROUND:
            middle_x, middle_y = x + right * (_RADIUS + 4 + width / 2), y + down * (_RADIUS + 6)
            boxes.append((middle_x - width / 2 - 1, middle_y - 6, middle_x + width / 2 + 1, middle_y + 6))
        inside = [box for box in boxes if box[0] > across.start and box[2] < across.end and box[3] < _HEIGHT]
        box = min(inside or boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(box)
        canvas.text((box[0] + box[2]) / 2, box[3] - 2, text, size=SMALL, bold=True, anchor="middle", colour="accent")


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0


def _key(canvas: Canvas, front: Sequence[Point]) -> None:
    y = _HEIGHT + 58
    for at, point in enumerate(front[:_MOST], 1):
        told = f"{point.value:.3f}, {seconds(point.time)}"
        room = WIDTH - 2 * _EDGE - 22 - text_width(told, SMALL) - 10
        canvas.text(_EDGE, y, str(at), bold=True, colour="accent")
        canvas.text(_EDGE + 22, y, fitted(point.label, room))
        canvas.text(WIDTH - _EDGE, y, told, size=SMALL, colour="muted", anchor="end")
        y += LINE
    if len(front) > _MOST:
        canvas.text(_EDGE, y, f"and {len(front) - _MOST} more on the front", size=SMALL, colour="muted")
        y += LINE
    canvas.height = y - 4


def _told(point: Point) -> str:
    return f"{point.label}: {point.value:.3f}, {seconds(point.time)} a sample"
