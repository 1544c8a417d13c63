"""Intervals of scores and paired comparisons of runs, over samples that come in groups.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Hesterberg, What Teachers Should Know About the Bootstrap,
The American Statistician 69(4), 2015 (expanded percentiles); Riezler and Maxwell, On Some Pitfalls in Automatic
Evaluation and Significance Testing for MT, 2005 (corpus values of two systems that change sides at random).
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
#: Of the size of values, what rounding makes of differences between them that are none.
ROUNDED = 1e-12
#: Share of repetitions in which a difference as large as ``Comparison.detectable`` is found.
POWER = 0.8

#: Draws, and numbers, that are held at a time.
_ROWS, _HELD = 500, 4_000_000
#: Draws of so many numbers at most are kept for the next comparison of equally many groups.
_KEPT, _FAST = 4_000_000, 1_500_000

Floats = NDArray[np.float64]
Counts = NDArray[Any]
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
        effect: The difference in standard deviations over groups, Cohen's d_z; None where nothing varies. Of corpus
            values a group has its jackknife value, see :func:`group_values`.
        improved: Share of the groups on which the first system is better, ties counted half; None for one group.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    groups: int
    detectable: float = 0.0
    effect: float | None = None
    improved: float | None = None

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
    sums = _resampled(np.concatenate([one.statistics for one in held], 1), _drawn(number, seed)[0])
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
    counts, signs = _drawn(number, seed)
    drawn = _resampled(np.concatenate([here, there], 1), counts)
    found = first.pool(drawn[:, :width]) - first.pool(drawn[:, width:])
    low, high = _ends(found, number)
    effect, improved = _effect_of(here, there, first.pool)
    return Comparison(
        difference=first.value - second.value,
        low=low,
        high=high,
        p=_sides_changed(here, there, first.pool, signs),
        n=len(groups),
        groups=number,
        detectable=_detectable(found, number),
        effect=effect,
        improved=improved,
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


def _drawn(number: int, seed: int) -> tuple[Iterable[Counts], Iterable[Counts]]:
    """Return how often each of n groups is drawn, and which of them change sides: (draws, n) each, in pieces.

    Both come from one generator: use up the first before the second. Those of few groups are kept.
    """
    draws = draws_of(number)
    if draws * number <= _KEPT:
        return _kept(number, draws, seed)
    random = np.random.default_rng(seed)
    return _counts(number, draws, random), _signs(number, draws, random)


@functools.lru_cache(maxsize=4)
def _kept(number: int, draws: int, seed: int) -> tuple[list[Counts], list[Counts]]:
    random = np.random.default_rng(seed)
    # Numbers of eight bytes are multiplied several times faster than those that are turned into them each time.
    kind = np.float64 if draws * number <= _FAST else np.int16  # n is below 2**15 here
    counts = [part.astype(kind) for part in _counts(number, draws, random)]
    return counts, [part.astype(np.int8) for part in _signs(number, draws, random)]


def _pieces(number: int, draws: int) -> Iterator[int]:
    step = max(1, min(_ROWS, _HELD // number))
    return (min(step, draws - start) for start in range(0, draws, step))


def _counts(number: int, draws: int, random: np.random.Generator) -> Iterator[Counts]:
    for size in _pieces(number, draws):
        drawn = random.integers(0, number, size=(size, number)) + number * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * number).reshape(size, number)


def _signs(number: int, draws: int, random: np.random.Generator) -> Iterator[Counts]:
    for size in _pieces(number, draws):
        yield 2 * random.integers(0, 2, size=(size, number)) - 1


def _resampled(rows: Floats, counts: Iterable[Counts]) -> Floats:
    """Return (draws, k) sums of as many rows as there are, drawn with replacement."""
    return np.concatenate([part @ rows for part in counts])


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


def _sides_changed(here: Floats, there: Floats, pool: Pool, signs: Iterable[Counts]) -> float:
    """Return how often random changes of sides give a difference as far from zero; what is seen counts as a draw."""
    total, apart = (here + there).sum(0), here - there
    seen = abs(float((pool(here.sum(0)[None]) - pool(there.sum(0)[None]))[0]))
    differences = []
    for part in signs:
        moved = part @ apart
        found = pool((total + moved) / 2) - pool((total - moved) / 2)
        differences.append(np.abs(found))
    return share_of(np.concatenate(differences), seen, abs(float(pool(total[None] / 2)[0])))


def share_of(drawn: Floats, seen: float, size: float = 0.0) -> float:
    """Return the p of a value among what n draws under the null hypothesis gave; it counts as a draw itself.

    Args:
        drawn: (n,) the draws.
        seen: The value.
        size: How large the numbers are of which they are differences, and of which they have the rounding.
    """
    # Ties with what is seen must count in spite of rounding, or few groups would look significant.
    near = max(1e-9 * float(drawn.max()), ROUNDED * size)
    hits = int((drawn >= seen - near).sum())
    return (1 + hits) / (len(drawn) + 1)


def group_values(evidence: Evidence) -> Floats:
    """Return what each of n groups stands for in a corpus value; they average to it.

    They are jackknife pseudo-values (Efron and Tibshirani 1993, chapter 11), moved so that their mean is the value
    itself: of a mean over equally large groups the means of the groups, of any other corpus value its best linear
    approximation. A single group is the value.
    """
    rows, number = evidence.statistics, len(evidence.statistics)
    if number < 2:
        return np.full(number, evidence.value)
    apart = -(number - 1) * evidence.pool(rows.sum(0) - rows)
    centred: Floats = apart - apart.mean() + evidence.value
    return centred


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Correct the p of a family of tests by Holm's method; None stands for what was not tested, and stays.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979. The k-th
    smallest of m is multiplied by m - k + 1, and none becomes smaller than the one before it, or larger than 1.
    """
    told = sorted((p, at) for at, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, at) in enumerate(told):
        largest = max(largest, min(1.0, p * (len(told) - rank)))
        corrected[at] = largest
    return corrected


def _effect_of(here: Floats, there: Floats, pool: Pool) -> tuple[float | None, float | None]:
    """Return the difference in standard deviations over groups, and the share of groups where the first is better."""
    if len(here) < 2:
        return None, None
    apart = group_values(Evidence(here, pool)) - group_values(Evidence(there, pool))
    spread, scale = float(apart.std(ddof=1)), 1e-12 * max(1e-300, float(np.abs(apart).max()))
    improved = float(((apart > scale) + 0.5 * (np.abs(apart) <= scale)).mean())
    # Differences that are all alike have no standard deviation but rounding.
    return (float(apart.mean()) / spread if spread > 1e4 * scale else None), improved
