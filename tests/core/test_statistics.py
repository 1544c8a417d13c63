"""Intervals and tests keep what they promise, on simulated samples whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from regionkit.core.contracts import Metric, Score
from regionkit.core.statistics import Evidence, compare, compare_evidence, draws_of, intervals, over_seeds, student


@pytest.fixture
def few_draws(monkeypatch):
    """Draw less often, where a hundred repetitions show what holds."""
    monkeypatch.setattr("regionkit.core.statistics.draws_of", lambda number: 1000)


def exact_p(sums):
    """Enumerate all signs."""
    totals = [
        abs(sum(s * v for s, v in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return np.mean(np.array(totals) >= abs(sum(sums)) - 1e-9)


def test_the_permutation_test_agrees_with_the_exact_one():
    values = [0.3, 0.1, -0.2, 0.4, 0.25, 0.05, -0.1, 0.3]
    found = compare(values, range(8))
    assert found.p == pytest.approx(exact_p(values), abs=0.02)
    assert found.difference == pytest.approx(np.mean(values))
    assert found.low < found.difference < found.high
    assert found == compare(values, range(8)), "the draws are seeded"


def test_samples_of_one_scene_flip_together():
    values = [0.2] * 30
    assert compare(values, range(30)).p < 0.001
    grouped = compare(values, [at // 10 for at in range(30)])
    assert (grouped.n, grouped.groups) == (30, 3)
    assert grouped.p == pytest.approx(0.25, abs=0.02)  # 2 of the 8 sign patterns of three scenes


def test_no_difference_is_no_evidence():
    found = compare([0.0] * 20, range(20))
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_false_alarms_come_as_often_as_promised(few_draws):
    random = np.random.default_rng(3)
    alarms = sum(compare(random.normal(size=40), range(40)).p < 0.05 for _ in range(100))
    assert alarms <= 12


class Ratio(Metric):
    """A corpus value that is no mean: the sum of one column over that of another."""

    parts = ("", "half")

    def update(self, samples, captions):
        raise NotImplementedError

    def compute(self):
        raise NotImplementedError

    @classmethod
    def pool(cls, part, sums):
        return sums[:, 0] / sums[:, 1] / (2 if part == "half" else 1)


def draw(random, number, *, skewed):
    return random.exponential(size=number) if skewed else 1 + random.normal(size=number)


@pytest.mark.parametrize("number", [pytest.param(20, id="20"), pytest.param(200, id="200")])
@pytest.mark.parametrize("skewed", [pytest.param(False, id="normal"), pytest.param(True, id="skewed")])
def test_intervals_of_means_cover_the_truth_as_often_as_they_say(few_draws, number, skewed):
    random = np.random.default_rng(5)
    ends = [intervals({"m": Evidence.of_mean(draw(random, number, skewed=skewed))})["m"] for _ in range(100)]
    assert 88 <= sum(low <= 1 <= high for low, high in ends) <= 100
    assert all(low < high for low, high in ends)


def test_intervals_of_corpus_values_cover_the_truth_as_often_as_they_say(few_draws):
    random, covered = np.random.default_rng(6), 0
    for _ in range(100):
        length = random.integers(5, 15, 80).astype(float)
        evidence = Evidence(
            np.stack([random.binomial(length.astype(int), 0.3), length], 1), lambda s: Ratio.pool("", s)
        )
        low, high = intervals({"r": evidence})["r"]
        covered += low <= 0.3 <= high
    assert covered >= 90


def test_evidence_is_statistics_where_there_are_some_and_means_otherwise():
    rows = np.array([[1.0, 4.0], [2.0, 2.0]])
    score = Score(0.5, (0.25, 1.0), "r", statistics=rows)
    assert Evidence.of(score, Ratio).value == 0.5
    assert Evidence.of(score, Ratio, "half").value == 0.25
    assert Evidence.of(Score(0.625, (0.25, 1.0), "r"), Ratio).value == 0.625
    assert Evidence.of(Score(0.5, None, "r"), Ratio) is None
    with pytest.raises(NotImplementedError, match="Metric has no statistics"):
        Metric.pool("", rows)


def test_what_is_asked_together_is_drawn_together():
    values = np.random.default_rng(1).normal(size=50)
    alone = intervals({"a": Evidence.of_mean(values)})
    both = intervals({"a": Evidence.of_mean(values), "b": Evidence.of_mean(2 * values)})
    assert both["a"] == pytest.approx(alone["a"])
    assert both["b"] == pytest.approx([2 * end for end in alone["a"]])
    assert intervals({"a": Evidence.of_mean([1.0])}) == {}
    assert intervals({}) == {}


def test_corpus_values_of_two_systems_are_compared_as_corpus_values():
    """A mean of ratios would say the opposite: the second system is better on many small samples."""
    number = 60
    first = np.array([[90.0, 100.0] if at % 3 == 0 else [0.0, 1.0] for at in range(number)])
    second = np.array([[50.0, 100.0] if at % 3 == 0 else [1.0, 1.0] for at in range(number)])
    pool = lambda sums: Ratio.pool("", sums)  # noqa: E731
    found = compare_evidence(Evidence(first, pool), Evidence(second, pool), range(number))
    assert found.difference == pytest.approx(0.9 * 100 / 102 - (50 + 2) / 102)
    assert found.found
    assert found.low > 0
    per_sample = compare(first[:, 0] / first[:, 1] - second[:, 0] / second[:, 1], range(number))
    assert per_sample.difference < 0


def test_a_difference_is_found_where_test_and_interval_agree():
    random = np.random.default_rng(4)
    assert compare(random.normal(1, 1, 60), range(60)).found
    assert not compare(random.normal(0, 1, 60), range(60)).found


def test_the_detectable_difference_is_found_four_times_in_five(few_draws):
    random = np.random.default_rng(7)
    known = compare(random.normal(size=50), range(50)).detectable
    assert known == pytest.approx((1.95996 + 0.84162) / math.sqrt(50), rel=0.2)
    truth = (1.95996 + 0.84162) / math.sqrt(50)
    found = sum(compare(truth + random.normal(size=50), range(50)).found for _ in range(100))
    assert 70 <= found <= 90


def test_seeds_are_summarised_with_students_interval():
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.mean, found.spread, found.n) == (2.0, 1.0, 3)
    assert (found.low, found.high) == pytest.approx([2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)], abs=1e-5)
    assert over_seeds([4.0]) == type(found)(4.0, 0.0, 4.0, 4.0, 1)


@pytest.mark.parametrize(
    ("freedom", "value"),
    [pytest.param(f, v, id=str(f)) for f, v in ((1, 12.7062), (2, 4.30265), (3, 3.18245), (9, 2.26216), (99, 1.98422))],
)
def test_quantiles_of_students_t(freedom, value):
    assert student(0.975, freedom) == pytest.approx(value, abs=0.005)


def test_many_samples_are_drawn_less_often():
    assert [draws_of(number) for number in (1, 10_000, 20_000, 100_000, 10**7)] == [10_000, 10_000, 5_000, 1_000, 1_000]


@pytest.mark.parametrize(("number", "apart"), [(500, 1e-5), (1000, 1e-4), (5000, 1e-3)])
def test_one_sample_that_differs_by_little_is_no_evidence_whatever_rounding_says(few_draws, number, apart):
    for seed in range(5):
        random = np.random.default_rng(seed)
        there = random.random(number)
        here = there.copy()
        here[random.integers(number)] += apart
        found = compare_evidence(Evidence.of_mean(here), Evidence.of_mean(there), list(range(number)))
        assert found.p == 1.0  # its sign alone can change: every draw is as far from zero
