"""Which samples a gallery shows: those on which pipelines differ most, the worst, and ordinary ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.results import ResultStore

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """All samples of a data set under one seed, and what every pipeline made of them.

    Attributes:
        data: Data set.
        seed: Evaluation seed.
        trials: Trial of each pipeline that is done, by row.
        samples: (n,) ids in the order of the data.
        apart: (n,) the largest difference of scores between pipelines; NaN where fewer than two judged.
        mean: (n,) mean score over pipelines, larger being better; NaN where none judged.
        changed: (n,) whether captions differ.
    """

    data: str
    seed: int
    trials: Mapping[str, str]
    samples: Sequence[str]
    apart: Floats
    mean: Floats
    changed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Choice:
    """A sample that is shown: its place among the candidates, and why it was chosen."""

    source: Candidates
    place: int
    reasons: Sequence[str]


def candidates(
    store: ResultStore, data: str, seed: int, trials: Mapping[str, str], column: str, *, higher: bool
) -> Candidates:
    """Read what the pipelines made of every sample.

    Args:
        store: The results.
        data: Data set.
        seed: Evaluation seed.
        trials: Trial of each pipeline that is done, by row; at least one.
        column: What samples are ranked by; empty for none.
        higher: Whether larger values of it are better.
    """
    samples: list[str] = []
    places: dict[str, int] = {}
    first: list[str | None] = []
    changed = np.zeros(0, dtype=bool)
    total = number = low = high = np.zeros(0)
    for trial in trials.values():
        rows = store.captions(trial)
        if not samples:
            samples = [row.sample for row in rows]
            places = {name: at for at, name in enumerate(samples)}
            first = [row.caption for row in rows]
            changed = np.zeros(len(rows), dtype=bool)
            total, number = np.zeros(len(rows)), np.zeros(len(rows))
            low, high = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
        for row in rows:
            at = places.get(row.sample)
            if at is not None and row.caption != first[at]:
                changed[at] = True
        values = np.full(len(samples), np.nan)
        for name, (_, value) in (store.sample_scores(trial, column) if column else {}).items():
            if name in places and value is not None:
                values[places[name]] = value
        judged = ~np.isnan(values)
        total[judged] += values[judged]
        number += judged
        low[judged] = np.minimum(low[judged], values[judged])
        high[judged] = np.maximum(high[judged], values[judged])
    mean = np.divide(total, number, out=np.full(len(samples), np.nan), where=number > 0)
    apart = np.full(len(samples), np.nan)
    apart[number > 1] = (high - low)[number > 1]
    return Candidates(data, seed, trials, samples, apart, mean if higher else -mean, changed)


def choose(sources: Sequence[Candidates], wanted: int) -> list[Choice]:
    """Choose samples of one data set: a third by largest disagreement, a third the worst, the rest evenly over those
    whose captions differ.

    Args:
        sources: The samples under each seed.
        wanted: How many to choose.
    """
    pool = [(source, place) for source in sources for place in range(len(source.samples))]
    apart, mean, changed = (_joined(sources, name) for name in ("apart", "mean", "changed"))
    reasons: dict[int, list[str]] = {}
    parts = (("disagreement", -apart, -(-wanted // 3)), ("worst", mean, wanted // 3))
    for word, key, share in parts:
        order = [int(at) for at in np.argsort(key, kind="stable") if not np.isnan(key[at])]
        for at in order[:share]:
            reasons.setdefault(at, []).append(word)
    for ordinary in (True, False):
        rest = [at for at in range(len(pool)) if at not in reasons and bool(changed[at]) is ordinary]
        for at in _spread(rest, wanted - len(reasons)):
            reasons[at] = []
    chosen = sorted(reasons.items(), key=lambda one: one[0])
    return [Choice(*pool[at], [*words, *(["changed"] if changed[at] else [])]) for at, words in chosen]


def _joined(sources: Sequence[Candidates], name: str) -> Any:
    return np.concatenate([getattr(source, name) for source in sources])


def _spread(places: Sequence[int], wanted: int) -> list[int]:
    """Return so many of some places, as evenly as can be."""
    if wanted <= 0:
        return []
    if len(places) <= wanted:
        return list(places)
    return [places[at * len(places) // wanted] for at in range(wanted)]
