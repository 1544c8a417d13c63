"""What pipelines cost whatever they shared, which of them none beats, and scores by the size of regions."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_grids import A, level, plan_of, saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regionkit.core import statistics
from regionkit.plugins.ablation.analysis.analyse import analyse
from regionkit.plugins.ablation.analysis.charges import pareto
from regionkit.plugins.ablation.analysis.rows import Results
from regionkit.plugins.ablation.analysis.sizes import bins_of, borders_of
from regionkit.plugins.ablation.verdicts import judge_claims

GRID = (
    "data: [box@t-colours]\nmetrics: [noun-f1]\ngrid: {bridge.amount: [0.0, 1.0], region_encoder: [t-pool, t-global]}\n"
)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """What is told here does not depend on how many draws there are."""
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


def analysed(plan, store):
    return analyse(plan, store, judge_claims(plan, store))


#: Seconds of the four trials in the order in which they ran: stages that an earlier one computed take none.
MEASURED = {
    ("0.0", "t-pool"): {"backbone": 8.0, "region_encoder": 2.0, "bridge": 1.0, "decoder": 3.0, "trial": 14.0},
    ("0.0", "t-global"): {"backbone": 0.0, "region_encoder": 4.0, "bridge": 1.0, "decoder": 3.0, "trial": 8.0},
    ("1.0", "t-pool"): {"bridge": 5.0, "decoder": 3.0, "trial": 8.0},
    ("1.0", "t-global"): {"bridge": 5.0, "decoder": 1.0, "metric": 7.0, "trial": 6.0},
}
#: What each costs by itself.
CHARGED = {("0.0", "t-pool"): 14.0, ("0.0", "t-global"): 16.0, ("1.0", "t-pool"): 18.0, ("1.0", "t-global"): 18.0}


def place(row):
    return row["labels"][A], row["labels"]["region_encoder"]


def test_a_pipeline_is_charged_with_all_of_its_stages_whoever_ran_them():
    plan = plan_of(GRID)
    seconds = lambda trial: MEASURED[level(trial, A), level(trial, "region_encoder")]  # noqa: E731
    found = analysed(plan, saved(plan, lambda trial: [1.0, 0.0], seconds=seconds))
    rows = {place(row): row for row in found["rows"]}
    assert {key: row["seconds_per_sample"] * 2 for key, row in rows.items()} == pytest.approx(CHARGED)
    last = rows["1.0", "t-global"]["seconds"]
    assert last == {
        "backbone": 8.0, "region_encoder": 4.0, "bridge": 5.0, "decoder": 1.0, "metric": 7.0, "trial": 6.0,
    }  # fmt: skip


def test_what_came_from_the_disk_has_no_known_cost():
    plan = plan_of(GRID)

    def seconds(trial):
        if level(trial, "region_encoder") == "t-global":
            return {"bridge": 1.0, "decoder": 3.0, "cache": 0.1}
        return {"region_encoder": 2.0, "bridge": 1.0, "decoder": 3.0}

    found = analysed(plan, saved(plan, lambda trial: [1.0, 0.0], seconds=seconds))
    assert all(row["seconds_per_sample"] is None for row in found["rows"]), "the backbone's features were read as well"
    assert found["pareto"] == []
    fresh = analysed(plan, saved(plan, lambda trial: [1.0], seconds=lambda trial: {"decoder": 2.0}))
    assert {row["seconds_per_sample"] for row in fresh["rows"]} == {2.0}, "stages that never ran cost nothing"


@pytest.fixture(scope="module")
def grid(fakes):
    """The plan, made once for many examples."""
    return plan_of(GRID)


@pytest.mark.parametrize("higher", [pytest.param(True, id="higher"), pytest.param(False, id="lower")])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=4, max_size=4))
def test_the_front_is_what_no_other_row_beats(grid, higher, points):
    plan = grid
    values = {trial.id: float(value) for trial, (_, value) in zip(plan.trials, points, strict=True)}
    results = Results(plan, saved(plan, lambda trial: [values[trial.id]] * 2, higher=higher))
    times = {row.id: float(spent) for row, (spent, _) in zip(results.rows, points, strict=True)}
    (found,) = pareto(results.tables(), times)
    told = [(one["seconds_per_sample"], one["value"] * (1 if higher else -1), one["front"]) for one in found["points"]]
    for spent, value, front in told:
        beaten = any(
            other <= spent and better >= value and (other, better) != (spent, value) for other, better, _ in told
        )
        assert front is not beaten
    assert [one[0] for one in told] == sorted(one[0] for one in told)


def test_scores_by_size_are_those_of_the_bins():
    plan = plan_of(GRID)
    areas = [float(10 * (1 + at // 10)) for at in range(50)]
    values = [float(at // 10) for at in range(50)]
    store = saved(plan, lambda trial: [one + float(level(trial, A)) for one in values], areas=lambda at: areas[at])
    (found,) = analysed(plan, store)["sizes"]
    assert [one["label"] for one in found["bins"]] == ["<= 10 px2", "10-20 px2", "20-30 px2", "30-40 px2", "> 40 px2"]
    assert [(one["low"], one["high"]) for one in found["bins"]] == [(0, 10), (10, 20), (20, 30), (30, 40), (40, None)]
    assert [one["row"] for one in found["series"]] == ["r3", "r4", "r1", "r2"], "best first"
    assert [one["mean"] for one in found["series"][-1]["values"]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert {one["samples"] for one in found["series"][0]["values"]} == {10}
    assert found["rows_left_out"] == 0


def test_regions_without_an_area_have_no_sizes():
    plan = plan_of(GRID)
    assert analysed(plan, saved(plan, lambda trial: [0.0, 1.0] * 20))["sizes"] == []
    assert analysed(plan, saved(plan, lambda trial: [0.0, 1.0] * 20, areas=lambda at: 100.0))["sizes"] == []
    assert analysed(plan, saved(plan, lambda trial: [0.0, 1.0] * 5, areas=float))["sizes"] == []


@given(st.lists(st.floats(0, 1e7), max_size=80))
def test_no_bin_is_empty(areas):
    borders = borders_of(areas)
    assert borders == sorted(set(borders))
    assert len(borders) <= 4
    if borders:
        counts = np.bincount(np.searchsorted(borders, areas), minlength=len(borders) + 1)
        assert (counts > 0).all()
        assert len({one["label"] for one in bins_of(borders)}) == len(borders) + 1
