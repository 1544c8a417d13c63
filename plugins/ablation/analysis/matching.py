"""Rows that agree in everything but the axes under study: only those may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from regionkit.plugins.ablation.analysis.rows import Row

Floats = NDArray[np.float64]
Level = tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """Rows that are compared: every combination of levels in every setting of the other axes.

    Attributes:
        levels: For each axis under study the labels that are compared, in the order of the file.
        left_out: For each axis the labels that are not: they lack settings that the others have.
        cells: For each combination of levels the places of its rows by setting; settings in one order for all.
    """

    levels: tuple[list[str], ...]
    left_out: tuple[list[str], ...]
    cells: dict[Level, list[list[int]]]

    @property
    def settings(self) -> int:
        """In how many settings of the other axes all levels are compared."""
        return len(next(iter(self.cells.values())))

    @property
    def combinations(self) -> list[Level]:
        """All combinations of levels, those of the last axis changing fastest."""
        return list(product(*self.levels))

    @property
    def rows(self) -> list[int]:
        """Places of all rows that take part."""
        return sorted({at for settings in self.cells.values() for rows in settings for at in rows})

    def counts(self, axis: int = 0) -> dict[str, int]:
        """Return how many rows each label of an axis has in the comparison."""
        found = dict.fromkeys(self.levels[axis], 0)
        for level, settings in self.cells.items():
            found[level[axis]] += sum(map(len, settings))
        return found

    def means(self, values: Floats) -> Floats:
        """Average values (r, ...) of rows over settings, to (c, ...) for the c combinations; settings count alike."""
        means = np.zeros((len(self.cells), *values.shape[1:]))
        for at, level in enumerate(self.combinations):
            settings = self.cells[level]
            rows = [row for one in settings for row in one]
            weights = np.array([1 / (len(one) * len(settings)) for one in settings for _ in one])
            means[at] = np.tensordot(weights, values[rows], 1)
        return means


def match(rows: Sequence[Row], axes: Sequence[str], others: Sequence[str]) -> Matched | None:
    """Find the rows in which each level of one axis, or pair of levels of two, can be compared.

    A setting counts where all compared levels are there. In a grid with holes few settings have all levels: labels
    with the fewest rows are then left out, as many as make most rows take part; of equals, fewer are.

    Args:
        rows: Rows of one data set that have values.
        axes: The axes under study.
        others: The axes that have to agree, see :func:`beside`; seeds have to agree as well.

    Returns:
        The match; None where fewer than two labels of an axis can be compared.
    """
    settings: dict[Level, dict[Level, list[int]]] = {}
    for at, row in enumerate(rows):
        labels = row.labels
        setting = (*(labels[axis] for axis in others), str(row.seeds))
        settings.setdefault(setting, {}).setdefault(tuple(labels[axis] for axis in axes), []).append(at)
    every = [list(dict.fromkeys(row.labels[axis] for row in rows)) for axis in axes]
    kept = [list(labels) for labels in every]
    best: tuple[int, list[list[str]], list[Level]] = (0, [], [])
    while all(len(labels) > 1 for labels in kept):
        wanted = list(product(*kept))
        whole = [setting for setting, held in settings.items() if all(level in held for level in wanted)]
        size = sum(len(settings[setting][level]) for setting in whole for level in wanted)
        if size > best[0]:
            best = (size, [list(labels) for labels in kept], whole)
        if len(whole) == len(settings):
            break
        _drop(kept, settings)
    if not best[0]:
        return None
    levels, whole = tuple(best[1]), best[2]
    cells = {level: [settings[setting][level] for setting in whole] for level in product(*levels)}
    left_out = tuple([x for x in all_ if x not in some] for all_, some in zip(every, levels, strict=True))
    return Matched(levels, left_out, cells)


def _drop(kept: list[list[str]], settings: dict[Level, dict[Level, list[int]]]) -> None:
    """Leave out the label that fills the smallest share of its combinations; of equals, the last of the file."""
    found: list[tuple[float, int, int]] = []
    for axis, labels in enumerate(kept):
        counts = dict.fromkeys(labels, 0)
        for held in settings.values():
            for level in held:
                if all(one in known for one, known in zip(level, kept, strict=True)):
                    counts[level[axis]] += 1
        rest = max(1, int(np.prod([len(other) for at, other in enumerate(kept) if at != axis])))
        found += [(counts[label] / rest, -axis, -at) for at, label in enumerate(labels)]
    _, axis, at = min(found)
    del kept[-axis][-at]
