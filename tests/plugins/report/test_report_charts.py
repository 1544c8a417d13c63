"""Plots: axes, texts that keep apart, SVG that any reader takes, PDF with texts in it."""

from __future__ import annotations

import base64
import re
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import MissingExtra
from regionkit.plugins.report.charts.canvas import PALETTE, Canvas, Text, fitted, text_width, wrapped
from regionkit.plugins.report.charts.curves import Point, Series, curves
from regionkit.plugins.report.charts.dots import Dot, Group, dots
from regionkit.plugins.report.charts.heat import heat
from regionkit.plugins.report.charts.pdf import readable, to_pdf
from regionkit.plugins.report.charts.scales import linear, logarithmic, tick_labels
from regionkit.plugins.report.charts.scatter import Point as Timed
from regionkit.plugins.report.charts.scatter import scatter
from regionkit.plugins.report.charts.svg import to_svg

finite = st.floats(-1e6, 1e6)
words = st.text(min_size=1, max_size=60)


@given(st.lists(finite, min_size=1, max_size=8), st.booleans())
def test_a_linear_axis_shows_every_value_with_ticks_inside(values, zero):
    scale = linear(values, 10.0, 110.0, zero=zero)
    assert all(10 <= scale(value) <= 110 for value in values)
    assert scale.low <= min(values) <= max(values) <= scale.high
    ticks = scale.ticks(6)
    assert len(ticks) <= 7
    assert all(scale.low - 1e-6 <= tick <= scale.high + abs(scale.high) * 1e-9 + 1e-6 for tick in ticks)
    assert not zero or scale.low <= 0 <= scale.high


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8))
def test_a_logarithmic_axis_has_at_least_a_tick(values):
    scale = logarithmic(values, 0.0, 100.0)
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 6
    assert all(0 <= scale(tick) <= 100 for tick in ticks)
    assert all(scale(one) <= scale(other) for one, other in pairwise(ticks))


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        pytest.param([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"], id="same-decimals"),
        pytest.param([10.0, 20.0], ["10", "20"], id="none"),
        pytest.param([-0.0000000001, 0.25], ["0.0", "0.2"], id="no-minus-zero"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_labels_of_ticks(ticks, labels):
    assert tick_labels(ticks)[:1] == labels[:1]
    assert len(tick_labels(ticks)) == len(labels)


@given(words, st.floats(10, 300))
def test_a_fitted_text_fits_or_is_a_single_character(text, room):
    shown = fitted(text, room)
    assert text_width(shown) <= room or len(shown) <= 1
    assert all(text_width(line) <= room or len(line) <= 1 for line in wrapped(text, room))


def boxes(canvas: Canvas):
    """Return where the texts are: left, top, right, bottom, and what they say."""
    for shape in canvas.shapes:
        if isinstance(shape, Text) and not shape.turn:
            width = text_width(shape.text, shape.size, bold=shape.bold)
            left = shape.x - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
            yield left, shape.y - shape.size * 0.75, left + width, shape.y + shape.size * 0.2, shape.text


def clashes(canvas):
    found = []
    for one, other in combinations(boxes(canvas), 2):
        across = min(one[2], other[2]) - max(one[0], other[0])
        down = min(one[3], other[3]) - max(one[1], other[1])
        if across > 1 and down > 1:
            found.append((one[4], other[4]))
    return found


def outside(canvas):
    return [box for box in boxes(canvas) if box[0] < -1 or box[2] > canvas.width + 1 or box[3] > canvas.height + 1]


LABELS = [
    "mini-dense",
    "noise(std=0.08)",
    "memory(bank=coco-captions, temperature=0.01)",
    "x",
    "W" * 60,
    "地域の説明文",
]


def long_dots(above=False):
    made = [Dot(label, at - 2.0, at - 2.5, at - 1.5, f"{at - 2.0:+.3f}") for at, label in enumerate(LABELS)]
    return dots(
        [Group("axis " + "y" * 80, "range 1.234, p = 0.012", made)] * 2, "c" * 90, zero=True, labels_above=above
    )


def long_heat(columns=7):
    rows, across = LABELS, (LABELS * 3)[:columns]
    grid = [[0.5 * at - place for place in range(columns)] for at in range(len(rows))]
    return heat(("region_encoder", "bridge" * 20), (rows, across), grid, grid, 5.0)


def long_curves():
    series = [
        Series(label * 2, [Point(at, at + number, at, at + 2 * number) for at in range(4)])
        for number, label in enumerate(LABELS)
    ]
    return curves(series, [(at, f"{at}00 to {at + 1}00 px2 {'z' * 20}") for at in range(4)], ("area", "cider-d" * 20))


def crowded_scatter():
    points = [
        Timed(f"{label} {at}", 0.01 * (1 + at % 3), 1.0 + 0.01 * at, at % 2 == 0) for at, label in enumerate(LABELS * 3)
    ]
    return scatter(points, "cider-d (higher is better)")


PLOTS = [
    pytest.param(long_dots, id="dots"),
    pytest.param(lambda: long_dots(above=True), id="dots-below-labels"),
    pytest.param(long_heat, id="heat-narrow"),
    pytest.param(lambda: long_heat(2), id="heat-wide"),
    pytest.param(long_curves, id="curves"),
    pytest.param(crowded_scatter, id="scatter"),
]


@pytest.mark.parametrize("plot", PLOTS)
def test_texts_neither_cover_each_other_nor_leave_the_plot(plot):
    canvas = plot()
    assert clashes(canvas) == []
    assert outside(canvas) == []


@pytest.mark.parametrize("plot", PLOTS)
def test_svg_is_well_formed_and_says_what_it_shows(plot):
    root = ElementTree.fromstring(to_svg(plot(), "name", "A <title>", "It's \ud800 \x00 & so on"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "name-t name-d"
    assert root.find(f"{space}title").text == "A <title>"
    assert root.find(f"{space}desc").text == "It's \ufffd \ufffd & so on"
    assert {one.attrib["fill"] for one in root.iter() if "fill" in one.attrib} <= {*PALETTE.values(), "none"}


def test_an_unknown_value_is_no_mark():
    canvas = dots([Group("axis", "", [Dot("a", None, None, None, "–"), Dot("b", 1.0, None, None, "1.000")])], "cider-d")
    assert to_svg(canvas, "n", "t", "d").count("<circle") == 1


def lightness(role):
    value = PALETTE[role]
    red, green, blue = (int(value[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_cells_far_from_zero_are_darker_than_those_near():
    assert lightness("h0") < lightness("h1") < lightness("h2") < lightness("h3") < lightness("h4")
    assert lightness("h8") < lightness("h7") < lightness("h6") < lightness("h5") < lightness("h4")


def content_of(pdf):
    """Return what a PDF draws, in its own words."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    return b"\n".join(
        zlib.decompress(base64.a85decode(one.strip(), adobe=True)) if one.strip().endswith(b"~>") else one
        for one in (b"<~" + s.strip() if s.strip().endswith(b"~>") else s for s in streams)
    ).decode("latin-1")


def test_a_pdf_holds_the_texts_and_lines_of_the_plot():
    pytest.importorskip("reportlab")
    canvas = Canvas(200, 100)
    canvas.line((10, 20), (110, 20), colour="accent", dash=(4, 3))
    canvas.rectangle(10, 30, 50, 10, "h8")
    canvas.mark(60, 50, "diamond")
    canvas.text(10, 70, "CIDEr-D – mean", bold=True)
    canvas.text(190, 90, "a → b 語", anchor="end")
    pdf = to_pdf(canvas, "A plot")
    assert pdf.startswith(b"%PDF")
    assert pdf == to_pdf(canvas, "A plot")
    drawn = content_of(pdf)
    assert "(CIDEr-D \\226 mean) Tj" in drawn
    assert "(a -> b U+8A9E) Tj" in drawn
    # Lines count from the bottom: y = 100 - 20.
    assert re.search(r"n 10 80 m 110 80 l", drawn), drawn
    assert re.search(r"n 10 60 50 10 re f", drawn), drawn
    assert b"/Helvetica-Bold" in pdf


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("é ñ ± × µ ²", "é ñ ± × µ ²", id="western"),
        pytest.param("≤ 3 → 4", "<= 3 -> 4", id="signs-of-ours"),
        pytest.param("語\ud800", "U+8A9EU+FFFD", id="not-in-the-fonts"),
    ],
)
def test_characters_of_a_pdf(text, shown):
    assert readable(text) == shown


def test_without_the_package_a_pdf_is_refused_with_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "reportlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingExtra) as caught:
        to_pdf(Canvas(10, 10), "")
    assert str(caught.value) == (
        "toolkit report --pdf needs the package 'reportlab', which is not installed\n"
        "  install it with: pip install 'regionkit[report]'"
    )
