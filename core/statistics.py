"""Intervals of scores and paired comparisons of runs, over samples that come in groups.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Hesterberg, What Teachers Should Know About the Bootstrap,
The American Statistician 69(4), 2015 (expanded percentiles); Riezler and Maxwell, On Some Pitfalls in Automatic
Evaluation and Significance Testing for MT, 2005 (corpus values of two systems that change sides at random).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Score

#: Random draws of the permutation test and of the bootstrap; fewer for many samples, see :func:`draws_of`.
DRAWS = 10_000
#: Fewest draws, and how many groups they draw at most in all before they become fewer.
_FEWEST, _DRAWN = 1_000, 100_000_000
#: Share of the bootstrap interval.
COVERAGE = 0.95
#: Below this p a difference counts.
LEVEL = 0.05
#: Share of repetitions in which a difference as large as ``Comparison.detectable`` is found.
POWER = 0.8

#: Draws, and numbers, that are held at a time.
_ROWS, _HELD = 500, 4_000_000

Floats = NDArray[np.float64]
Pool = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Evidence:
    """What a corpus value is made of.

    Attributes:
        statistics: (n, k) what each sample adds.
        pool: Corpus values (d,) from sums (d, k) of samples.
    """

    statistics: Floats
    pool: Pool

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Evidence:
        """Return the evidence of a mean over samples; NaN stands for one that was not judged and has no part in it."""
        rows = np.asarray(values, dtype=np.float64)
        judged = ~np.isnan(rows)
        return cls(np.stack([np.where(judged, rows, 0.0), judged.astype(np.float64)], 1), _ratio)

    @classmethod
    def of(cls, score: Score, metric: type[Metric], part: str = "") -> Evidence | None:
        """Return the evidence of a score of a metric's part; None where it has no value for single samples."""
        if score.statistics is not None:
            return cls(score.statistics, lambda sums: metric.pool(part, sums))
        return None if score.per_sample is None else cls.of_mean(score.per_sample)

    def grouped(self, groups: Sequence[Hashable]) -> Evidence:
        """Return the same with one row a group: what its samples add together, groups in the order of their first one.

        Args:
            groups: (n,) group of each sample.
        """
        order: dict[Hashable, int] = {}
        member = np.array([order.setdefault(group, len(order)) for group in groups], dtype=np.int64)
        return Evidence(np.stack([np.bincount(member, column) for column in self.statistics.T], 1), self.pool)

    @classmethod
    def mean_of(cls, several: Sequence[Evidence]) -> Evidence:
        """Return the evidence of the mean of corpus values over the same n samples."""
        if len(several) == 1:
            return several[0]
        ends = np.cumsum([one.statistics.shape[1] for one in several])[:-1]

        def pool(sums: Floats) -> Floats:
            parts = np.split(sums, ends, axis=1)
            values: Floats = np.mean([one.pool(part) for one, part in zip(several, parts, strict=True)], axis=0)
            return values

        return cls(np.concatenate([one.statistics for one in several], 1), pool)

    @property
    def value(self) -> float:
        """The corpus value of all samples."""
        return float(self.pool(self.statistics.sum(0, keepdims=True))[0])


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two systems on the same samples.

    Attributes:
        difference: Difference of the corpus values, the mean difference over samples for most metrics.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        p: Two-sided p of the paired permutation test.
        n: Samples.
        groups: Groups of samples that were permuted and drawn together.
        detectable: The smallest true difference that such a comparison finds 8 times in 10.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    groups: int
    detectable: float = 0.0

    @property
    def found(self) -> bool:
        """Whether there is a difference: p below 0.05, and an interval that leaves zero out."""
        return self.p < LEVEL and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Seeds:
    """Values of one system under several seeds.

    Attributes:
        mean: Over the seeds.
        spread: Standard deviation over the seeds, 0 for one.
        low: Lower end of the 95 % t-interval of the mean; equal to it for one seed.
        high: Upper end.
        n: Seeds.
    """

    mean: float
    spread: float
    low: float
    high: float
    n: int


def intervals(evidence: Mapping[str, Evidence], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of corpus values over the same n samples, drawn together for all of them.

    Fewer than two samples have no interval, and give an empty result.
    """
    held = list(evidence.values())
    number = len(held[0].statistics) if held else 0
    if number < 2:
        return {}
    sums = _resampled(np.concatenate([one.statistics for one in held], 1), np.random.default_rng(seed))
    ends = np.cumsum([one.statistics.shape[1] for one in held])
    parts = np.split(sums, ends[:-1], axis=1)
    return {name: _ends(evidence[name].pool(part), number) for name, part in zip(evidence, parts, strict=True)}


def compare(differences: Sequence[float], groups: Sequence[Hashable], seed: int = 0) -> Comparison:
    """Compare two systems by n paired differences of single samples, the first system minus the second."""
    none = [0.0] * len(differences)
    return compare_evidence(Evidence.of_mean(differences), Evidence.of_mean(none), groups, seed)


def compare_evidence(first: Evidence, second: Evidence, groups: Sequence[Hashable], seed: int = 0) -> Comparison:
    """Compare two systems by one metric on the same n samples in the same order.

    Samples of one group (one scene) are not independent: they change sides together in the permutation test, and are
    drawn together in the bootstrap. Ignoring that would make many regions of few scenes look significant.

    Args:
        first: Of the first system.
        second: Of the second; its ``pool`` is the same function.
        groups: (n,) group of each sample, n at least 1.
        seed: Seed of the draws; the same evidence always gives the same result.
    """
    here, there = first.grouped(groups).statistics, second.grouped(groups).statistics
    width, number = here.shape[1], len(here)
    random = np.random.default_rng(seed)
    drawn = _resampled(np.concatenate([here, there], 1), random)
    found = first.pool(drawn[:, :width]) - first.pool(drawn[:, width:])
    low, high = _ends(found, number)
    return Comparison(
        difference=first.value - second.value,
        low=low,
        high=high,
        p=_sides_changed(here, there, first.pool, random),
        n=len(groups),
        groups=number,
        detectable=_detectable(found, number),
    )


def over_seeds(values: Sequence[float]) -> Seeds:
    """Summarise the values of at least one seed."""
    mean, number = statistics.fmean(values), len(values)
    if number < 2:
        return Seeds(mean, 0.0, mean, mean, number)
    spread = statistics.stdev(values)
    reach = student((1 + COVERAGE) / 2, number - 1) * spread / math.sqrt(number)
    return Seeds(mean, spread, mean - reach, mean + reach, number)


def draws_of(number: int) -> int:
    """Return how often n groups are drawn: 10,000 times, and fewer from 10,000 groups on, but 1,000 times at least."""
    return max(_FEWEST, min(DRAWS, _DRAWN // max(number, 1)))


def student(level: float, freedom: int) -> float:
    """Return the quantile of Student's t.

    From 3 degrees of freedom on it is the expansion of Abramowitz and Stegun 26.7.5; its error at a level of .975 is
    below .01.
    """
    if freedom == 1:
        return math.tan(math.pi * (level - 0.5))
    if freedom == 2:
        return (2 * level - 1) / math.sqrt(2 * level * (1 - level))
    z = _normal(level)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def _normal(level: float) -> float:
    return statistics.NormalDist().inv_cdf(level)


def _ratio(sums: Floats) -> Floats:
    # A draw of groups of which none was judged has no value of its own; it is rare, and 0 keeps the others.
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)


def _resampled(rows: Floats, random: np.random.Generator) -> Floats:
    """Return (draws, k) sums of as many rows as there are, drawn with replacement."""
    number = len(rows)
    draws = draws_of(number)
    step = max(1, min(_ROWS, _HELD // number))
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = random.integers(0, number, size=(size, number)) + number * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * number).reshape(size, number)
        parts.append(counts @ rows)
    return np.concatenate(parts)


def _ends(values: Floats, number: int) -> tuple[float, float]:
    """Return the ends of the interval of a value of ``number`` groups, from its draws.

    Plain percentiles are too narrow for few groups, as dividing by n instead of n - 1 and the normal instead of
    Student's t are; the levels are moved outwards by as much (Hesterberg 2015, section 5.2).
    """
    outer = (1 - COVERAGE) / 2
    if number > 1:
        reach = math.sqrt(number / (number - 1)) * student(1 - outer, number - 1)
        outer = statistics.NormalDist().cdf(-reach)
    low, high = np.quantile(values, [outer, 1 - outer])
    return float(low), float(high)


def _detectable(found: Floats, number: int) -> float:
    """Return the true difference that is found in a share ``POWER`` of repetitions, from draws of ``number`` groups.

    Draws spread less than repetitions do, as :func:`_ends` says.
    """
    if number < 2:
        return 0.0
    spread = float(found.std()) * math.sqrt(number / (number - 1))
    return spread * (student((1 + COVERAGE) / 2, number - 1) + student(POWER, number - 1))


def _sides_changed(here: Floats, there: Floats, pool: Pool, random: np.random.Generator) -> float:
    """Return how often random changes of sides give a difference as far from zero; what is seen counts as a draw."""
    total, apart = (here + there).sum(0), here - there
    seen = abs(float((pool(here.sum(0)[None]) - pool(there.sum(0)[None]))[0]))
    number = len(apart)
    draws = draws_of(number)
    differences = []
    step = max(1, min(_ROWS, _HELD // number))
    for start in range(0, draws, step):
        signs = 2.0 * random.integers(0, 2, size=(min(step, draws - start), number)) - 1.0
        moved = signs @ apart
        found = pool((total + moved) / 2) - pool((total - moved) / 2)
        differences.append(np.abs(found))
    drawn = np.concatenate(differences)
    # Ties with the seen difference must count in spite of rounding, or few groups would look significant.
    hits = int((drawn >= seen - 1e-9 * float(drawn.max())).sum())
    return (1 + hits) / (draws + 1)
