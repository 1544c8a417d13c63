"""What ``compare`` says of simulated pairs of runs whose true difference is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regionkit.core import statistics
from regionkit.plugins.scoring.comparing import compare_runs
from regionkit.plugins.scoring.runs import Measured, Run

#: Pairs of runs of a case, and what must hold in how many of them.
PAIRS, COVERED, FOUND = 100, 90, 8


def _run(**columns):
    number = len(next(iter(columns.values())).per_sample)
    ids = [str(at) for at in range(number)]
    return Run("run", ids, ids, columns, ids)


def _means(values):
    return _run(x=Measured(float(values.mean()), "x", per_sample=values))


def normal(random, number, planted):
    """Quality that both share, and noise of each."""
    shared = random.normal(0, 1, number)
    return [_means(shared + random.normal(move, 0.5, number)) for move in (0, planted)]


def skewed(random, number, planted):
    """Most captions score little and a few very much, as CIDEr-D has it; differences are skewed as well."""
    shared = random.exponential(1, number)
    first = shared * random.exponential(1, number)
    second = shared * random.exponential(1, number)
    return [_means(first), _means(second + planted)]


def ratio(random, number, planted):
    """Words that are right of all words, as BLEU counts them: samples differ in length and in difficulty."""

    def pool(sums):
        return sums[:, 0] / sums[:, 1]

    lengths = random.integers(5, 16, number)
    difficulty = random.beta(4, 4, number) * 0.7 + 0.1
    runs = []
    for move in (0, planted):
        rows = np.stack([random.binomial(lengths, difficulty + move), lengths], 1).astype(float)
        value = float(pool(rows.sum(0)[None])[0])
        runs.append(_run(x=Measured(value, "x", per_sample=rows[:, 0] / lengths, statistics=rows, pool=pool)))
    return runs


def regions(random, number, planted):
    """Four regions a picture, which are as hard as their picture is."""
    pictures = [str(at // 4) for at in range(number)]
    runs = []
    for move in (0, planted):
        shared = random.normal(move, 1, number // 4).repeat(4)
        runs.append(replace(_means(shared + random.normal(0, 0.5, number)), images=pictures))
    return runs


def _compared(make, number, planted, **options):
    """Return how often the interval covers the truth, and how often a difference is found."""
    covered = found = 0
    for pair in range(PAIRS):
        first, second = make(np.random.default_rng([pair, number]), number, planted)
        (one,) = compare_runs([first], [second], most=0, seed=pair, **options).columns
        covered += one.comparison.low <= planted <= one.comparison.high
        found += one.comparison.found
    return covered, found


FEW = [
    pytest.param(skewed, 60, 0.5, id="skewed-60"),
    pytest.param(ratio, 60, 0.05, id="ratio-60"),
    pytest.param(regions, 120, 0.8, id="regions-120"),
]
MANY = [
    pytest.param(normal, 60, 0.2, id="normal-60"),
    pytest.param(normal, 300, 0.1, id="normal-300"),
    pytest.param(skewed, 300, 0.3, id="skewed-300"),
    pytest.param(ratio, 300, 0.03, id="ratio-300"),
    pytest.param(regions, 600, 0.4, id="regions-600"),
]


@pytest.mark.parametrize(("make", "number", "planted"), FEW)
def test_a_planted_difference_is_covered_and_none_is_not_found(make, number, planted, monkeypatch):
    # The ends then stand to a few percent of the interval's width.
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)
    covered, found = _compared(make, number, planted)
    assert covered >= COVERED
    assert found >= 30  # or an interval without end would pass
    covered, found = _compared(make, number, 0.0)
    assert covered >= COVERED
    assert found <= FOUND


def test_regions_of_a_picture_are_no_independent_witnesses(monkeypatch):
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)
    covered, found = _compared(regions, 120, 0.0, by_sample=True)
    assert covered < COVERED
    assert found > 2 * FOUND


@pytest.mark.slow
@pytest.mark.parametrize(("make", "number", "planted"), FEW + MANY)
def test_the_same_with_all_draws(make, number, planted):
    (covered, _), (_, found) = _compared(make, number, planted), _compared(make, number, 0.0)
    print(f"\n{make.__name__}, {number} samples: {covered} of {PAIRS} covered, {found} found")
    assert covered >= COVERED
    assert found <= FOUND


@pytest.mark.slow
@pytest.mark.parametrize(("number", "planted"), [pytest.param(120, 0.8, id="120"), pytest.param(600, 0.4, id="600")])
def test_regions_drawn_by_themselves_mislead(number, planted):
    covered, _ = _compared(regions, number, planted, by_sample=True)
    _, found = _compared(regions, number, 0.0, by_sample=True)
    print(f"\nregions, {number} samples, each by itself: {covered} of {PAIRS} covered, {found} found")
    assert covered < COVERED
    assert found > FOUND
