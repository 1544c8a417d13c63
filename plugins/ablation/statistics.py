"""Paired statistics over samples that come in groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Random draws of the permutation test and of the bootstrap.
DRAWS = 10_000
#: Share of the bootstrap interval.
COVERAGE = 0.95
#: Below this p a difference counts.
LEVEL = 0.05

_ROWS = 500

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two systems on the same samples.

    Attributes:
        difference: Mean difference over samples.
        low: Lower end of the 95 % bootstrap interval of that mean.
        high: Upper end.
        p: Two-sided p of the paired permutation test.
        n: Samples.
        groups: Groups of samples that were permuted and drawn together.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    groups: int


def compare(differences: Sequence[float], groups: Sequence[Hashable], seed: int = 0) -> Comparison:
    """Compare two systems by n paired differences.

    Samples of one group (one scene) are not independent: they change sign together in the permutation
    test, and are drawn together in the bootstrap. Ignoring that would make many regions of few scenes look significant.

    Args:
        differences: (n,) first system minus second, n at least 1.
        groups: (n,) group of each sample.
        seed: Seed of the draws; the same differences always give the same result.
    """
    values = np.asarray(differences, dtype=np.float64)
    order: dict[Hashable, int] = {}
    member = np.array([order.setdefault(group, len(order)) for group in groups])
    sums = np.bincount(member, values).astype(np.float64)
    sizes = np.bincount(member).astype(np.float64)
    mean = float(values.mean())
    random = np.random.default_rng(seed)
    means = _bootstrap(sums, sizes, random)
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Comparison(mean, float(low), float(high), _sign_flips(sums, random), len(values), len(sums))


def _sign_flips(sums: Floats, random: np.random.Generator) -> float:
    """Return how often random signs give a total at least as far from zero; the observed signs count as one draw."""
    observed = abs(sums.sum())
    # Ties with the observed total must count in spite of rounding, or few groups would look significant.
    threshold = observed - 1e-12 * np.abs(sums).sum()
    hits = 1
    for _ in range(DRAWS // _ROWS):
        signs = 2.0 * random.integers(0, 2, size=(_ROWS, len(sums))) - 1.0
        hits += int((np.abs(signs @ sums) >= threshold).sum())
    return hits / (DRAWS + 1)


def _bootstrap(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the means of ``DRAWS`` resamples of the groups."""
    parts = []
    for _ in range(DRAWS // _ROWS):
        drawn = random.integers(0, len(sums), size=(_ROWS, len(sums)))
        parts.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(parts)
