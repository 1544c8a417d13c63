"""How scores fall as regions get worse: curves over the amounts of a perturbation, and the area under each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regionkit.core.perturbing import KINDS
from regionkit.core.results import ResultStore
from regionkit.core.statistics import Evidence, Pool, intervals
from regionkit.plugins.ablation.estimates import intervals_of, pool_of, rows_of
from regionkit.plugins.ablation.results_tables import cut
from regionkit.plugins.ablation.trials import AblationPlan, Trial

Floats = NDArray[np.float64]

#: The interval of what has none.
_UNKNOWN: tuple[float | None, float | None] = (None, None)
#: Intervals that were drawn, by store, trials and column: reports ask for them again, and done trials do not change.
_DRAWN: WeakKeyDictionary[ResultStore, dict[tuple[str, ...], Mapping[str, tuple[float, float]]]] = WeakKeyDictionary()
#: Says which row of a report a trial belongs to.
RowOf = Callable[[Trial], str]


def shares(amounts: Sequence[float]) -> Floats:
    """Return the share of each of n ascending amounts in the area under a curve (trapezoids), which sum to 1.

    Raises:
        ValueError: There are fewer than two amounts, or they do not ascend.
    """
    steps = np.diff(np.asarray(amounts, dtype=np.float64))
    if not len(steps) or not (steps > 0).all():
        raise ValueError(f"amounts must ascend, and be two at least: {list(amounts)}")
    shared: Floats = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / (2 * steps.sum())
    return shared


def area_under(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Return the area under a curve by trapezoids, divided by the range of its amounts: a mean value.

    Args:
        amounts: n ascending amounts, two at least.
        values: The n values there.

    Raises:
        ValueError: As :func:`shares`.
    """
    return float(shares(amounts) @ np.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class Curve:
    """One pipeline on one data set: its trials by ascending amounts of one perturbation, those of all seeds together.

    Attributes:
        amounts: The amounts; 0 first, where the clean trials were not excluded.
        trials: For each amount the trials, by seed.
    """

    amounts: tuple[float, ...]
    trials: tuple[tuple[Trial, ...], ...]


def curves_of(plan: AblationPlan) -> dict[tuple[str, str], list[Curve]]:
    """Return the curves of an ablation by data set and kind of perturbation, in the order of the plan.

    A pipeline that has fewer than two amounts, or not all seeds at each, has no curve.
    """
    groups: dict[tuple[str, str], dict[int, dict[float, dict[int, Trial]]]] = {}
    for trial in plan.trials:
        asked = trial.selection.ref.perturbation
        if asked is not None:
            place = groups.setdefault((trial.selection.ref.clean, asked.kind), {})
            held = place.setdefault(id(trial.combination), {})
            held.setdefault(asked.amount, {})[trial.selection.seed] = trial
    clean: dict[tuple[str, int], dict[int, Trial]] = {}
    for trial in plan.trials:
        if trial.selection.clean is None:
            clean.setdefault((trial.selection.ref.clean, id(trial.combination)), {})[trial.selection.seed] = trial
    found: dict[tuple[str, str], list[Curve]] = {}
    for (data, kind), pipelines in groups.items():
        for row, amounts in pipelines.items():
            start = {0.0: clean[data, row]} if (data, row) in clean else {}
            points = sorted({**start, **amounts}.items())
            if len(points) > 1 and len({tuple(sorted(seeds)) for _, seeds in points}) == 1:
                trials = tuple(tuple(seeds[seed] for seed in sorted(seeds)) for _, seeds in points)
                found.setdefault((data, kind), []).append(Curve(tuple(amount for amount, _ in points), trials))
    return found


def robustness_curves(plan: AblationPlan, store: ResultStore, row_of: RowOf | None = None) -> list[dict[str, Any]]:
    """Return the curves of every perturbation, data set and metric in plain values, for reports.

    Args:
        plan: The trials.
        store: What came out.
        row_of: Names the row of a trial, called with a curve's clean trial; numbers rows ``r1``, ``r2``, ... in the
            order of the plan without it, as trials that differ in their seeds alone follow each other.

    Returns:
        Mappings with ``data``, ``perturbation``, ``column`` and ``series``. A series holds the ``row`` and labels of a
        pipeline, its ``amounts`` with ``values`` (means over seeds) and their 95 % intervals (``low``, ``high``), the
        ``area`` under the curve divided by the range of amounts, and ``kept``, that area by the clean value, each with
        the ends of its interval. Draws of scenes are shared by all amounts. What is unknown is None.
    """
    name = row_of or _numbered(plan)
    found = []
    for (data, kind), curves in curves_of(plan).items():
        for column in plan.columns:
            series = [_series(curve, column, store, name) for curve in curves]
            if any(value is not None for one in series for value in one["values"]):
                found.append({"data": data, "perturbation": kind, "column": column, "series": series})
    return found


def _numbered(plan: AblationPlan) -> RowOf:
    numbers: dict[tuple[str, int], str] = {}
    for trial in plan.trials:
        numbers.setdefault((trial.selection.ref.label, id(trial.combination)), f"r{len(numbers) + 1}")
    return lambda trial: numbers[trial.selection.ref.label, id(trial.combination)]


def _series(curve: Curve, column: str, store: ResultStore, row_of: RowOf) -> dict[str, Any]:
    values = [_mean([trial.id for trial in trials], column, store) for trials in curve.trials]
    first = curve.trials[0][0]
    ends = [intervals_of(store, [trial.id for trial in trials]).get(column, _UNKNOWN) for trials in curve.trials]
    known = [value for value in values if value is not None]
    area = area_under(curve.amounts, known) if len(known) == len(values) else None
    start = values[0] if not curve.amounts[0] else None
    drawn = _intervals(curve, column, store) if area is not None else {}
    return {
        "row": row_of(first),
        "region_encoder": first.combination.labels["region_encoder"],
        "labels": dict(first.combination.labels),
        "amounts": list(curve.amounts),
        "values": values,
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
        "area": area,
        "kept": area / start if area is not None and start is not None and start > 0 else None,
        **dict(zip(("area_low", "area_high"), drawn.get("area", _UNKNOWN), strict=True)),
        **dict(zip(("kept_low", "kept_high"), drawn.get("kept", _UNKNOWN), strict=True)),
    }


def _mean(trials: Sequence[str], column: str, store: ResultStore) -> float | None:
    """Return the mean over seeds; None where a trial has no such value."""
    scores = [store.scores(trial).get(column) for trial in trials]
    return fmean(one[0] for one in scores if one is not None) if all(scores) else None


def _intervals(curve: Curve, column: str, store: ResultStore) -> Mapping[str, tuple[float, float]]:
    """Return what :func:`_drawn` draws, once for trials that are done."""
    trials = [trial.id for several in curve.trials for trial in several]
    known, key = _DRAWN.setdefault(store, {}), (column, *trials)
    if key in known:
        return known[key]
    found = _drawn(curve, column, store)
    if all((held := store.trial(trial)) is not None and held[0] == "done" for trial in trials):
        known[key] = found
    return found


def _drawn(curve: Curve, column: str, store: ResultStore) -> Mapping[str, tuple[float, float]]:
    """Return the 95 % intervals of ``area`` and ``kept``: a draw takes the same scenes at every amount.

    Empty where values follow from no sums over samples, or there is one scene alone.
    """
    parts: list[tuple[dict[tuple[int, str], tuple[str, Floats]], Pool]] = []
    for trials in curve.trials:
        tables = [rows_of(store, trial.id, column) for trial in trials]
        pool = pool_of(store, trials[0].id, column)
        if pool is None or any(not table for table in tables):
            return {}
        known = {(at, name): row for at, table in enumerate(tables) for name, row in (table or {}).items()}
        parts.append((known, pool))
    samples = {key: row[0] for known, _ in parts for key, row in known.items()}
    columns = []
    for known, _ in parts:
        nothing = np.zeros(len(next(iter(known.values()))[1]))  # what a sample adds that failed at this amount
        columns.append(np.stack([known[key][1] if key in known else nothing for key in samples]))
    joint = Evidence(np.concatenate(columns, axis=1), lambda sums: sums[:, 0]).grouped(list(samples.values()))
    ends = np.cumsum([held.shape[1] for held in columns])[:-1]
    weights = shares(curve.amounts)

    def values(sums: Floats) -> Floats:
        cuts = np.split(sums, ends, axis=1)
        return np.stack([pool(one) for (_, pool), one in zip(parts, cuts, strict=True)])

    def area(sums: Floats) -> Floats:
        areas: Floats = weights @ values(sums)
        return areas

    def kept(sums: Floats) -> Floats:
        found = values(sums)
        areas = weights @ found
        shared: Floats = np.divide(areas, found[0], out=np.ones_like(areas), where=found[0] > 0)
        return shared

    asked = {"area": area, **({} if curve.amounts[0] else {"kept": kept})}
    return intervals({name: Evidence(joint.statistics, pool) for name, pool in asked.items()})


def robustness_text(curves: Sequence[Mapping[str, Any]], plan: AblationPlan, width: int = 0) -> list[str]:
    """Return one Markdown table a perturbation and how to read them; nothing without curves.

    A row is a pipeline (its region encoder and what else varies), a data set and a metric; the columns are the amounts,
    the area under the curve and the share kept of the clean value.

    Args:
        curves: What :func:`robustness_curves` found.
        plan: The trials.
        width: Columns of a terminal, as for :func:`~regionkit.plugins.ablation.results_tables.results_tables`.
    """
    axes = [axis for axis in plan.axes if axis == "region_encoder" or axis in plan.varied] or ["region_encoder"]
    texts = []
    for kind in dict.fromkeys(curve["perturbation"] for curve in curves):
        asked = [curve for curve in curves if curve["perturbation"] == kind]
        amounts = sorted({amount for curve in asked for one in curve["series"] for amount in one["amounts"]})
        rows = [
            [*(one["labels"][axis] for axis in axes), curve["data"], curve["column"], *_cells(one, amounts)]
            for curve in asked
            for one in curve["series"]
        ]
        header = [*axes, "data", "metric", *(f"{amount:.12g}" for amount in amounts), "area", "kept"]
        texts.append(f"Regions perturbed, {kind}:\n\n" + "\n\n".join(cut(header, rows, len(axes) + 2, width)))
    return [*texts, _reading(plan)] if texts else []


def _cells(series: Mapping[str, Any], amounts: Sequence[float]) -> list[str]:
    held = dict(zip(series["amounts"], series["values"], strict=True))
    values = ["-" if held.get(amount) is None else f"{held[amount]:.3f}" for amount in amounts]
    return values + [_with_ends(series, name) for name in ("area", "kept")]


def _with_ends(series: Mapping[str, Any], name: str) -> str:
    if series[name] is None:
        return "-"
    low, high = series[f"{name}_low"], series[f"{name}_high"]
    return f"{series[name]:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _reading(plan: AblationPlan) -> str:
    """Say what the columns mean, and which regions a perturbation leaves as they are."""
    text = (
        "0 is the region as it is. area: under the curve over the amounts, divided by their range, so a mean score; "
        "kept: that by the score at 0. In brackets: 95 % interval, bootstrap over scenes, the same scenes at every "
        "amount."
    )
    left = {
        f"{asked.kind} leaves {', '.join(sorted(rest))} regions of {selection.ref.clean} as they are."
        for trial in plan.trials
        if (asked := (selection := trial.selection).ref.perturbation) is not None
        if (rest := selection.kinds - set(KINDS[asked.kind].takes))
    }
    return " ".join([text, *sorted(left)])
