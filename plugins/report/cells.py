"""The table of results: what stands in each cell, and which are the best and second best of their data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regionkit.plugins.report.evidence import Evidence
from regionkit.plugins.report.words import NOTHING, interval, number, seconds


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is shown.

    Attributes:
        shown: The mean, or why there is none.
        interval: Its 95 % interval; empty for none.
        spread: Standard deviation over seeds; empty for one seed.
        value: What rows are sorted by; None where there is none.
        rank: ``best``, ``second`` or empty.
        note: How many samples could not be judged.
    """

    shown: str
    interval: str = ""
    spread: str = ""
    value: float | None = None
    rank: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: its labels on the axes, the data set, a cell for each column, and what else to know."""

    row: Mapping[str, Any]
    labels: Sequence[str]
    data: str
    cells: Sequence[Cell]
    time: Cell
    notes: Sequence[str]


def results(found: Evidence) -> list[Line]:
    """Return the rows of the table in the order of the file, the best and second best of each data set marked."""
    ranks = {(data, name): _ranks(found, data, name) for data in found.data for name in found.columns}
    trials: dict[str, list[Mapping[str, Any]]] = {}
    for trial in found["trials"]:
        trials.setdefault(trial["row"], []).append(trial)
    return [_line(found, row, ranks, trials.get(row["id"], [])) for row in found["rows"]]


def _ranks(found: Evidence, data: str, name: str) -> dict[str, str]:
    """Return the ranks of a data set's rows by the values as they are shown: equal ones share a rank.

    Nothing is marked where there is nothing to choose from.
    """
    shown = {
        row["id"]: float(number(value["mean"]))
        for row in found["rows"]
        if row["data"] == data and (value := row["values"].get(name)) and value["mean"] is not None
    }
    order = sorted(set(shown.values()), reverse=found.columns[name]["higher_is_better"])
    if len(order) < 2:
        return {}
    words = {order[0]: "best", order[1]: "second"}
    return {row: words[value] for row, value in shown.items() if value in words}


def _line(
    found: Evidence,
    row: Mapping[str, Any],
    ranks: Mapping[tuple[str, str], Mapping[str, str]],
    trials: Sequence[Mapping[str, Any]],
) -> Line:
    ended = not trials or all(trial["status"] == "done" for trial in trials)
    failed = any(trial["status"] == "failed" for trial in trials)
    absent = NOTHING if ended else "failed" if failed else "missing"
    cells = [
        _cell(found, row, name, ranks[row["data"], name].get(row["id"], ""), absent, trials) for name in found.columns
    ]
    time = row["seconds_per_sample"]
    notes = ["unbridged"] if row["unbridged"] else []
    if row["failed"]:
        notes.append(f"{row['failed']} of {row['samples']} samples failed")
    missing = sum(trial["status"] not in ("done", "failed") for trial in trials)
    if missing:
        notes.append(f"{missing} of {len(trials)} trials have no result yet" if len(trials) > 1 else "no result yet")
    notes += dict.fromkeys(f"failed: {trial['reason']}" for trial in trials if trial["status"] == "failed")
    notes += dict.fromkeys(note for trial in trials for note in trial["notes"])
    labels = [row["labels"].get(axis, "") for axis in found.axes]
    return Line(row, labels, row["data"], cells, Cell(seconds(time), value=time), notes)


def _cell(
    found: Evidence,
    row: Mapping[str, Any],
    name: str,
    rank: str,
    absent: str,
    trials: Sequence[Mapping[str, Any]],
) -> Cell:
    value = row["values"].get(name)
    if value is None or value["mean"] is None:
        judged = found.columns[name]["on"]
        return Cell(NOTHING if judged and row["data"] not in judged else absent)
    lost = sum(trial["unjudged"].get(name, 0) for trial in trials)
    spread = f"± {number(value['spread'])}" if value["seeds"] > 1 and value["spread"] is not None else ""
    ends = interval(value["low"], value["high"]) if value["low"] != value["high"] else ""
    return Cell(number(value["mean"]), ends, spread, value["mean"], rank, f"{lost} not judged" if lost else "")
