"""95 % intervals of stored values, drawn over scenes, and what single samples add to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    places: dict[str, int] = {}
    for trial in trials:
        for row in store.captions(trial):
            if row.caption is not None:
                places.setdefault(row.image, len(places))
    shared = [column for column in store.scores(trials[0]) if all(column in store.scores(one) for one in trials[1:])]
    found: dict[str, Evidence] = {}
    for column in shared:
        parts = [parts_of(store, trial, column) for trial in trials]
        known = [part for part in parts if part is not None]
        pool = known[0].pool if len(known) == len(parts) else None
        if pool is None:
            continue
        images = [places[image] for part in known for image in part.images]
        rows = np.concatenate([part.rows for part in known])
        sums = [np.bincount(images, one, minlength=len(places)) for one in rows.T]
        found[column] = Evidence(np.stack(sums, 1), pool)
    return intervals(found)


@dataclass(frozen=True)
class Parts:
    """What the n judged samples of a trial add to its value by one column.

    Attributes:
        samples: Their ids, in the order of the data set.
        images: Keys of their pictures.
        rows: (n, k) what they add.
        pool: Makes corpus values of sums of rows; None where the metric is not installed.
    """

    samples: list[str]
    images: list[str]
    rows: Floats
    pool: Pool | None

    def taken(self, places: Sequence[int]) -> Parts:
        """Return the parts of some samples, by their places."""
        chosen = [self.samples[at] for at in places], [self.images[at] for at in places]
        return Parts(*chosen, self.rows[list(places)], self.pool)


def parts_of(store: ResultStore, trial: str, column: str) -> Parts | None:
    """Return what the judged samples of a trial add; None where the value follows from no sums over samples."""
    held = store.sample_statistics(trial, column)
    if held:
        lost = store.unjudged(trial).get(column, {})
        kept = {name: row for name, row in held.items() if name not in lost}
        width = len(next(iter(held.values()))[1])
        rows = np.array([row for _, row in kept.values()]).reshape(len(kept), width)
        return Parts(list(kept), [image for image, _ in kept.values()], rows, _pool(*store.makers(trial)[column]))
    values = store.sample_scores(trial, column)
    if not values:
        return None
    images, numbers = zip(*values.values(), strict=True)
    mean, value = sum(numbers) / len(numbers), store.scores(trial)[column][0]
    if abs(mean - value) > 1e-9 * max(1.0, abs(value)):
        return None
    return Parts(list(values), list(images), np.stack([numbers, np.ones(len(numbers))], 1), _MEAN)


def rows_of(store: ResultStore, trial: str, column: str) -> dict[str, tuple[str, Floats]] | None:
    """Return sample -> (image, what it adds), of judged samples; None where the value follows from no sums."""
    parts = parts_of(store, trial, column)
    if parts is None:
        return None
    pairs = zip(parts.images, parts.rows, strict=True)
    return dict(zip(parts.samples, pairs, strict=True))


def pool_of(store: ResultStore, trial: str, column: str) -> Pool | None:
    """Return what makes corpus values of sums of the rows of a column; None where its metric is not installed."""
    return _pool(*store.makers(trial)[column]) if store.sample_statistics(trial, column) else _MEAN


#: The pool of a column whose value is the mean over its judged samples.
_MEAN: Pool = Evidence.of_mean([0.0]).pool


def _pool(name: str, part: str) -> Pool | None:
    try:
        made: Any = component_class(get_registry().find("metric", name))
    except RegionkitError:
        return None
    metric: type[Metric] = made
    return lambda sums: metric.pool(part, sums)
