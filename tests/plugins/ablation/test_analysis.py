"""What an analysis says of small grids whose effects are known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from ablation_fakes import BASE, write
from analysis_grids import GRID, A, B, level, plan_of, saved
from click.testing import CliRunner

from regionkit.core import statistics
from regionkit.core.results import DATABASE, ResultStore
from regionkit.core.statistics import compare, group_values, holm, over_seeds
from regionkit.plugins.ablation import commands, run_command
from regionkit.plugins.ablation.analysis.analyse import analyse, analysis_json, without_times
from regionkit.plugins.ablation.analysis.text import markdown_parts, terminal_lines
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.tables import write_reports
from regionkit.plugins.ablation.verdicts import judge_claims

#: Made-up scenes: their own part of a value, and how much of the interaction shows in each.
SCENES = np.random.default_rng(4).normal(size=24)
SPREAD = 1 + 0.3 * np.random.default_rng(5).normal(size=24)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """What is told here does not depend on how many draws there are."""
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 1000)
    monkeypatch.setattr("regionkit.plugins.ablation.analysis.chances.DRAWS", 1000)


def crossed(trial):
    """Cell means 1, 2 | 3, 8: effects 4 of A and 3 of B, residuals of 1."""
    cells = {("0.0", "0.0"): 1.0, ("0.0", "1.0"): 2.0, ("1.0", "0.0"): 3.0, ("1.0", "1.0"): 8.0}
    noise = SCENES - SCENES.mean()
    grain = SPREAD / SPREAD.mean()
    return [float(one) for one in cells[level(trial, A), level(trial, B)] * grain + noise]


def analysed(plan, store):
    return analyse(plan, store, judge_claims(plan, store))


def only(found, **wanted):
    (one,) = [one for one in found if all(one[key] == value for key, value in wanted.items())]
    return one


def test_a_two_by_two_has_the_effects_that_were_put_in():
    plan = plan_of()
    found = analysed(plan, saved(plan, crossed))
    first, second = (only(found["main_effects"], axis=axis) for axis in (A, B))
    assert [one["mean"] for one in first["levels"]] == pytest.approx([1.5, 5.5])
    assert [one["mean"] for one in second["levels"]] == pytest.approx([2.0, 5.0])
    assert (first["range"], second["range"]) == pytest.approx((4.0, 3.0))
    assert (first["best"], first["worst"], first["settings"]) == ("1.0", "0.0", 2)
    assert [one["rows"] for one in first["levels"]] == [2, 2]
    assert all(one["low"] < one["mean"] < one["high"] for one in (*first["levels"], *second["levels"]))
    (pair,) = found["interactions"]
    assert np.array(pair["means"]) == pytest.approx(np.array([[1.0, 2.0], [3.0, 8.0]]))
    assert np.array(pair["residuals"]) == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert pair["strength"] == pytest.approx(1.0)
    assert pair["p"] == pytest.approx(1 / 1001)
    assert first["p"] == pytest.approx(1 / 1001)
    assert first["p_corrected"] == pytest.approx(2 / 1001), "two axes are one family"


def test_without_an_interaction_the_residuals_are_noise():
    plan, random = plan_of(), np.random.default_rng(0)

    def added(trial):
        base = 4 * float(level(trial, A)) + 3 * float(level(trial, B))
        return (base + random.normal(size=24)).tolist()

    (pair,) = analysed(plan, saved(plan, added))["interactions"]
    assert pair["strength"] < 0.3
    assert pair["p"] > 0.05


def test_the_best_row_is_changed_one_axis_at_a_time():
    plan = plan_of()
    found = analysed(plan, saved(plan, crossed))
    (best,) = found["leave_one_out"]
    rows = {row["id"]: row for row in found["rows"]}
    assert [rows[best["full"]]["labels"][axis] for axis in (A, B)] == ["1.0", "1.0"]
    changes = {change["axis"]: change for change in best["changes"]}
    assert {axis: one["difference"] for axis, one in changes.items()} == pytest.approx({A: -6.0, B: -5.0})
    assert {axis: one["value"] for axis, one in changes.items()} == pytest.approx({A: 2.0, B: 3.0})
    one = changes[A]
    assert (one["from"], one["to"], one["base"]) == ("1.0", "0.0", True)
    assert rows[one["row"]]["labels"][A] == "0.0"
    wanted = compare(6 * SPREAD / SPREAD.mean(), range(24))
    assert (one["low"], one["high"], one["p"]) == pytest.approx((-wanted.high, -wanted.low, wanted.p), rel=0.02)
    assert (one["effect"], one["improved"]) == pytest.approx((-wanted.effect, 0.0))


def test_where_lower_is_better_the_best_is_the_lowest():
    plan = plan_of()
    found = analysed(plan, saved(plan, crossed, higher=False))
    effect = only(found["main_effects"], axis=A)
    assert (effect["best"], effect["worst"], effect["range"]) == ("0.0", "1.0", pytest.approx(4.0))
    (best,) = found["leave_one_out"]
    changes = {change["axis"]: change for change in best["changes"]}
    assert {axis: one["difference"] for axis, one in changes.items()} == pytest.approx({A: 2.0, B: 1.0})
    assert all(one["low"] < one["difference"] < one["high"] for one in changes.values())
    assert changes[A]["effect"] > 0, "its value is larger, which is worse"
    assert only(found["columns"], name="noun-f1")["higher_is_better"] is False


HOLES = GRID.replace("[0.0, 1.0]}", "[0.0, 1.0, 2.0]}") + "exclude: [{bridge.amount: 1.0, decoder.slow: 2.0}]\n"


def test_levels_of_a_grid_with_holes_are_compared_on_the_same_settings():
    """Without matching, level 0.0 of A would have a mean of 40 more, of a setting that level 1.0 does not have."""
    plan = plan_of(HOLES)
    values = {("0.0", "2.0"): 100.0, ("0.0", "0.0"): 1.0, ("0.0", "1.0"): 2.0, ("1.0", "0.0"): 3.0, ("1.0", "1.0"): 8.0}
    found = analysed(plan, saved(plan, lambda trial: (values[level(trial, A), level(trial, B)] + SCENES).tolist()))
    first, second = (only(found["main_effects"], axis=axis) for axis in (A, B))
    means = [one["mean"] - SCENES.mean() for one in first["levels"]]
    assert means == pytest.approx([1.5, 5.5])
    assert ([one["rows"] for one in first["levels"]], first["settings"]) == ([2, 2], 2)
    # Of B either two levels in two settings or three in one: four rows beat three, and the third level is named.
    assert ([one["label"] for one in second["levels"]], second["left_out"]) == (["0.0", "1.0"], ["2.0"])
    assert "- decoder.slow on box@t-colours: 2.0" in "\n".join(markdown_parts(found))
    (pair,) = found["interactions"]
    assert (pair["labels"], pair["left_out"]) == ([["0.0", "1.0"], ["0.0", "1.0"]], [[], ["2.0"]])


def test_axes_that_never_agree_elsewhere_have_no_main_effect():
    text = GRID.partition("grid:")[0] + (
        "include: [{bridge.amount: 0.0, decoder.slow: 0.0}, {bridge.amount: 1.0, decoder.slow: 1.0}]\n"
    )
    plan = plan_of(text)
    found = analysed(plan, saved(plan, lambda trial: SCENES.tolist()))
    assert (found["main_effects"], found["interactions"], found["leave_one_out"]) == ([], [], [])
    assert terminal_lines(found) == []


def test_a_trial_that_failed_has_a_row_and_no_part_in_means():
    plan = plan_of()

    def some(trial):
        return None if (level(trial, A), level(trial, B)) == ("1.0", "1.0") else crossed(trial)

    found = analysed(plan, saved(plan, some))
    lost = found["rows"][3]
    assert (lost["values"], lost["seconds_per_sample"], len(found["rows"])) == ({}, None, 4)
    trial = only(found["trials"], row=lost["id"])
    assert (trial["status"], trial["reason"]) == ("failed", "made up")
    effect = only(found["main_effects"], axis=A)
    assert [one["mean"] for one in effect["levels"]] == pytest.approx([1.0, 3.0])
    assert found["interactions"] == []


def test_a_trial_that_never_ran_is_missing():
    plan = plan_of()
    found = analysed(plan, ResultStore(None))
    assert {trial["status"] for trial in found["trials"]} == {"missing"}
    assert (found["main_effects"], found["pareto"], found["leave_one_out"]) == ([], [], [])
    json.loads(analysis_json(found))


def test_several_seeds_have_a_spread_and_one_interval():
    plan = plan_of(GRID + "seeds: [0, 1, 2]\n")
    found = analysed(plan, saved(plan, lambda trial: (SCENES + trial.selection.seed).tolist()))
    value = found["rows"][0]["values"]["noun-f1"]
    assert value["seeds"] == 3
    assert (value["mean"], value["spread"]) == pytest.approx((SCENES.mean() + 1, 1.0))
    assert (value["interval"], value["low"] < value["mean"] < value["high"]) == ("scenes", True)
    assert len(found["rows"]) == 4
    assert len(found["rows"][0]["trials"]) == 3
    one = analysed(plan_of(), saved(plan_of(), crossed))["rows"][0]["values"]["noun-f1"]
    assert (one["seeds"], one["spread"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("seeds", "known"), [pytest.param("[0]", False, id="one"), pytest.param("[0, 1, 2]", True, id="three")]
)
def test_a_metric_without_values_of_samples_has_means_and_no_p(seeds, known):
    plan = plan_of(GRID + f"seeds: {seeds}\n")
    offsets = {0: 0.0, 1: 0.3, 2: -0.1}
    store = saved(plan, lambda trial: [float(level(trial, A)) + offsets[trial.selection.seed]] * 3, samples=False)
    found = analysed(plan, store)
    effect = only(found["main_effects"], axis=A)
    assert effect["range"] == pytest.approx(1.0)
    assert (effect["p"], effect["p_corrected"]) == (None, None)
    assert found["interactions"][0]["p"] is None
    assert all(
        change["p"] is None and "no value for single samples" in change["reason"]
        for change in found["leave_one_out"][0]["changes"]
    )
    low = effect["levels"][0]["low"]
    if known:
        assert low == pytest.approx(over_seeds(list(offsets.values())).low)
        assert found["rows"][0]["values"]["noun-f1"]["interval"] == "seeds"
    else:
        assert low is None
        assert found["rows"][0]["values"]["noun-f1"]["interval"] is None
    assert found["correction"]["sentence"] == "Nothing was tested, so nothing was corrected."


def test_axes_that_are_walked_together_are_no_pair():
    text = GRID.partition("grid:")[0] + (
        "zip: [{bridge.amount: [0.0, 1.0], decoder.slow: [0.0, 1.0]}]\ngrid: {backbone.grid: [2, 4]}\n"
    )
    plan = plan_of(text)
    found = analysed(plan, saved(plan, lambda trial: (SCENES + float(level(trial, A))).tolist()))
    assert only(found["main_effects"], axis=A)["range"] == pytest.approx(1.0)
    assert [one["axes"] for one in found["interactions"]] == [["backbone.grid", A], ["backbone.grid", B]]
    assert {change["axis"] for change in found["leave_one_out"][0]["changes"]} == {"backbone.grid", A, B}


def test_perturbed_regions_are_curves_and_have_no_part_in_effects():
    plan = plan_of(GRID + "robustness: {jitter: [0.1, 0.2]}\n")
    amounts = {None: 0.0, "jitter=0.1": 1.0, "jitter=0.2": 2.0}

    def falling(trial):
        asked = trial.selection.ref.perturbation
        return (np.array(crossed(trial)) - amounts[asked.label if asked else None]).tolist()

    found = analysed(plan, saved(plan, falling))
    assert {one["data"] for one in found["main_effects"]} == {"box@t-colours"}
    assert found["data"] == ["box@t-colours", "box@t-colours~jitter=0.1", "box@t-colours~jitter=0.2"]
    assert len(found["rows"]) == 12
    (curves,) = found["robustness"]
    rows = {row["id"]: row for row in found["rows"]}
    for one in curves["series"]:
        clean = rows[one["row"]]
        assert clean["data"] == "box@t-colours"
        value = clean["values"]["noun-f1"]["mean"]
        assert (one["amounts"], one["values"]) == ([0.0, 0.1, 0.2], pytest.approx([value, value - 1, value - 2]))
        assert one["area"] == pytest.approx(value - 1)


def test_half_characters_of_names_do_not_keep_an_analysis_from_being_written(tmp_path):
    """A folder whose name is no UTF-8 stands in the command; a run must not end in a traceback for it."""
    plan = plan_of()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run \xff \xe9"))
    folder.mkdir()
    found = analyse(plan, saved(plan, crossed), [], folder)
    write_reports(folder, plan, saved(plan, crossed), [], found)
    read = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    assert read["command"].endswith("run \udcff \udce9'")
    assert read["rows"] == found["rows"]


def test_equal_results_give_equal_bytes_and_times_stand_apart():
    plan = plan_of()
    first, second = (
        analysed(plan, saved(plan, crossed, seconds=lambda trial, spent=spent: {"decoder": spent, "trial": spent}))
        for spent in (1.0, 2.0)
    )
    assert analysis_json(first) == analysis_json(
        analysed(plan, saved(plan, crossed, seconds=lambda trial: {"decoder": 1.0, "trial": 1.0}))
    )
    assert analysis_json(first) != analysis_json(second)
    assert analysis_json(without_times(first)) == analysis_json(without_times(second))
    assert markdown_parts(first) == markdown_parts(second)


def test_a_terminal_shows_at_most_25_lines():
    text = GRID.replace("data: [box@t-colours]", "data: [box@t-colours, point@t-colours, image@t-colours]")
    plan = plan_of(
        text.replace("decoder.slow: [0.0, 1.0]", "decoder.slow: [0.0, 1.0, 2.0, 3.0], backbone.grid: [2, 4, 8]")
    )
    store = saved(plan, lambda trial: (SCENES + 2 * float(level(trial, A)) + 0.1 * float(level(trial, B))).tolist())
    lines = terminal_lines(analysed(plan, store))
    assert 10 < len(lines) <= 25
    assert lines[2].split()[:5] == [A, "box@t-colours", "noun-f1", "1.0", f"{SCENES.mean() + 2.15:.3f}"]
    assert any(line.endswith("more in results.md") for line in lines)


def test_the_command_writes_prints_and_returns_the_analysis(tmp_path):
    text = GRID.replace("[noun-f1]", "[noun-f1, bleu]").replace(
        "decoder.slow: [0.0, 1.0]", "region_encoder: [t-pool, t-global]"
    )
    path, out = write(tmp_path, "summary: What does what?\n" + text), tmp_path / "out"
    arguments = [str(path), "--out", str(out), "--set", "seeds=[0, 1]", "--limit", "4"]
    shown = CliRunner().invoke(commands.ablate, arguments).stdout
    assert "What mattered: means over matched rows, strongest first\n" in shown
    assert "the best row, 0.0, t-pool, changed in one axis\n" in shown
    report = (out / "results.md").read_text()
    for title in ("## What mattered", "## One change at a time", "## Interactions"):
        assert f"\n{title}\n" in report
    told = json.loads((out / "analysis.json").read_text())
    assert told["question"] == "What does what?"
    assert told["command"] == f"toolkit ablate {path} --set limit=4 --set 'seeds=[0, 1]' --out {out}"
    assert {one["column"] for one in told["main_effects"]} == {"noun-f1", "bleu-1", "bleu-2", "bleu-3", "bleu-4"}
    assert only(told["main_effects"], axis="region_encoder", column="bleu-1")["p"] < 0.05
    again = CliRunner().invoke(commands.ablate, [*arguments, "--json"]).stdout
    printed = json.loads(again[again.index("{") :])["analysis"]
    assert printed == without_times(told)


def test_the_resolved_file_leads_to_the_same_trials(tmp_path, monkeypatch):
    text = GRID + (
        "summary: 'yes: 1e-4'\nlimit: 3\nclaims: [{say: 'bridge.amount=1.0 > bridge.amount=0.0', on: box@t-colours, "
        "by: noun-f1, must: false}]\nexclude: [{decoder.slow: 1.0, bridge.amount: '1.0'}]\n"
    )
    path = write(tmp_path, text)
    plan = plan_ablation(path, ["seeds=[3, 4]"])
    found = analysed(plan, ResultStore(None))
    again = tmp_path / "resolved.yaml"
    again.write_text(found["provenance"]["resolved"])
    other = plan_ablation(again)
    assert [trial.id for trial in other.trials] == [trial.id for trial in plan.trials]
    assert other.spec.claims == plan.spec.claims
    assert other.document.data == plan.document.data


def test_the_provenance_names_what_had_a_part(tmp_path):
    plan = plan_of()
    found = analysed(plan, saved(plan, crossed))["provenance"]
    assert {"python", "platform", "torch", "numpy"} <= found["versions"].keys()
    assert only(found["components"], kind="bridge")["name"] == "t-shift"
    assert only(found["components"], kind="metric")["license"] == "Apache-2.0"
    assert [one["kind"] for one in found["components"]][:4] == ["backbone", "region_encoder", "bridge", "decoder"]
    (data,) = found["data"]
    assert (data["label"], data["dataset"], data["split"]) == ("box@t-colours", "t-colours", "test")
    assert data["fingerprints"] == {"0": plan.trials[0].selection.fingerprint}
    assert found["code"] == [plan.trials[0].config["code"]]


def test_a_run_of_one_pipeline_is_analysed_too(tmp_path):
    path, out = tmp_path / "pipe.yaml", tmp_path / "out"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    arguments = [str(path), "--data", "box@t-colours", "--seed", "1", "--limit", "2", "--metrics", "noun-f1"]
    result = CliRunner().invoke(run_command.run, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    told = json.loads((out / "analysis.json").read_text())
    wanted = f"toolkit run {path} --data box@t-colours --metrics noun-f1 --seed 1 --limit 2 --out {out}"
    assert told["command"] == wanted
    assert (told["varied"], told["main_effects"], len(told["rows"])) == ([], [], 1)
    with ResultStore(out / DATABASE) as store:
        assert store.notes(told["trials"][0]["id"]) == tuple(told["trials"][0]["notes"])
        assert store.notes("nobody") == ()
    CliRunner().invoke(run_command.run, [*arguments, "--set", "bridge.amount=0.5", "--out", str(out)])
    told = json.loads((out / "analysis.json").read_text())
    assert told["command"] == f"toolkit ablate resolved.yaml --out {out}", "options have no words of their own"
    assert "amount: 0.5" in told["provenance"]["resolved"]


def test_the_provenance_names_weights_with_hash_and_licence(tmp_path):
    path = tmp_path / "mini.yaml"
    path.write_text("version: 1\nbase: mini\ndata: [box@mini]\nmetrics: [noun-f1]\nlimit: 2\n")
    plan = plan_ablation(path)
    found = analysed(plan, ResultStore(None))["provenance"]
    assert {one["component"] for one in found["weights"]} >= {"mini-dense", "decap"}
    assert all(one["file"] and one["sha256"] and one["license"] for one in found["weights"])
    again = tmp_path / "resolved.yaml"
    again.write_text(found["resolved"])
    assert [trial.id for trial in plan_ablation(again).trials] == [trial.id for trial in plan.trials]


def test_holm_is_the_hand_computed_example():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_pseudo_values_of_a_mean_are_the_means_of_scenes():
    rows = statistics.Evidence.of_mean([1.0, 3.0, 2.0, 6.0]).grouped([0, 0, 1, 1])
    assert group_values(rows) == pytest.approx([2.0, 4.0])
