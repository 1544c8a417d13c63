"""Tests keep their level where nothing is to be found, claims are corrected together, and words say what showed."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from ablation_fakes import write
from analysis_grids import GRID, A, B, level, plan_of, saved
from click.testing import CliRunner

from regionkit.core import statistics
from regionkit.core.errors import ConfigError
from regionkit.core.statistics import Evidence, compare, group_values
from regionkit.plugins.ablation import commands
from regionkit.plugins.ablation.analysis import chances
from regionkit.plugins.ablation.analysis.chances import draws_for, p_of_levels, p_of_residuals
from regionkit.plugins.ablation.analysis.effects import beyond_sums
from regionkit.plugins.ablation.claim_tables import claims_legend, claims_table
from regionkit.plugins.ablation.claims import parse_claim
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.verdicts import Verdict, corrected, judge_claims


@pytest.fixture
def few_draws(monkeypatch):
    """Draw less often, where many repetitions show what holds."""
    monkeypatch.setattr(chances, "draws_for", lambda scenes, levels: 200)
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


def uniform(values):
    """Return the largest distance of a sample from the uniform distribution."""
    ordered = np.sort(values)
    steps = np.arange(1, len(ordered) + 1) / len(ordered)
    return float(np.abs(ordered - steps).max())


@pytest.mark.parametrize("levels", [pytest.param(2, id="two"), pytest.param(5, id="five")])
def test_p_of_levels_are_uniform_where_there_is_no_effect(few_draws, levels):
    random = np.random.default_rng(2)
    # Scenes differ among each other, and so do the spreads of their levels: only labels are exchangeable.
    found = [
        p_of_levels(random.normal(size=(20, 1)) + random.exponential(size=(20, 1)) * random.normal(size=(20, levels)))
        for _ in range(300)
    ]
    assert uniform(found) < 0.08  # 300 uniform values are further off in 4 of 100 samples
    assert sum(p < 0.05 for p in found) <= 25


def test_p_of_residuals_are_uniform_where_there_is_no_interaction(few_draws):
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        sums = random.normal(size=(20, 3, 1)) + random.normal(size=(20, 1, 2))
        cells = beyond_sums(sums + random.normal(size=(20, 3, 2)))
        found.append(p_of_residuals(cells.reshape(20, -1)))
    assert uniform(found) < 0.08
    assert sum(p < 0.05 for p in found) <= 25


def test_two_levels_are_tested_as_paired_differences_are():
    values = np.random.default_rng(1).normal(size=(30, 2)) + np.array([0.0, 0.3])
    wanted = compare(values[:, 0] - values[:, 1], range(30))
    assert p_of_levels(values) == pytest.approx(wanted.p, abs=0.01)
    assert p_of_residuals(values[:, :1] - values[:, 1:]) == pytest.approx(wanted.p, abs=0.01)


def test_what_cannot_be_tested_has_no_p():
    assert p_of_levels(np.zeros((1, 3))) is None
    assert p_of_residuals(np.zeros((1, 3))) is None
    assert p_of_levels(np.ones((10, 3))) == 1.0
    assert [draws_for(100, 3), draws_for(100, 100), draws_for(10**6, 3)] == [10_000, 2_000, 1_000]


def test_the_effect_size_is_the_difference_in_standard_deviations_over_scenes():
    values = [1.0, 2.0, 3.0, -1.0]
    found = compare(values, range(4))
    assert found.effect == pytest.approx(np.mean(values) / np.std(values, ddof=1))
    assert found.improved == 0.75
    alike = compare([0.5] * 4, range(4))
    assert (alike.effect, alike.improved) == (None, 1.0)
    none = compare([0.0] * 4, range(4))
    assert (none.effect, none.improved) == (None, 0.5)
    assert compare([1.0], [0]).effect is None


def claim(say="bridge=a > bridge=b", **more):
    found = parse_claim({"say": say, "on": "d", "by": "m", **more}, "claims.0", pytest.fail)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("values", "more", "verdict"),
    [
        pytest.param((0.4, 0.6), {}, "holds", id="shown"),
        pytest.param((-0.4, -0.6), {}, "fails", id="the-opposite"),
        pytest.param((0.5, -0.5), {}, "not shown", id="neither"),
        pytest.param((-0.4, -0.6), {"must": False}, "recorded", id="recorded"),
        pytest.param((-0.4, -0.6), {"within": 0.1}, "fails", id="worse-by-more"),
        pytest.param((0.5, -0.6), {"within": 0.01}, "not shown", id="not-known-well-enough"),
    ],
)
def test_a_claim_fails_only_where_the_opposite_shows(values, more, verdict):
    found = Verdict(claim(**more), "d", "m", compare(list(values) * 20, range(40)))
    assert found.verdict == verdict
    assert found.ok is (verdict in ("holds", "recorded"))
    assert (found.to_dict()["verdict"], found.to_dict()["shown"]) == (verdict, verdict == "holds")
    told = claims_table([found])
    assert ("recorded (the opposite shows)" in told) is (verdict == "recorded")
    assert any(line.startswith("not shown: neither") for line in claims_legend([found])) is (verdict == "not shown")


def made_up(p, difference=1.0, **more):
    comparison = statistics.Comparison(difference, -2.0, 2.0, p, 10, 10, effect=0.5, improved=0.6)
    return Verdict(claim(**more), "d", "m", comparison)


def test_claims_are_corrected_together_and_their_own_p_decides():
    several = [made_up(0.01), made_up(0.04), made_up(0.03), made_up(0.005), made_up(0.2, within=0.5)]
    several.append(Verdict(claim(), "d", "m", None, "nothing ran"))
    found = corrected(several)
    assert [one.p_corrected for one in found] == pytest.approx([0.03, 0.06, 0.06, 0.02, None, None])
    assert [one.shown for one in found[:4]] == [True] * 4
    assert [one.shown_corrected for one in found] == [True, False, False, True, None, None]
    assert claims_legend(found)[-1] == (
        "p Holm: p corrected for 4 claims, data sets and metrics tested; of 4 that show by p, 2 show by it as well. "
        "correction: holm lets it decide."
    )
    strict = corrected(several, strict=True)
    assert [one.verdict for one in strict] == ["holds", "not shown", "not shown", "holds", "not shown", "undecided"]
    assert claims_legend(strict)[0].endswith("holds: p Holm < 0.05 and the stated direction.")
    assert "it decides, since the file says correction: holm." in claims_legend(strict)[-1]


CLAIMS = """claims:
  - {say: "bridge.amount=1.0 > bridge.amount=0.0", on: box@t-colours, by: noun-f1}
  - {say: "decoder.slow=1.0 > decoder.slow=0.0", on: box@t-colours, by: noun-f1}
"""


def near(trial):
    """Differ by a little on A, so that a p near 0.04 comes out, and not at all on B."""
    random = np.random.default_rng(2)
    return (random.normal(size=30) * (1 + float(level(trial, A))) + 0.47 * float(level(trial, A))).tolist()


@pytest.mark.parametrize(
    ("asked", "verdict"), [pytest.param("none", True, id="none"), pytest.param("holm", False, id="holm")]
)
def test_the_file_says_which_p_decides(asked, verdict):
    plan = plan_of(GRID + CLAIMS + f"correction: {asked}\n")
    (first, second) = judge_claims(plan, saved(plan, near))
    assert 0.025 < first.comparison.p < 0.05
    assert first.p_corrected == pytest.approx(2 * first.comparison.p)
    assert first.shown is verdict
    assert second.verdict == "not shown"


def test_the_correction_has_no_say_in_what_trials_are(tmp_path):
    ids = [
        [trial.id for trial in plan_of(GRID + more).trials] for more in ("", "correction: holm\n", "correction: null\n")
    ]
    assert ids[0] == ids[1] == ids[2]
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, GRID + "correction: bonferroni\n"))
    assert "ablation.yaml:10: correction: 'bonferroni' is unknown" in str(error.value)
    assert "choose one of: none, holm" in str(error.value)


def test_claims_that_do_not_show_decide_the_exit_status(tmp_path):
    text = GRID.replace("[0.0, 1.0], decoder", "[0.0, 0.01], decoder") + CLAIMS.replace("amount=1.0", "amount=0.01")
    result = CliRunner().invoke(
        commands.ablate, [str(write(tmp_path, text)), "--out", str(tmp_path / "out"), "--limit", "2"]
    )
    assert result.exit_code == 1
    assert "2 of 2 claims that must hold do not" in result.output
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [one["verdict"] for one in claims] == ["not shown", "not shown"]
    assert all({"p_corrected", "effect", "improved", "shown_corrected"} <= one.keys() for one in claims)
    assert "Holm's method within each family of tests: claims (2)" in (tmp_path / "out" / "claims.md").read_text()
    assert B in (tmp_path / "out" / "results.md").read_text()


def test_hundreds_of_levels_need_little_memory():
    """Every turn of all labels at once would be 64 MB here, and 8 GB for a thousand levels and scenes."""
    values = np.random.default_rng(0).normal(size=(50, 400))
    tracemalloc.start()
    try:
        assert 0 < p_of_levels(values) <= 1
        assert tracemalloc.get_traced_memory()[1] < 32e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (4, 4)])
def test_an_axis_that_changes_nothing_interacts_with_none(few_draws, shape):
    """Its residuals are rounding, the same in many scenes, which a test of signs would find."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        other = random.integers(0, 2, (40, 1, shape[1])).astype(float) if seed % 2 else random.random((40, 1, shape[1]))
        tables = np.repeat(other, shape[0], 1)
        values = [group_values(Evidence.of_mean(column)) for column in tables.reshape(40, -1).T]
        residuals = beyond_sums(np.stack(values, 1).reshape(40, *shape))
        assert not residuals.any()
        assert p_of_residuals(residuals.reshape(40, -1)) == 1.0
        moved = np.stack(values, 1).reshape(40, *shape)
        moved[:, 0, 0] += 1e-3  # far less than any score differs by
        assert p_of_residuals(beyond_sums(moved).reshape(40, -1)) < 0.01
