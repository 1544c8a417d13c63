"""A plot with what is said of it: title, description, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from regionkit.plugins.report.charts.canvas import Canvas
from regionkit.plugins.report.charts.svg import to_svg

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        name: Of its file, and of its place on the page; unique.
        section: Which kind of plot it is, a key of :data:`SECTIONS`.
        data: Data set.
        column: Column that it is about.
        title: What it shows.
        description: The same in a sentence with the main numbers.
        canvas: The plot.
        table: Its numbers: header and rows.
        remark: How strong it is, and whether that may be chance.
    """

    name: str
    section: str
    data: str
    column: str
    title: str
    description: str
    canvas: Canvas
    table: Table
    remark: str = ""

    @cached_property
    def svg(self) -> str:
        """The plot as SVG."""
        return to_svg(self.canvas, self.name, self.title, self.description)


#: Headings of the kinds of plots, and how to read each.
SECTIONS = {
    "main-effects": (
        "Main effects",
        "The mean of each level over pipelines that agree in all other axes and have every level. Bars are 95 % "
        "intervals; p: permutation test of whether the axis matters at all, corrected for the number of tests.",
    ),
    "leave-one-out": (
        "Leave one out",
        "The best pipeline, and what each single change of it does. Filled marks: p < 0.05 after correction.",
    ),
    "interactions": (
        "Interactions",
        "Means of all pairs of levels. The smaller number and the colour say by how much a mean is higher (orange) or "
        "lower (blue) than the two effects together explain. The strongest are drawn, where they "
        "have few enough levels.",
    ),
    "pareto": (
        "Quality against time",
        "Each pipeline is a point. Those with a number are the front: no other is both better and faster.",
    ),
    "sizes": (
        "Score by size of the region",
        "The best pipeline and those that differ from it in one axis, with 95 % intervals.",
    ),
    "robustness": ("Robustness", "Scores as regions are disturbed; the table has the area under each curve."),
}
