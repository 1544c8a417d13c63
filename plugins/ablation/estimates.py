"""95 % intervals of stored values, drawn over scenes, and what single samples add to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric
from regionkit.core.errors import RegionkitError
from regionkit.core.results import ResultStore
from regionkit.core.statistics import Evidence, Pool, intervals
from regionkit.registry import get_registry
from regionkit.registry.assembly import component_class

Interval = tuple[float, float]
Floats = NDArray[np.float64]

#: Intervals that were drawn, by store and trials: once a run has judged again what was left unjudged, a trial that has
#: ended well never changes.
_DRAWN: WeakKeyDictionary[ResultStore, dict[tuple[str, ...], dict[str, Interval]]] = WeakKeyDictionary()


def intervals_of(store: ResultStore, trials: Sequence[str]) -> dict[str, Interval]:
    """Return the 95 % intervals of the columns of trials that differ in their seeds alone, pooled.

    All samples of a picture are drawn together, those of all seeds among each other. Columns whose values follow from
    no sums over samples are left out, and so is everything where there is one picture alone.
    """
    drawn = _DRAWN.setdefault(store, {})
    key = tuple(trials)
    if key in drawn:
        return drawn[key]
    found = _intervals(store, trials) if all(store.scores(trial) for trial in trials) else {}
    if all((held := store.trial(trial)) is not None and held[0] == "done" for trial in trials):
        drawn[key] = found
    return found


def _intervals(store: ResultStore, trials: Sequence[str]) -> dict[str, Interval]:
    """Draw the samples of all columns together; a column adds zeros for samples that it says nothing of."""
    samples = [
        (trial, row.sample, row.image) for trial in trials for row in store.captions(trial) if row.caption is not None
    ]
    shared = [column for column in store.scores(trials[0]) if all(column in store.scores(one) for one in trials[1:])]
    found: dict[str, Evidence] = {}
    for column in shared:
        tables = {trial: rows_of(store, trial, column) for trial in trials}
        pool = pool_of(store, trials[0], column) if all(table is not None for table in tables.values()) else None
        if pool is None:
            continue
        known = {(trial, name): row for trial, table in tables.items() for name, (_, row) in (table or {}).items()}
        width = len(next(iter(known.values()))) if known else 2
        rows = np.stack([known.get((trial, name), np.zeros(width)) for trial, name, _ in samples])
        found[column] = Evidence(rows, pool).grouped([image for _, _, image in samples])
    return intervals(found)


def rows_of(store: ResultStore, trial: str, column: str) -> dict[str, tuple[str, Floats]] | None:
    """Return sample -> (image, what it adds), of judged samples; None where the value follows from no sums."""
    held = store.sample_statistics(trial, column)
    if held:
        lost = store.unjudged(trial).get(column, {})
        return {name: row for name, row in held.items() if name not in lost}
    values = store.sample_scores(trial, column)
    if not values:
        return None
    mean = sum(value for _, value in values.values()) / len(values)
    value = store.scores(trial)[column][0]
    if abs(mean - value) > 1e-9 * max(1.0, abs(value)):
        return None
    return {name: (image, np.array([one, 1.0])) for name, (image, one) in values.items()}


def pool_of(store: ResultStore, trial: str, column: str) -> Pool | None:
    """Return what makes corpus values of sums of the rows of a column; None where its metric is not installed."""
    if not store.sample_statistics(trial, column):
        return Evidence.of_mean([0.0]).pool
    name, part = store.makers(trial)[column]
    try:
        made: Any = component_class(get_registry().find("metric", name))
    except RegionkitError:
        return None
    metric: type[Metric] = made
    return lambda sums: metric.pool(part, sums)
