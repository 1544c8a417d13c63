"""Alternatives timed side by side in one run, and the table that such runs end in.

Nothing here asserts a time: a benchmark asserts that both sides computed the same, and reports the ratio of their times
beside the goal. What is not met is printed as not met.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

import pytest

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a run is: ``quick`` takes a few minutes, ``full`` has the sizes that the goals speak of.

    Attributes:
        name: ``quick`` or ``full``.
        bank: Rows of the memory bank.
        queries: Numbers of regions that are projected onto it.
        decoded: Numbers of captions that are decoded.
        boxes: Numbers of boxes that are captioned end to end.
        pictures: Pictures of the grid.
    """

    name: str
    bank: int
    queries: tuple[int, ...]
    decoded: tuple[int, ...]
    boxes: tuple[int, ...]
    pictures: int

    @property
    def full(self) -> bool:
        """Whether goals can be judged that speak of full sizes."""
        return self.name == "full"


SIZES = {
    "quick": Size("quick", 50_000, (1, 4, 50), (1, 4), (8,), 1),
    "full": Size("full", 500_000, (1, 4, 50, 400), (1, 4, 50), (50, 400), 8),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of the project for one figure.

    Attributes:
        limit: What the figure is held against.
        side: Whether it is to be at least or at most that.
        unit: Printed behind the number: ``x`` for ratios.
        note: What else belongs to it.
        aside: Why it does not apply on this machine; empty where it does.
    """

    limit: float
    side: Literal["at least", "at most"] = "at least"
    unit: str = "x"
    note: str = ""
    aside: str = ""

    def __str__(self) -> str:
        text = f"{self.side} {self.limit:g}{self.unit}"
        return f"{text} {self.note}" if self.note else text

    def met(self, value: float) -> bool:
        """Say whether a value meets it."""
        return value >= self.limit if self.side == "at least" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Spread:
    """A ratio of two medians, and its extremes: the slowest round of one side against the fastest of the other."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{digits(self.middle)} ({digits(self.low)} to {digits(self.high)})"


@dataclass(slots=True)
class Timings:
    """Seconds of each alternative by round, and what each computed in its last round."""

    seconds: dict[str, list[float]]
    results: dict[str, Any]

    def middle(self, name: str) -> float:
        """Return the median of one alternative's seconds."""
        return median(self.seconds[name])

    def ratio(self, over: str, under: str) -> Spread:
        """Return the seconds of one alternative as a multiple of another's."""
        top, bottom = self.seconds[over], self.seconds[under]
        return Spread(median(top) / median(bottom), min(top) / max(bottom), max(top) / min(bottom))

    def said(self, name: str) -> str:
        """Return the median with its unit and the number of rounds."""
        return f"{in_seconds(self.middle(name))} ({counted(len(self.seconds[name]), 'round')})"


def interleaved(
    alternatives: Mapping[str, Callable[[], Any]],
    rounds: int | Mapping[str, int],
    clock: Clock = time.process_time,
) -> Timings:
    """Time alternatives in turn, A B A B: what slows the machine down for a while slows all of them down.

    Args:
        alternatives: What to time, by name.
        rounds: How often, for all or by name; who has fewer rounds drops out of the later ones.
        clock: CPU time of this process, which a busy machine hardly changes, or ``time.perf_counter``.
    """
    counts = {name: rounds if isinstance(rounds, int) else rounds[name] for name in alternatives}
    timings = Timings({name: [] for name in alternatives}, {})
    for number in range(max(counts.values())):
        for name, work in alternatives.items():
            if number < counts[name]:
                start = clock()
                timings.results[name] = work()
                timings.seconds[name].append(clock() - start)
    return timings


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; see :data:`COLUMNS`. ``place`` is that of the figure in the list of goals."""

    place: int
    figure: str
    baseline: str
    ours: str
    ratio: str
    goal: str
    met: str


#: The figures that have a goal, by their place in the list of goals.
PLACES = {
    1: "50 boxes end to end",
    2: "400 boxes end to end",
    3: "memory projection",
    4: "greedy decoding",
    5: "CLS attention map",
    6: "aggregation",
    7: "tokens, BLEU, ROUGE-L and CIDEr-D",
    8: "list-components",
    9: "the grid",
    10: "a plan of 10,000 trials",
    11: "the stage cache",
    12: "GPU",
    13: "training on five million captions",
}
COLUMNS = ("figure", "baseline", "ours", "ratio", "goal", "met")


@dataclass(slots=True)
class Table:
    """Collects the rows of a run.

    Attributes:
        rows: What was measured, and what could not be.
        failed: Benchmarks that found a wrong result.
    """

    size: Size
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(
        self,
        place: int,
        figure: str,
        baseline: str,
        ours: str,
        ratio: Spread | float | None,
        goal: Goal | None = None,
        *,
        at_goal_size: bool = True,
    ) -> None:
        """Add a figure and print it.

        Args:
            place: Of the figure in the list of goals.
            figure: What was measured, with its sizes.
            baseline: What it is held against, and its value.
            ours: Our value.
            ratio: What the goal speaks of; None where there is none.
            goal: The goal, None where the figure has none.
            at_goal_size: False for a smaller size than the goal speaks of, which cannot be judged.
        """
        value = ratio.middle if isinstance(ratio, Spread) else ratio
        text = "" if ratio is None else str(ratio) if isinstance(ratio, Spread) else digits(ratio)
        if goal is None or value is None:
            met = ""
        elif goal.aside:
            met = f"does not apply here: {goal.aside}" + (", and met all the same" if goal.met(value) else "")
        elif not at_goal_size:
            met = "not judged: smaller than the goal's size"
        else:
            met = "met" if goal.met(value) else "NOT MET"
        self._put(Row(place, figure, baseline, ours, text, "" if goal is None else str(goal), met))

    def not_measured(self, place: int, figure: str, reason: str, goal: Goal | str = "") -> None:
        """Add a figure that cannot be measured here, and skip the test."""
        self._put(Row(place, figure, "", "", "", str(goal), f"not measured: {reason}"))
        pytest.skip(reason)

    def _put(self, row: Row) -> None:
        if row in self.rows:  # two tests that cannot run for one reason
            return
        self.rows.append(row)
        cells = ((name, getattr(row, name)) for name in COLUMNS)
        print("\n" + "; ".join(f"{name} {value}" for name, value in cells if value))

    def markdown(self) -> str:
        """Return the table."""
        rows = sorted(self.rows, key=lambda row: row.place)  # stable: within a place as measured
        lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [f"| {' | '.join(getattr(row, name) for name in COLUMNS)} |" for row in rows]
        measured = {row.place for row in self.rows}
        left_out = [figure for place, figure in PLACES.items() if place not in measured]
        if left_out:
            lines += ["", f"Not part of this run: {', '.join(left_out)}."]
        if self.failed:
            lines += ["", f"WRONG RESULTS, whose figures mean nothing: {', '.join(self.failed)}"]
        return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def digits(value: float) -> str:
    """Return three significant digits, more before the point."""
    if value == 0 or 1e-3 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1e}"


def in_seconds(value: float) -> str:
    """Return seconds, or milliseconds where they are few."""
    return f"{digits(value)} s" if value >= 0.1 else f"{digits(value * 1e3)} ms"
