"""What each axis does on average, and where two axes do together what neither does alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.statistics import Evidence, intervals, over_seeds
from regionkit.plugins.ablation.analysis.chances import p_of_levels, p_of_residuals
from regionkit.plugins.ablation.analysis.matching import Matched, match
from regionkit.plugins.ablation.analysis.rows import Table, beside
from regionkit.plugins.ablation.trials import AblationPlan

#: Of the size of values, what rounding leaves of a difference that is none: what a scene stands for in the mean of
#: thousands is computed from differences that are multiplied with their number.
_ROUNDED = 1e-9

Floats = NDArray[np.float64]
Ends = tuple[float | None, float | None]


def main_effects(plan: AblationPlan, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return the mean of each level of each axis over matched rows, by data set and column, in plain values."""
    found = []
    for table in tables:
        for axis in plan.varied:
            matched = match(table.rows, [axis], beside(plan, [axis]))
            if matched is not None:
                found.append(_effect(axis, matched, table))
    return found


def _effect(axis: str, matched: Matched, table: Table) -> dict[str, Any]:
    means = matched.means(table.values)
    labels, counts = matched.levels[0], matched.counts()
    scenes = shared_scenes(matched, table)
    if scenes is None:
        ends, p = _ends_over_seeds(matched, table), None
    else:
        # Ends are moved to the means that tables show: where samples failed, those are of a few scenes more.
        moved = scenes + (means - scenes.mean(0))
        found = intervals({label: Evidence.of_mean(moved[:, at]) for at, label in enumerate(labels)})
        ends = [found.get(label, (None, None)) for label in labels]
        p = p_of_levels(scenes)
    order = np.argsort(-means if table.higher else means, kind="stable")
    return {
        "axis": axis,
        "data": table.data,
        "column": table.column,
        "levels": [
            {"label": label, "mean": float(mean), "low": low, "high": high, "rows": counts[label]}
            for label, mean, (low, high) in zip(labels, means, ends, strict=True)
        ],
        "range": float(means.max() - means.min()),
        "best": labels[order[0]],
        "worst": labels[order[-1]],
        "settings": matched.settings,
        "left_out": matched.left_out[0],
        "p": p,
        "p_corrected": None,
    }


def shared_scenes(matched: Matched, table: Table) -> Floats | None:
    """Return (g, c) what each scene that all compared rows have stands for in the mean of each combination.

    None where there are no two such scenes, or values follow from no sums over samples.
    """
    if table.scenes is None:
        return None
    rows = matched.rows
    shared = ~np.isnan(table.scenes[rows]).any(0)
    if int(shared.sum()) < 2:
        return None
    values = np.zeros((len(table.rows), int(shared.sum())))
    values[rows] = table.scenes[rows][:, shared]
    return matched.means(values).T


def _ends_over_seeds(matched: Matched, table: Table) -> list[Ends]:
    """Return the t-intervals of the means of levels over the seeds, where there are several."""
    numbers = {len(table.by_seed[at]) for at in matched.rows}
    if len(numbers) > 1 or min(numbers) < 2:
        return [(None, None)] * len(matched.levels[0])
    values = np.zeros((len(table.rows), numbers.pop()))
    values[matched.rows] = [table.by_seed[at] for at in matched.rows]
    found = [over_seeds(line.tolist()) for line in matched.means(values)]
    return [(one.low, one.high) for one in found]


def interactions(plan: AblationPlan, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return for each pair of axes what the means of their levels are beyond both main effects, in plain values."""
    found = []
    for table in tables:
        for pair in combinations(plan.varied, 2):
            if pair[1] in plan.spec.mates(pair[0]) or pair[1].startswith(f"{pair[0]}."):
                continue  # one does not vary without the other
            if pair[0].startswith(f"{pair[1]}."):
                continue
            matched = match(table.rows, pair, beside(plan, pair))
            if matched is not None:
                found.append(_interaction(pair, matched, table))
    return found


def _interaction(pair: Sequence[str], matched: Matched, table: Table) -> dict[str, Any]:
    shape = len(matched.levels[0]), len(matched.levels[1])
    means = matched.means(table.values).reshape(shape)
    residuals = beyond_sums(means)
    scenes = shared_scenes(matched, table)
    p = None
    if scenes is not None:
        p = p_of_residuals(beyond_sums(scenes.reshape(-1, *shape)).reshape(len(scenes), -1))
    return {
        "data": table.data,
        "column": table.column,
        "axes": list(pair),
        "labels": [list(labels) for labels in matched.levels],
        "means": means.tolist(),
        "residuals": residuals.tolist(),
        "strength": float(np.sqrt((residuals**2).mean())),
        "settings": matched.settings,
        "left_out": [list(labels) for labels in matched.left_out],
        "p": p,
        "p_corrected": None,
    }


def beyond_sums(means: Floats) -> Floats:
    """Return what tables (..., a, b) hold beyond the sum of their row and column effects; rounding is nothing."""
    rows, columns = means.mean(-1, keepdims=True), means.mean(-2, keepdims=True)
    found: Floats = means - rows - columns + means.mean((-2, -1), keepdims=True)
    # An axis that changes nothing leaves the same rounding in every scene, and a test of signs would find it.
    return np.where(np.abs(found) > _ROUNDED * np.abs(means).max(initial=0), found, 0)
