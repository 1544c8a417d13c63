"""Which plots a run has, each with a title, a description in words, and its numbers as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regionkit.core.statistics import LEVEL
from regionkit.plugins.report.charts.canvas import SERIES
from regionkit.plugins.report.charts.curves import Point, Series, curves
from regionkit.plugins.report.charts.dots import Dot, Group, dots
from regionkit.plugins.report.charts.heat import heat
from regionkit.plugins.report.charts.scatter import Point as Timed
from regionkit.plugins.report.charts.scatter import scatter
from regionkit.plugins.report.evidence import Evidence
from regionkit.plugins.report.figure import SECTIONS, Figure
from regionkit.plugins.report.words import interval, number, p_value, seconds

#: Interactions that are drawn for a data set and column, the strongest first; all of them stand in a table.
MOST_HEATS = 3
#: Plots of a report. A run of very many data sets and columns has more, and says so.
MOST_FIGURES = 400
#: Lines without a name in a plot, points of a plot that are not on the front, and rows of the table below a plot: a run
#: of thousands of pipelines has all of them in ``results.csv``.
MOST_FAINT, MOST_POINTS, MOST_LISTED = 40, 500, 200
#: Rows, and columns, of an interaction that is drawn: in more of them nothing can be read.
MOST_SIDE = 40


def figures(found: Evidence) -> tuple[list[Figure], int]:
    """Return the plots of a run in the order of the page, and how many more there would be."""
    made: list[Figure] = []
    taken: set[str] = set()
    places = [(data, name) for data in found.data for name in found.columns]
    todo = [
        (section, part)
        for section, key in zip(SECTIONS, _KEYS, strict=True)
        for data, name in places
        for part in _parts(found[key], key, data, name)
    ]
    for section, part in todo[:MOST_FIGURES]:
        figure = _DRAW[section](found, part)
        if figure is None:
            continue
        stem = file_name(figure.name)
        name, again = stem, 2
        while name in taken:
            name, again = f"{stem}-{again}", again + 1
        taken.add(name)
        made.append(replace(figure, name=name))
    return made, max(0, len(todo) - MOST_FIGURES)


_KEYS = ("main_effects", "leave_one_out", "interactions", "pareto", "sizes", "robustness")


def _parts(entries: Iterable[Mapping[str, Any]], key: str, data: str, name: str) -> list[Any]:
    """Return what is drawn for one data set and column: main effects together, the strongest interactions, the rest."""
    here = [one for one in entries if one["data"] == data and one["column"] == name]
    if key == "main_effects":
        return [here] if here else []
    if key == "interactions":
        readable = [one for one in here if max(map(len, one["labels"])) <= MOST_SIDE]
        return sorted(readable, key=lambda one: -(one["strength"] or 0.0))[:MOST_HEATS]
    return here


def file_name(text: str) -> str:
    """Return a text as the name of a file on every system, and as an id on a page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "plot"


def _better(found: Evidence, column: str) -> str:
    return f"{column} ({'higher' if found.columns[column]['higher_is_better'] else 'lower'} is better)"


def _p(one: Mapping[str, Any]) -> float | None:
    """Return the p that counts: the corrected one, where there is one."""
    found: float | None = one["p"] if one["p_corrected"] is None else one["p_corrected"]
    return found


def _tested(one: Mapping[str, Any]) -> str:
    found = _p(one)
    if found is None:
        return ""
    shown = p_value(found)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _main_effects(found: Evidence, effects: Sequence[Mapping[str, Any]]) -> Figure:
    data, column = effects[0]["data"], effects[0]["column"]
    order = sorted(effects, key=lambda one: -(one["range"] or 0.0))
    groups = [
        Group(
            effect["axis"],
            ", ".join(filter(None, [f"range {number(effect['range'])}", _tested(effect)])),
            [Dot(one["label"], one["mean"], one["low"], one["high"], number(one["mean"])) for one in effect["levels"]],
        )
        for effect in order
    ]
    rows = [
        [effect["axis"], one["label"], number(one["mean"]), interval(one["low"], one["high"]), str(one["rows"])]
        for effect in order
        for one in effect["levels"]
    ]
    largest = order[0]
    told = f"The largest range is that of {largest['axis']}, {number(largest['range'])}."
    left = [label for effect in order for label in effect["left_out"]]
    return Figure(
        f"main-effects-{data}-{column}",
        "main-effects",
        data,
        column,
        f"Main effects on {column}, {data}",
        f"Means of {column} on {data} by level of each axis, with 95 % intervals. {told}",
        dots(groups, _better(found, column)),
        (["axis", "level", "mean", "95 % interval", "pipelines"], rows),
        _left_out(left),
    )


def _left_out(labels: Sequence[str]) -> str:
    """Say which levels are missing because no other pipelines match theirs; empty for none."""
    return f"without {', '.join(dict.fromkeys(labels))}: nothing matches" if labels else ""


def _leave_one_out(found: Evidence, part: Mapping[str, Any]) -> Figure | None:
    if not part["changes"]:
        return None
    data, column = part["data"], part["column"]
    reasons = any(one["reason"] for one in part["changes"])
    changes = [
        Dot(
            f"{one['axis']}: {one['from']} → {one['to']}",
            one["difference"],
            one["low"],
            one["high"],
            number(one["difference"], sign=True),
            strong=(p := _p(one)) is not None and p < LEVEL,
        )
        for one in part["changes"]
    ]
    rows = [
        [
            one["axis"],
            one["from"],
            one["to"],
            number(one["value"]),
            number(one["difference"], sign=True),
            interval(one["low"], one["high"], sign=True),
            p_value(one["p"]),
            p_value(one["p_corrected"]),
            *([one["reason"]] if reasons else []),
        ]
        for one in part["changes"]
    ]
    full = found.pipeline(part["full"])
    head = ["axis", "from", "to", "value", "difference", "95 % interval", "p", "p corrected"]
    head += ["note"] if reasons else []
    return Figure(
        f"leave-one-out-{data}-{column}",
        "leave-one-out",
        data,
        column,
        f"Changes of the best pipeline by {column}, {data}",
        f"Differences of {column} on {data} when one axis of the best pipeline, {full}, is changed.",
        dots([Group(full, "", changes)], f"difference of {column}", zero=True, labels_above=True),
        (head, rows),
    )


def _interaction(found: Evidence, part: Mapping[str, Any]) -> Figure | None:
    (first, second), (rows, columns) = part["axes"], part["labels"]
    if not rows or not columns:
        return None
    data, column = part["data"], part["column"]
    left = [label for side in part["left_out"] for label in side]
    remark = ", ".join(filter(None, [f"strength {number(part['strength'])}", _tested(part), _left_out(left)]))
    table = [
        [label, *(f"{number(m)} ({number(r, sign=True)})" for m, r in zip(means, residuals, strict=True))]
        for label, means, residuals in zip(rows, part["means"], part["residuals"], strict=True)
    ]
    return Figure(
        f"interaction-{first}-{second}-{data}-{column}",
        "interactions",
        data,
        column,
        f"{first} × {second}: {column}, {data}",
        f"Means of {column} on {data} for each pair of {first} and {second}, and what remains beyond both effects: "
        f"{remark}.",
        heat((first, second), (rows, columns), part["means"], part["residuals"], _largest(found, data, column)),
        ([f"{first} / {second}", *columns], table),
        remark,
    )


def _largest(found: Evidence, data: str, column: str) -> float:
    """Return the residual that has the strongest colour on a data set.

    It is the largest of all interactions there, since only against it is another one weak or strong, and at least a
    quarter of what the means range over: where nothing interacts, nothing is coloured.
    """
    here = [one for one in found["interactions"] if (one["data"], one["column"]) == (data, column)]
    residuals = [value for one in here for line in one["residuals"] for value in line if value is not None]
    means = [value for one in here for line in one["means"] for value in line if value is not None]
    return max([abs(one) for one in residuals] + ([(max(means) - min(means)) / 4] if means else []), default=0.0)


def _pareto(found: Evidence, part: Mapping[str, Any]) -> Figure | None:
    data, column = part["data"], part["column"]
    known = [one for one in part["points"] if one["value"] is not None and (one["seconds_per_sample"] or 0.0) > 0]
    if len({found.pipeline(one["row"]) for one in known}) < 2:
        return None
    points = [Timed(found.pipeline(one["row"]), one["seconds_per_sample"], one["value"], one["front"]) for one in known]
    rows = [
        [point.label, number(point.value), seconds(point.time), "yes" if point.front else ""]
        for point in sorted(points, key=lambda point: (not point.front, point.time))[:MOST_LISTED]
    ]
    front = [point.label for point in points if point.front]
    others = [point for point in points if not point.front]
    step = -(-len(others) // MOST_POINTS) or 1
    shown = [*others[::step], *(point for point in points if point.front)]
    return Figure(
        f"pareto-{data}-{column}",
        "pareto",
        data,
        column,
        f"{column} against time, {data}",
        f"{column} of each pipeline on {data} over the time that a sample takes. On the front: {'; '.join(front)}.",
        scatter(shown, _better(found, column)),
        (["pipeline", column, "time a sample", "front"], rows),
    )


def _around_best(found: Evidence, data: str, column: str, rows: Sequence[str]) -> list[str]:
    """Return the rows to draw in colour: the best one, and those that differ from it in one axis."""
    values = {row: found.rows[row]["values"].get(column, {}).get("mean") for row in rows if row in found.rows}
    judged = {row: value for row, value in values.items() if value is not None}
    if not judged:
        return list(rows[: len(SERIES)])
    sign = 1.0 if found.columns[column]["higher_is_better"] else -1.0
    order = sorted(judged, key=lambda row: -sign * judged[row])
    best = found.rows[order[0]]["labels"]
    near = [row for row in order if sum(found.rows[row]["labels"].get(a) != v for a, v in best.items()) <= 1]
    return near[: len(SERIES) - 1]


def _sizes(found: Evidence, part: Mapping[str, Any]) -> Figure | None:
    data, column = part["data"], part["column"]
    bins = [one["label"] for one in part["bins"]]
    kept = [one for one in part["series"] if len(one["values"]) == len(bins)]
    loud = _around_best(found, data, column, [one["row"] for one in kept])
    order = sorted(kept, key=lambda one: loud.index(one["row"]) if one["row"] in loud else len(loud))
    series = [
        Series(
            found.pipeline(one["row"]),
            [Point(at, v["mean"], v["low"], v["high"]) for at, v in enumerate(one["values"]) if v["mean"] is not None],
            faint=one["row"] not in loud,
        )
        for one in order
    ]
    series = _thinned([one for one in series if one.points])
    if not bins or not series:
        return None
    counts = [max((one["values"][at]["samples"] for one in kept), default=0) for at in range(len(bins))]
    rows = [
        [
            found.pipeline(one["row"]),
            *(f"{number(v['mean'])} {interval(v['low'], v['high'])}".strip() for v in one["values"]),
        ]
        for one in order[:MOST_LISTED]
    ]
    head = [f"{label} ({samples} samples)" for label, samples in zip(bins, counts, strict=True)]
    return Figure(
        f"sizes-{data}-{column}",
        "sizes",
        data,
        column,
        f"{column} by size of the region, {data}",
        f"Means of {column} on {data} for regions of {len(bins)} sizes, from {bins[0]} to {bins[-1]}.",
        curves(_faint_first(series), list(enumerate(bins)), ("area of the region", _better(found, column))),
        (["pipeline", *head], rows),
    )


def _thinned(series: Sequence[Series]) -> list[Series]:
    """Return the lines to draw: all that are in colour, and of the others as many as can be told apart."""
    faint = [one for one in series if one.faint]
    kept = [faint[at * len(faint) // MOST_FAINT] for at in range(MOST_FAINT)] if len(faint) > MOST_FAINT else faint
    return [*(one for one in series if not one.faint), *kept]


def _faint_first(series: Sequence[Series]) -> list[Series]:
    return sorted(series, key=lambda one: not one.faint)


def _robustness(found: Evidence, part: Mapping[str, Any]) -> Figure | None:
    data, column, kind = part["data"], part["column"], part["perturbation"]
    loud = _best_encoders(found, part, column)
    series: list[Series] = []
    rows: list[list[str]] = []
    for one in part["series"]:
        label = found.pipeline(one["row"])
        ends = [
            one[key] if len(one[key]) == len(one["values"]) else [None] * len(one["values"]) for key in ("low", "high")
        ]
        lined = zip(one["amounts"], one["values"], *ends, strict=False)
        points = [Point(amount, value, low, high) for amount, value, low, high in lined if value is not None]
        if points:
            series.append(Series(label, points, faint=one["row"] not in loud))
        told = ", ".join(
            f"{amount:g}: {number(value)}" for amount, value in zip(one["amounts"], one["values"], strict=False)
        )
        rows.append([label, one["region_encoder"], told, number(one["area"]), number(one["kept"])])
    series = _thinned(series)
    if not series:
        return None
    amounts = sorted({point.x for one in series for point in one.points})
    return Figure(
        f"robustness-{kind}-{data}-{column}",
        "robustness",
        data,
        column,
        f"{column} under {kind}, {data}",
        f"{column} on {data} as regions are disturbed by {kind}, from {amounts[0]:g} to {amounts[-1]:g}.",
        curves(
            _faint_first(series), [(one, f"{one:g}") for one in amounts], (f"amount of {kind}", _better(found, column))
        ),
        (["pipeline", "region encoder", "values", "area under the curve", "kept"], rows[:MOST_LISTED]),
    )


def _best_encoders(found: Evidence, part: Mapping[str, Any], column: str) -> list[str]:
    """Return the best row of each region encoder: those are what such a plot compares."""
    sign = 1.0 if found.columns[column]["higher_is_better"] else -1.0
    best: dict[str, tuple[float, str]] = {}
    for one in part["series"]:
        area = sign * (one["area"] if one["area"] is not None else float("-inf") * sign)
        if one["region_encoder"] not in best or area > best[one["region_encoder"]][0]:
            best[one["region_encoder"]] = (area, one["row"])
    return [row for _, row in sorted(best.values(), reverse=True)][: len(SERIES)]


_DRAW: Mapping[str, Any] = {
    "main-effects": _main_effects,
    "leave-one-out": _leave_one_out,
    "interactions": _interaction,
    "pareto": _pareto,
    "sizes": _sizes,
    "robustness": _robustness,
}
