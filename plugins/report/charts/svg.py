"""Plots as SVG: one text for the page and for a file of its own.

Colours stand in attributes, and the role of each in a class: attributes give way to a page's style sheet, so a page can
have other colours in the dark, and a file needs no style sheet.
"""

from __future__ import annotations

import math
from html import escape

from regionkit.plugins.report.charts.canvas import PALETTE, Canvas, Line, Mark, Rectangle, Shape, Text
from regionkit.plugins.report.words import clean

_FONTS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def to_svg(canvas: Canvas, name: str, title: str, description: str) -> str:
    """Return a plot as SVG.

    Args:
        canvas: The plot.
        name: What makes its ids unique on a page.
        title: What it shows, in a line.
        description: The same for those who do not see it.
    """
    width, height = _number(canvas.width), _number(canvas.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="{name}-t {name}-d" font-family="{_FONTS}">',
        f'<title id="{name}-t">{_escaped(title)}</title><desc id="{name}-d">{_escaped(description)}</desc>',
        *map(_drawn, canvas.shapes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _drawn(shape: Shape) -> str:
    match shape:
        case Line():
            points = " ".join(f"{_number(x)},{_number(y)}" for x, y in shape.points)
            dash = f' stroke-dasharray="{" ".join(map(_number, shape.dash))}"' if shape.dash else ""
            style = f'fill="none" {_stroke(shape.colour)} stroke-width="{_number(shape.width)}"{dash}'
            return _tipped(f'<polyline points="{points}" {style}', shape.tip, "polyline")
        case Rectangle():
            x, y, width, height = map(_number, shape.box)
            faint = f' fill-opacity="{_number(shape.opacity)}"' if shape.opacity < 1 else ""
            return _tipped(
                f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {_fill(shape.fill)}{faint}', shape.tip, "rect"
            )
        case Mark():
            return _mark(shape)
        case Text():
            return _text(shape)


def _mark(mark: Mark) -> str:
    fill = "paper" if mark.hollow else mark.colour
    style = (
        f'class="f-{fill} k-{mark.colour}" fill="{PALETTE[fill]}" stroke="{PALETTE[mark.colour]}" stroke-width="1.5"'
    )
    if mark.shape == "circle":
        head = f'<circle cx="{_number(mark.x)}" cy="{_number(mark.y)}" r="{_number(mark.radius)}" {style}'
        return _tipped(head, mark.tip, "circle")
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in outline(mark))
    return _tipped(f'<polygon points="{points}" {style}', mark.tip, "polygon")


def outline(mark: Mark) -> list[tuple[float, float]]:
    """Return the corners of a mark that is no circle, around its point."""
    r = mark.radius
    arm, bar = r * 1.15, r * 0.42
    plus = [(-bar, -arm), (bar, -arm), (bar, -bar), (arm, -bar), (arm, bar), (bar, bar)]
    plus += [(-x, -y) for x, y in plus]
    turned = [((x - y) * math.sqrt(0.5), (x + y) * math.sqrt(0.5)) for x, y in plus]
    corners = {
        "square": [(-r * 0.9, -r * 0.9), (r * 0.9, -r * 0.9), (r * 0.9, r * 0.9), (-r * 0.9, r * 0.9)],
        "triangle": [(0, -r * 1.2), (r * 1.1, r * 0.8), (-r * 1.1, r * 0.8)],
        "down": [(0, r * 1.2), (r * 1.1, -r * 0.8), (-r * 1.1, -r * 0.8)],
        "diamond": [(0, -r * 1.3), (r * 1.3, 0), (0, r * 1.3), (-r * 1.3, 0)],
        "plus": plus,
        "cross": turned,
    }[mark.shape]
    return [(mark.x + x, mark.y + y) for x, y in corners]


def _text(text: Text) -> str:
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    weight = ' font-weight="600"' if text.bold else ""
    x, y = _number(text.x), _number(text.y)
    turn = f' transform="rotate({_number(text.turn)} {x} {y})"' if text.turn else ""
    look = f'font-size="{_number(text.size)}" {_fill(text.colour)}{anchor}{weight}{turn}'
    return f'<text x="{x}" y="{y}" {look}>{_escaped(text.text)}</text>'


def _tipped(head: str, tip: str, tag: str) -> str:
    return f"{head}><title>{_escaped(tip)}</title></{tag}>" if tip else f"{head}/>"


def _fill(colour: str) -> str:
    return f'class="f-{colour}" fill="{PALETTE[colour]}"'


def _stroke(colour: str) -> str:
    return f'class="k-{colour}" stroke="{PALETTE[colour]}"'


def _escaped(text: str) -> str:
    return escape(clean(text))


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
