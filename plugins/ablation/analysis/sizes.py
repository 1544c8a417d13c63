"""Scores by the size of regions.

Bins are quantiles of the areas of the data set at hand, so that each holds about as many samples and says as much;
COCO's borders at 32 and 96 pixels would put all regions of a small-picture data set into one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.results import ResultStore
from regionkit.core.statistics import Evidence, intervals
from regionkit.plugins.ablation.analysis.rows import Row, Table
from regionkit.plugins.ablation.estimates import Parts, parts_of

Floats = NDArray[np.float64]

#: Most bins, fewest samples of one, and most rows that are shown: the best.
MOST_BINS, FEWEST_SAMPLES, MOST_ROWS = 5, 10, 24


def sizes(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return by data set and column the score of each row for regions of each size, in plain values.

    Data sets whose regions have no area, or all the same one, are left out, and columns without values of samples.
    """
    found = []
    for table in tables:
        rows = [table.rows[at] for at in table.ranked()[:MOST_ROWS]]
        areas = areas_of(rows[0], table.store)
        borders = borders_of(list(areas.values()))
        if not borders:
            continue
        pieces = {row.id: _pieces(row, table, areas, borders) for row in rows}
        known = {row: bins for row, bins in pieces.items() if bins is not None}
        if known:
            bins = [_drawn({row: held[at] for row, held in known.items()}) for at in range(len(borders) + 1)]
            series = [{"row": row, "values": [one[row] for one in bins]} for row in known]
            place = {"data": table.data, "column": table.column}
            left = len(table.rows) - len(series)
            found.append({**place, "bins": bins_of(borders), "series": series, "rows_left_out": left})
    return found


def areas_of(row: Row, store: ResultStore) -> dict[tuple[int, str], float]:
    """Return the areas of regions by seed and sample, in square pixels of the original pictures."""
    return {
        (trial.selection.seed, sample.sample): float(sample.area)
        for trial in row.trials
        for sample in store.captions(trial.id)
        if sample.area is not None and math.isfinite(sample.area)
    }


def borders_of(areas: Sequence[float]) -> list[float]:
    """Return the areas at which bins meet: quantiles, rounded to two digits; none where there would be one bin."""
    most = min(MOST_BINS, len(areas) // FEWEST_SAMPLES)
    if most < 2:
        return []
    edges = np.quantile(areas, [at / most for at in range(1, most)], method="lower")
    borders = [edge for edge in dict.fromkeys(_rounded(float(edge)) for edge in edges) if min(areas) <= edge]
    kept: list[float] = []
    for border in borders:
        below = sum(area <= border for area in areas) - sum(area <= kept[-1] for area in areas if kept)
        if below and any(area > border for area in areas):
            kept.append(border)
    return kept


def _rounded(area: float) -> float:
    return float(f"{area:.2g}") if area > 0 else 0.0


def bins_of(borders: Sequence[float]) -> list[dict[str, Any]]:
    """Return the label and the ends of each bin; a bin holds its upper end. None is an open end."""
    shown = [f"{border:g}" if border < 10 else f"{border:.0f}" for border in borders]
    labels = [f"<= {shown[0]} px2", *(f"{a}-{b} px2" for a, b in pairwise(shown))]
    lows, highs = [0.0, *borders], [*borders, None]
    named = zip([*labels, f"> {shown[-1]} px2"], lows, highs, strict=True)
    return [{"label": label, "low": low, "high": high} for label, low, high in named]


@dataclass(frozen=True)
class Piece:
    """The samples of a row in one bin: what they add, by scene.

    Attributes:
        evidence: One line a scene.
        scenes: The scenes.
        samples: How many samples there are.
    """

    evidence: Evidence
    scenes: tuple[str, ...]
    samples: int


def _pieces(
    row: Row, table: Table, areas: dict[tuple[int, str], float], borders: Sequence[float]
) -> list[Piece] | None:
    """Return the samples of a row by bin; None where a bin has no judged sample of it."""
    found: list[tuple[Parts, NDArray[np.int64]]] = []
    for trial in row.trials:
        known = parts_of(table.store, trial.id, table.column)
        if known is None or known.pool is None:
            return None
        keys = [(trial.selection.seed, sample) for sample in known.samples]
        kept = [at for at, key in enumerate(keys) if key in areas]
        found.append((known.taken(kept), np.searchsorted(borders, [areas[keys[at]] for at in kept], side="left")))
    pool = found[0][0].pool
    assert pool is not None
    pieces = []
    for number in range(len(borders) + 1):
        images = [parts.images[at] for parts, bins in found for at in np.flatnonzero(bins == number)]
        if not images:
            return None
        rows = np.concatenate([parts.rows[bins == number] for parts, bins in found])
        pieces.append(Piece(Evidence(rows, pool).grouped(images), tuple(dict.fromkeys(images)), len(images)))
    return pieces


def _drawn(pieces: dict[str, Piece]) -> dict[str, dict[str, Any]]:
    """Return the value of each row in one bin; rows of the same scenes are drawn together, which is much faster."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row, piece in pieces.items():
        groups.setdefault(piece.scenes, []).append(row)
    found = {}
    for rows in groups.values():
        ends = intervals({row: pieces[row].evidence for row in rows})
        for row in rows:
            low, high = ends.get(row, (None, None))
            piece = pieces[row]
            found[row] = {"mean": piece.evidence.value, "low": low, "high": high, "samples": piece.samples}
    return found
