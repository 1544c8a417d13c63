"""What a plot consists of: lines, rectangles, marks and texts at fixed places, whoever draws them in the end.

A canvas is in pixels of a page, origin top left, y down. Colours are named by their role: ``ink``, ``muted``, ``grid``,
``accent``, ``s0`` to ``s6`` for series, ``h0`` to ``h8`` for cells and ``t0`` to ``t8`` for the texts on them. A page
may give the roles other colours, a file has those of :data:`PALETTE`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from regionkit.plugins.report.words import shortened

#: Colours by role. Series are those of Okabe and Ito, darkened where white paper asks for it; h0 to h8 go from blue
#: (below) over grey to orange (above), and differ in lightness, too.
PALETTE = {
    "ink": "#1f2328",
    "muted": "#656d76",
    "grid": "#e3e6ea",
    "axis": "#8c959f",
    "paper": "#ffffff",
    "accent": "#0b62a8",
    "s0": "#0b62a8",
    "s1": "#c2500a",
    "s2": "#00805d",
    "s3": "#a8447f",
    "s4": "#8a6d00",
    "s5": "#3a8fc4",
    "s6": "#5b4a9e",
    "h0": "#1f5f9e",
    "h1": "#5590c4",
    "h2": "#93bbdd",
    "h3": "#cfe0ee",
    "h4": "#f2f2f2",
    "h5": "#f7dcc0",
    "h6": "#eeb177",
    "h7": "#d98335",
    "h8": "#ab5510",
    # Texts on them.
    **{f"t{step}": "#ffffff" if step in (0, 8) else "#1f2328" for step in range(9)},
}
#: Roles of the colours of series.
SERIES = ("s0", "s1", "s2", "s3", "s4", "s5", "s6")
#: Marks of series, so that they can be told apart without colour.
MARKS = ("circle", "square", "triangle", "diamond", "down", "cross", "plus")
#: Dashes of series, for the same reason: lengths of stroke and gap.
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 2.5), (8, 3, 2, 3), (4, 2), (1, 2.5), (10, 4))
#: Width of all plots: two stand side by side on a page, and one fits on a phone with its texts readable.
WIDTH = 440.0
#: Height of texts.
FONT = 13.0
SMALL = 11.5
#: Height of a line of a key.
LINE = FONT + 5

#: Characters that a text of a plot has at most, however wide the plot.
_LONGEST = 400
# Kinds of characters by their width; the shares of the font's height below are those of the widest system fonts.
_NARROW = frozenset("iljtfI.,:;'|!()[]{}/ -")
_WIDE = frozenset("mwMW@%—")


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str = "ink"
    width: float = 1.0
    dash: tuple[float, ...] = ()
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A filled rectangle: x, y, width, height."""

    box: tuple[float, float, float, float]
    fill: str
    tip: str = ""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark at a point; ``hollow`` ones are outlines."""

    x: float
    y: float
    shape: str = "circle"
    colour: str = "accent"
    radius: float = 4.0
    hollow: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text whose base line begins, is centred or ends at a point, turned by degrees clockwise."""

    x: float
    y: float
    text: str
    size: float = FONT
    colour: str = "ink"
    anchor: str = "start"
    bold: bool = False
    turn: float = 0.0


Shape = Line | Rectangle | Mark | Text


@dataclass
class Canvas:
    """A plot in the making.

    Attributes:
        width: In pixels.
        height: In pixels; plots find out while they are drawn.
        shapes: What is drawn, the lowest first.
    """

    width: float
    height: float = 0.0
    shapes: list[Shape] = field(default_factory=list)

    def line(self, *points: tuple[float, float], colour: str = "ink", width: float = 1.0, **more: object) -> None:
        """Draw a line."""
        self.shapes.append(Line(points, colour, width, **more))  # type: ignore[arg-type]

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str, **more: object) -> None:
        """Fill a rectangle."""
        self.shapes.append(Rectangle((x, y, width, height), fill, **more))  # type: ignore[arg-type]

    def mark(self, x: float, y: float, shape: str = "circle", colour: str = "accent", **more: object) -> None:
        """Draw a mark."""
        self.shapes.append(Mark(x, y, shape, colour, **more))  # type: ignore[arg-type]

    def text(self, x: float, y: float, text: str, **more: object) -> None:
        """Write a text."""
        self.shapes.append(Text(x, y, text, **more))  # type: ignore[arg-type]

    def caption(self, middle: float, y: float, text: str) -> None:
        """Write a small text around a middle, as far as there is room on both sides of it."""
        room = 2 * min(middle, self.width - middle) - 4
        self.text(middle, y, fitted(text, room, SMALL), size=SMALL, colour="muted", anchor="middle")


def text_width(text: str, size: float = FONT, *, bold: bool = False) -> float:
    """Return about how wide a text is in pixels; rather too wide than too narrow, as fonts differ."""
    total = 0.0
    for char in text:
        if unicodedata.combining(char):
            continue
        if unicodedata.east_asian_width(char) in "WF":
            total += 1.05
        elif char in _NARROW:
            total += 0.36
        elif char in _WIDE:
            total += 0.95
        else:
            total += 0.72 if char.isupper() else 0.61
    return total * size * (1.06 if bold else 1.0)


def fitted(text: str, room: float, size: float = FONT, *, bold: bool = False) -> str:
    """Return a text that is no wider than there is room, its middle left out where it is."""
    text = shortened(text, _LONGEST)
    if text_width(text, size, bold=bold) <= room:
        return text
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(shortened(text, middle), size, bold=bold) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return shortened(text, low)


def wrapped(text: str, room: float, size: float = FONT, most: int = 3) -> list[str]:
    """Return the lines of a text, broken at blanks; what does not fit is shortened."""
    lines: list[str] = []
    for word in shortened(text, _LONGEST).split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return [fitted(line, room, size) for line in lines]
