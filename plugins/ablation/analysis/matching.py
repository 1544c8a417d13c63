"""Rows that agree in everything but the axes under study: only those may be compared."""

from __future__ import annotations

import math
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
    kept = _Kept(settings, every)
    best: tuple[int, list[list[str]], list[Level]] = (0, [], [])
    while all(len(counts) > 1 for counts in kept.counts):
        whole, size = kept.whole()
        if size > best[0]:
            best = (size, [list(counts) for counts in kept.counts], whole)
        if len(whole) == len(settings):
            break
        kept.drop()
    if not best[0]:
        return None
    levels, whole = tuple(best[1]), best[2]
    cells = {level: [settings[setting][level] for setting in whole] for level in product(*levels)}
    left_out = tuple([x for x in all_ if x not in some] for all_, some in zip(every, levels, strict=True))
    return Matched(levels, left_out, cells)


class _Kept:
    """The labels that are still compared, and what every setting has of their combinations.

    What a label takes with it is subtracted once: grids of ten thousand rows with holes lose hundreds of labels.

    Args:
        settings: By setting, the places of its rows by level.
        labels: For each axis under study its labels, in the order of the file.
    """

    def __init__(self, settings: dict[Level, dict[Level, list[int]]], labels: Sequence[Sequence[str]]) -> None:
        #: For each axis how many combinations each of its labels has, over all settings.
        self.counts: list[dict[str, int]] = [dict.fromkeys(of, 0) for of in labels]
        self._combinations = dict.fromkeys(settings, 0)
        self._rows = dict.fromkeys(settings, 0)
        self._having: dict[tuple[int, str], list[tuple[Level, Level, int]]] = {}
        for setting, held in settings.items():
            for level, rows in held.items():
                self._add(setting, level, len(rows))
                for axis, label in enumerate(level):
                    self._having.setdefault((axis, label), []).append((setting, level, len(rows)))

    def whole(self) -> tuple[list[Level], int]:
        """Return the settings that have all combinations of labels, and how many rows those are."""
        wanted = math.prod(map(len, self.counts))
        found = [setting for setting, number in self._combinations.items() if number == wanted]
        return found, sum(self._rows[setting] for setting in found)

    def drop(self) -> None:
        """Leave out the label that fills the smallest share of its combinations; of equals, the last of the file."""
        shares: list[tuple[float, int, int, str]] = []
        for axis, counts in enumerate(self.counts):
            rest = math.prod(len(other) for at, other in enumerate(self.counts) if at != axis)
            shares += [(counts[label] / rest, -axis, -at, label) for at, label in enumerate(counts)]
        _, axis, _, label = min(shares)
        for setting, level, rows in self._having[-axis, label]:
            if all(one in counts for one, counts in zip(level, self.counts, strict=True)):
                self._add(setting, level, rows, -1)
        del self.counts[-axis][label]

    def _add(self, setting: Level, level: Level, rows: int, sign: int = 1) -> None:
        self._combinations[setting] += sign
        self._rows[setting] += sign * rows
        for label, counts in zip(level, self.counts, strict=True):
            counts[label] += sign
