"""Results as analyses look at them: a row a pipeline and data set, seeds pooled, and what every scene adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regionkit.core.results import ResultStore
from regionkit.core.statistics import Evidence, Pool, group_values
from regionkit.plugins.ablation.estimates import parts_of
from regionkit.plugins.ablation.trials import AblationPlan, Trial

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """A pipeline on a data set: the trials that differ in their seeds alone.

    Attributes:
        id: ``r1``, ``r2``, ... in the order of the file.
        trials: One a seed.
    """

    id: str
    trials: tuple[Trial, ...]

    @property
    def labels(self) -> dict[str, str]:
        """Its value on every axis."""
        return dict(self.trials[0].combination.labels)

    @property
    def data(self) -> str:
        """Label of its data set."""
        return self.trials[0].selection.ref.label

    @property
    def perturbed(self) -> bool:
        """Whether its regions are perturbed."""
        return self.trials[0].selection.clean is not None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its evaluation seeds; the data and the seeds say which samples it is of."""
        return tuple(trial.selection.seed for trial in self.trials)


def rows_of_plan(plan: AblationPlan) -> list[Row]:
    """Return the rows of a plan, in its order."""
    groups: dict[tuple[int, str], list[Trial]] = {}
    for trial in plan.trials:
        groups.setdefault((id(trial.combination), trial.selection.ref.label), []).append(trial)
    return [Row(f"r{number}", tuple(trials)) for number, trials in enumerate(groups.values(), 1)]


@dataclass(frozen=True, eq=False)
class Table:
    """All rows that one column has a value of on one data set, each of all its seeds.

    Attributes:
        data: The data set.
        column: The column.
        higher: Whether higher is better.
        rows: r rows, in the order of the file.
        by_seed: For each row its value under each of its seeds.
        store: Has what single samples add.
    """

    data: str
    column: str
    higher: bool
    rows: list[Row]
    by_seed: list[list[float]]
    store: ResultStore

    @cached_property
    def values(self) -> Floats:
        """(r,) mean of each row over its seeds."""
        return np.array([np.mean(values) for values in self.by_seed])

    @property
    def best(self) -> int:
        """Place of the best row; of equals the first."""
        return int(np.argmax(self.values if self.higher else -self.values))

    def ranked(self) -> list[int]:
        """Return the places of the rows, best first."""
        order = np.argsort(-self.values if self.higher else self.values, kind="stable")
        return [int(at) for at in order]

    @cached_property
    def scenes(self) -> Floats | None:
        """(r, g) what each of g scenes stands for in each row, NaN where a row has no judged sample of it.

        None where a value follows from no sums over samples. A scene is a picture: all its samples of all seeds.
        """
        places: dict[str, int] = {}
        found = [_of_scenes(row, self.column, self.store) for row in self.rows]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        for images, _ in known:
            for image in images:
                places.setdefault(image, len(places))
        table = np.full((len(known), len(places)), np.nan)
        for line, (images, values) in zip(table, known, strict=True):
            line[[places[image] for image in images]] = values
        return table


def _of_scenes(row: Row, column: str, store: ResultStore) -> tuple[list[str], Floats] | None:
    """Return the scenes of a row and what each stands for in its value, seeds pooled."""
    parts = [parts_of(store, trial.id, column) for trial in row.trials]
    known = [part for part in parts if part is not None]
    pool: Pool | None = known[0].pool if known and len(known) == len(parts) else None
    if pool is None:
        return None
    images = [image for part in known for image in part.images]
    if not images:
        return None
    grouped = Evidence(np.concatenate([part.rows for part in known]), pool).grouped(images)
    return list(dict.fromkeys(images)), group_values(grouped)


class Results:
    """What an ablation came to, read once.

    Attributes:
        plan: The trials.
        store: What came out.
        rows: All rows.
        states: By trial what :meth:`ResultStore.trial` says, for those that have ended.
        scores: By trial what :meth:`ResultStore.scores` says.
    """

    def __init__(self, plan: AblationPlan, store: ResultStore) -> None:
        self.plan, self.store = plan, store
        self.rows = rows_of_plan(plan)
        held = {trial.id: store.trial(trial.id) for trial in plan.trials}
        self.states = {trial: state for trial, state in held.items() if state is not None}
        self.scores = {trial: store.scores(trial) for trial in self.states}
        self.row_ids = {trial.id: row.id for row in self.rows for trial in row.trials}

    @property
    def data(self) -> list[str]:
        """Labels of the data sets as they are; those with perturbed regions are looked at as curves."""
        return list(dict.fromkeys(row.data for row in self.rows if not row.perturbed))

    def values(self, row: Row, column: str) -> list[float]:
        """Return the value of a row under each seed; empty where one of them has none."""
        found = [self.scores.get(trial.id, {}).get(column) for trial in row.trials]
        known = [one[0] for one in found if one is not None]
        return known if len(known) == len(found) else []

    def higher(self, column: str) -> bool | None:
        """Return whether higher is better; None of a column that nothing has been judged by."""
        for scores in self.scores.values():
            if column in scores:
                return scores[column][2]
        return None

    def tables(self) -> list[Table]:
        """Return a table for each data set and column that judges it."""
        found = []
        for data in self.data:
            rows = [row for row in self.rows if row.data == data]
            for column in self.plan.columns:
                pairs = [(row, values) for row in rows if (values := self.values(row, column))]
                if pairs:
                    kept, by_seed = zip(*pairs, strict=True)
                    higher = self.higher(column) is not False
                    found.append(Table(data, column, higher, list(kept), list(by_seed), self.store))
        return found


def beside(plan: AblationPlan, axes: Sequence[str]) -> list[str]:
    """Return the axes that must agree where others are compared.

    Those that are walked together with a compared axis change with it, and an option of a compared part is part of its
    value, as in claims.
    """
    mates = set().union(*(plan.spec.mates(axis) for axis in axes))
    return [axis for axis in plan.varied if axis not in mates and not any(axis.startswith(f"{one}.") for one in axes)]
