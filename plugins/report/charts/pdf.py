"""Plots as PDF, from the same marks as the SVG, through ReportLab (BSD): lines stay lines, texts stay texts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import MissingExtra
from regionkit.plugins.report.charts.canvas import PALETTE, Canvas, Line, Mark, Rectangle, Shape, Text
from regionkit.plugins.report.charts.svg import outline
from regionkit.plugins.report.words import clean

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas as Page

#: Points of a PDF for a pixel of a plot, so that texts of 13 pixels are read as 9 points in a paper.
_SCALE = 0.69
#: Fonts that every PDF reader has.
_FONT, _BOLD = "Helvetica", "Helvetica-Bold"
#: Characters of ours that these fonts lack, and what is written in their place.
_INSTEAD = str.maketrans({"\N{MINUS SIGN}": "-", "≤": "<=", "≥": ">=", "→": "->", "µ": "µ", "²": "²", "\t": " "})


def check_installed() -> None:
    """Check that PDF can be written.

    Raises:
        MissingExtra: ReportLab is not installed.
    """
    try:
        import reportlab.pdfgen.canvas  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "reportlab":
            raise
        raise MissingExtra("toolkit report --pdf", "reportlab", "report") from None


def to_pdf(canvas: Canvas, title: str) -> bytes:
    """Return a plot as a PDF of one page. The same plot always gives the same bytes.

    Characters that the fonts of every reader lack, which are those beyond Western European ones, are written as their
    code: ``U+4E2D``.

    Raises:
        MissingExtra: ReportLab is not installed.
    """
    check_installed()
    from reportlab.pdfgen.canvas import Canvas as Page

    stream = io.BytesIO()
    size = (canvas.width * _SCALE, canvas.height * _SCALE)
    page = Page(stream, pagesize=size, invariant=1)  # no dates and no random ids
    page.setTitle(clean(title))
    page.setAuthor("regionkit")
    page.scale(_SCALE, _SCALE)
    for shape in canvas.shapes:
        page.saveState()
        _draw(page, shape, canvas.height)
        page.restoreState()
    page.showPage()
    page.save()
    return stream.getvalue()


def readable(text: str) -> str:
    """Return a text in the characters that the fonts have."""
    shown = clean(text).translate(_INSTEAD)
    return "".join(char if _known(char) else f"U+{ord(char):04X}" for char in shown)


def _known(char: str) -> bool:
    try:
        char.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _draw(page: Page, shape: Shape, height: float) -> None:
    """Draw one shape; PDF counts from the bottom."""
    match shape:
        case Line():
            page.setStrokeColor(_colour(shape.colour))
            page.setLineWidth(shape.width)
            page.setDash(list(shape.dash), 0)
            page.setLineJoin(1)
            _follow(page, [(x, height - y) for x, y in shape.points], closed=False)
        case Rectangle():
            x, y, width, tall = shape.box
            page.setFillColor(_colour(shape.fill), alpha=shape.opacity)
            page.rect(x, height - y - tall, width, tall, stroke=0, fill=1)
        case Mark():
            page.setFillColor(_colour("paper" if shape.hollow else shape.colour))
            page.setStrokeColor(_colour(shape.colour))
            page.setLineWidth(1.5)
            if shape.shape == "circle":
                page.circle(shape.x, height - shape.y, shape.radius, stroke=1, fill=1)
            else:
                _follow(page, [(x, height - y) for x, y in outline(shape)], closed=True)
        case Text():
            _write(page, shape, height)


def _follow(page: Page, points: list[tuple[float, float]], *, closed: bool) -> None:
    path = page.beginPath()
    path.moveTo(*points[0])
    for point in points[1:]:
        path.lineTo(*point)
    if closed:
        path.close()
    page.drawPath(path, stroke=1, fill=int(closed))


def _write(page: Page, text: Text, height: float) -> None:
    page.setFillColor(_colour(text.colour))
    page.setFont(_BOLD if text.bold else _FONT, text.size)
    page.translate(text.x, height - text.y)
    page.rotate(-text.turn)
    write = {"start": page.drawString, "middle": page.drawCentredString, "end": page.drawRightString}[text.anchor]
    write(0, 0, readable(text.text))


def _colour(role: str) -> Any:
    from reportlab.lib.colors import HexColor

    return HexColor(PALETTE[role])
