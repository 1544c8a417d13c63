"""Robustness as an axis: what files say, which trials there are, what pipelines and metrics see, and the curves."""

from __future__ import annotations

import json
import math

import ablation_fakes
import numpy as np
import pytest
from ablation_fakes import BASE, write
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import ConfigError
from regionkit.core.perturbing import Perturbation, perturb
from regionkit.core.regions import Mask
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.statistics import Evidence, intervals
from regionkit.plugins.ablation import commands, run_command
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.robustness import area_under, robustness_curves, robustness_text, shares
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Runner
from regionkit.plugins.regionvlm.points import PointRule, region_points
from regionkit.registry.recorded import recorded_data

DATA = "data: [box@t-colours, point@t-colours]\nmetrics: [noun-f1]\n"
SHIFT = DATA.replace("box@t-colours, ", "") + "robustness: {shift-points: [0.2, 0.6]}\n"


def mistakes(folder, text):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(folder, text))
    return [(problem.path, problem.message, *problem.hints) for problem in error.value.problems]


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def run(plan, store):
    return Runner(plan, store, Silent(), RunOptions(device="cpu")).run()


def labels(plan):
    return list(dict.fromkeys(trial.selection.ref.label for trial in plan.trials))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[0.1]", ("robustness", "must map perturbations to lists of amounts"), id="list"),
        pytest.param(
            "{jiter: [0.1]}", ("robustness.jiter", "no perturbation 'jiter'", "did you mean: jitter"), id="kind"
        ),
        pytest.param("{jitter: []}", ("robustness.jitter", "needs a list of amounts"), id="no-amounts"),
        pytest.param("{jitter: {seed: 1}}", ("robustness.jitter.amounts", "needs a list of amounts"), id="no-key"),
        pytest.param("{jitter: [0.1, -1]}", ("robustness.jitter.1", "'-1' is no number of 0 or more"), id="negative"),
        pytest.param("{jitter: [.inf]}", ("robustness.jitter.0", "'inf' is no number of 0 or more"), id="infinite"),
        pytest.param("{jitter: [a]}", ("robustness.jitter.0", "'a' is no number of 0 or more"), id="word"),
        pytest.param(
            "{shrink: 0.7}",
            ("robustness.shrink.0", "0.7 is more than shrink can do: amounts go up to 0.5"),
            id="too-much",
        ),
        pytest.param("{jitter: [0.1, 0.10]}", ("robustness.jitter.1", "the amount 0.1 is listed twice"), id="twice"),
        pytest.param(
            "{jitter: {amounts: [0.1], sed: 1}}",
            ("robustness.jitter.sed", "unknown key", "did you mean: seed", "a perturbation has: amounts, seed"),
            id="key",
        ),
        pytest.param("{jitter: {amounts: [0.1], seed: -1}}", ("robustness.jitter.seed", "'-1' is no seed"), id="seed"),
        pytest.param(
            "{dilate: {amounts: [0.1], seed: 1}}",
            ("robustness.dilate.seed", "dilate draws nothing, so it has no seed"),
            id="no-draws",
        ),
    ],
)
def test_mistakes_are_told_where_they_stand(tmp_path, text, expected):
    (found,) = mistakes(tmp_path, f"{DATA}robustness: {text}\n")
    assert found[: len(expected)] == expected


def test_a_list_without_end_is_refused(tmp_path):
    ((path, message),) = mistakes(tmp_path, f"{DATA}robustness: {{jitter: {[at / 100 for at in range(1, 52)]}}}\n")
    assert (path, message) == ("robustness.jitter", "51 amounts are more than the 50 that one perturbation may have")


def test_a_mistake_names_its_line(tmp_path):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, DATA + "robustness:\n  jitter: [0.1, no]\n"))
    assert "ablation.yaml:10: robustness.jitter.1: 'False' is no number of 0 or more" in str(error.value)


def test_every_data_set_runs_as_it_is_and_with_each_amount(tmp_path):
    text = DATA + "robustness: {jitter: [0.2, 0, 0.1], shift-points: {amounts: 0.5, seed: 3}}\nseeds: [0, 1]\n"
    plan = plan_ablation(write(tmp_path, text))
    assert labels(plan) == [
        "box@t-colours",
        "box@t-colours~jitter=0.1",
        "box@t-colours~jitter=0.2",
        "point@t-colours",
        "point@t-colours~shift-points=0.5(seed=3)",
    ]
    assert len(plan.trials) == len({trial.id for trial in plan.trials}) == 10
    told = {(one.data, one.reason) for one in plan.refused}
    assert ("box@t-colours~shift-points=0.5(seed=3)",
            "shift-points changes trace, point regions, and box@t-colours has box") in told  # fmt: skip
    assert ("point@t-colours~jitter=0.1",
            "jitter changes box, box-set, trace, point regions of more than one point, and point@t-colours has point"
            ) in told  # fmt: skip
    assert sum(one.count for one in plan.refused) == 6


def test_trials_on_clean_data_are_the_ones_without_robustness(tmp_path):
    without = plan_ablation(write(tmp_path, DATA))
    plan = plan_ablation(write(tmp_path, DATA + "robustness: {dilate: [0.5]}\n"))
    clean = [trial.id for trial in plan.trials if trial.selection.clean is None]
    assert clean == [trial.id for trial in without.trials]
    stored = [trial.config["data"].get("perturbation") for trial in plan.trials]
    assert stored == [None, {"kind": "dilate", "amount": 0.5}, None]
    assert "perturbation" not in plan.trials[0].config["data"]
    assert len({trial.selection.key for trial in plan.trials}) == 3


def test_patterns_and_claims_know_the_labels(tmp_path):
    claim = {
        "say": "region_encoder=t-pool > region_encoder=t-global",
        "by": "noun-f1",
        "on": "box@t-colours~jitter=0.2",
    }
    text = DATA + "grid: {region_encoder: [t-pool, t-global]}\nrobustness: {jitter: [0.1, 0.2]}\n"
    text += 'exclude: [{data: "*~jitter=0.1"}, {data: "point*"}]\n'
    plan = plan_ablation(write(tmp_path, text + f"claims: [{json.dumps(claim)}]\n"))
    assert labels(plan) == ["box@t-colours", "box@t-colours~jitter=0.2"]
    assert plan.refused == []  # what is excluded is not refused as well
    claim["on"] = "box@t-colours~jitter=0.3"
    ((path, message, *hints),) = mistakes(tmp_path, text + f"claims: [{json.dumps(claim)}]\n")
    assert (path, message) == ("claims.0.on", f"no data set of this ablation is called '{claim['on']}'")
    assert hints[0].startswith("did you mean: box@t-colours~jitter=0.")


def test_pipelines_see_perturbed_regions_and_metrics_the_true_ones(tmp_path, monkeypatch):
    judged, rows = [], {}
    update = ablation_fakes.Lengths.update_from
    monkeypatch.setattr(
        ablation_fakes.Lengths,
        "update_from",
        lambda self, samples, captions: (
            judged.append([one.region for one in samples]),
            update(self, samples, captions),
        ),
    )
    plan = plan_ablation(write(tmp_path, SHIFT.replace("noun-f1", "noun-f1, t-lengths")))
    with ResultStore(None) as store:
        assert not run(plan, store).failed
        for trial in plan.trials:
            rows[trial.selection.ref.label] = [row.caption for row in store.captions(trial.id)]
        scores = [store.scores(trial.id)["noun-f1"][0] for trial in plan.trials]
    clean, *others = (trial.selection for trial in plan.trials)
    truth = [sample.region for sample in clean.samples]
    assert judged == [truth, truth, truth]
    for selection in others:
        assert selection.truth is clean.samples
        given = [sample.region for sample in selection.samples]
        assert all(new != old for new, old in zip(given, truth, strict=True))
    # The fakes name the colour under a click, wherever it is.
    for selection in (clean, *others):
        under = [_under(sample) for sample in selection.samples]
        assert rows[selection.ref.label] == [f"a {name} thing" for name in under]
        right = [name == one.info["nouns"][0] for name, one in zip(under, selection.truth, strict=True)]
        assert scores.pop(0) == pytest.approx(sum(right) / len(right))
    assert not all(right)


def _under(sample):
    ((x, y),) = sample.region.points
    return ablation_fakes._colours(sample.image_id)[min(int(x / 24), 1) + 2 * min(int(y / 24), 1)]


def test_a_recorded_trial_gives_the_same_samples_again(tmp_path):
    trial = plan_ablation(write(tmp_path, SHIFT)).trials[2]
    again = recorded_data(json.loads(json.dumps(trial.config)))
    assert list(again.samples) == list(trial.selection.samples)
    assert list(again.samples) != list(trial.selection.truth)


def test_metrics_of_tasks_hold_for_perturbed_data_too(tmp_path):
    text = "data: [box@mini]\nlimit: 2\nrobustness: {jitter: [0.1]}\n".replace("box@mini", "box@t-colours")
    plan = plan_ablation(write(tmp_path, text))
    assert list(plan.own) == ["box@t-colours"]
    clean, jittered = (plan.metrics_of(trial.selection) for trial in plan.trials)
    assert [ref.label for ref in clean] == [ref.label for ref in jittered] != []


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8, unique=True).map(sorted), st.data())
def test_the_area_is_a_mean_of_the_values(amounts, data):
    values = data.draw(st.lists(st.floats(-5, 5), min_size=len(amounts), max_size=len(amounts)))
    assert shares(amounts).sum() == pytest.approx(1)
    expected = np.trapezoid(values, amounts) if hasattr(np, "trapezoid") else np.trapz(values, amounts)
    assert area_under(amounts, values) * (amounts[-1] - amounts[0]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("amounts", [pytest.param([0.0], id="one"), pytest.param([0.0, 0.2, 0.1], id="falling")])
def test_no_area_without_a_range(amounts):
    with pytest.raises(ValueError, match="amounts must ascend"):
        area_under(amounts, [1.0] * len(amounts))


def stored(plan, store, values, unjudged=()):
    """Store values of single samples for each trial, two samples a picture."""
    for trial, scores in zip(plan.trials, values, strict=True):
        rows = tuple(SampleRow(f"s{at}", f"p{at // 2}", "x", "", "box", 1.0) for at in range(len(scores)))
        metric = MetricRow("noun-f1", float(np.mean(scores)), "sig", True, tuple(scores), None, {}, "noun-f1", "")
        selection = trial.selection
        store.save(
            TrialResult(trial.id, selection.ref.label, selection.seed, trial.config, "done", "", rows, (metric,), {})
        )


def test_curves_by_hand(tmp_path):
    plan = plan_ablation(write(tmp_path, DATA.replace(", point@t-colours", "") + "robustness: {jitter: [0.1, 0.4]}\n"))
    table = np.random.default_rng(0).random((3, 40)) * [[1.0], [0.8], [0.4]]
    with ResultStore(None) as store:
        stored(plan, store, table.tolist())
        (curve,) = robustness_curves(plan, store)
        text = robustness_text([curve], plan)
    (series,) = curve.pop("series")
    assert curve == {"data": "box@t-colours", "perturbation": "jitter", "column": "noun-f1"}
    means = table.mean(1)
    weights = np.array([0.05, 0.2, 0.15]) / 0.4
    assert series["amounts"] == [0.0, 0.1, 0.4]
    assert series["values"] == pytest.approx(means.tolist())
    assert series["area"] == pytest.approx(float(weights @ means))
    assert series["kept"] == pytest.approx(float(weights @ means / means[0]))
    assert (series["row"], series["region_encoder"]) == ("r1", "t-pool")
    # The same scenes at every amount: the area of a scene is a sample of its own.
    alone = Evidence.of_mean((weights @ table).tolist()).grouped([at // 2 for at in range(40)])
    assert (series["area_low"], series["area_high"]) == pytest.approx(intervals({"": alone})[""])
    assert series["kept_low"] < series["kept"] < series["kept_high"]
    assert all(low < value < high for low, value, high in zip(series["low"], means, series["high"], strict=True))
    head = " ".join(text[0].splitlines()[2].split())
    assert head == "| region_encoder | data | metric | 0 | 0.1 | 0.4 | area | kept |"
    assert f"{series['area']:.3f} [{series['area_low']:.3f}, {series['area_high']:.3f}]" in text[0]


def test_a_curve_over_seeds_pools_them(tmp_path):
    text = DATA.replace(", point@t-colours", "") + "robustness: {jitter: [0.1]}\nseeds: [0, 1]\n"
    plan = plan_ablation(write(tmp_path, text))
    with ResultStore(None) as store:
        stored(plan, store, [[1.0, 0.5, 1.0, 0.75]] * 2 + [[0.5, 0.5, 0.25, 0.0]] * 2)
        ((series,),) = [curve["series"] for curve in robustness_curves(plan, store)]
    assert series["values"] == pytest.approx([0.8125, 0.3125])
    assert series["kept"] == pytest.approx(0.5625 / 0.8125)


def test_what_is_missing_is_unknown(tmp_path):
    plan = plan_ablation(write(tmp_path, DATA.replace(", point@t-colours", "") + "robustness: {jitter: [0.1, 0.4]}\n"))
    with ResultStore(None) as store:
        assert robustness_curves(plan, store) == []
        stored(plan, store, [[0.0, 0.0, 0.0]] * 3)
        ((series,),) = [curve["series"] for curve in robustness_curves(plan, store)]
        assert (series["area"], series["kept"]) == (0.0, None)
    plan.trials.append(plan.trials.pop(0))
    with ResultStore(None) as store:
        first = plan.trials[0]
        one = TrialResult(first.id, "box", 0, first.config, "failed", "broken", (), (), {})
        store.save(one)
        plan.trials, rest = plan.trials[1:], plan.trials[:1]
        stored(plan, store, [[0.5, 0.25, 0.5]] * 2)
        plan.trials += rest
        (curve,) = robustness_curves(plan, store)
        (series,) = curve["series"]
        assert series["values"].count(None) == 1
        assert (series["area"], series["kept"], series["area_low"]) == (None, None, None)
        assert robustness_text([curve], plan)[0].count("| - ") == 3


def test_the_command_line_asks_for_perturbations(tmp_path):
    pipeline = tmp_path / "p.yaml"
    parts = BASE.replace("base:\n", "").replace("\n  ", "\n").replace("version: 1", "version: 1\nsummary: x")
    pipeline.write_text(parts.replace("  backbone", "backbone"))
    asked = ["--data", "point@t-colours", "--metrics", "noun-f1", "--robustness", "shift-points=0.2, 0.6", "--json"]
    result = CliRunner().invoke(run_command.run, [str(pipeline), *asked])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [trial["data"] for trial in found["trials"]] == [
        "point@t-colours",
        "point@t-colours~shift-points=0.2",
        "point@t-colours~shift-points=0.6",
    ]
    ((series,),) = [curve["series"] for curve in found["robustness"]]
    assert series["values"][0] == 1.0 > series["kept"]
    assert math.isclose(series["area"], area_under([0, 0.2, 0.6], series["values"]))
    wrong = CliRunner().invoke(run_command.run, [str(pipeline), *asked[:4], "--robustness", "shift=0.2"])
    assert str(wrong.exception).startswith("--robustness: robustness.shift: no perturbation 'shift'")


def test_the_report_has_the_table(tmp_path):
    result = CliRunner().invoke(commands.ablate, [str(write(tmp_path, SHIFT)), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Regions perturbed, shift-points:" in result.stdout
    report = (tmp_path / "out" / "results.md").read_text()
    assert "## Robustness\n\nRegions perturbed, shift-points:\n\n| region_encoder |" in report
    assert "kept: that by the score at 0" in report
    clean = CliRunner().invoke(commands.ablate, [str(write(tmp_path, DATA)), "--out", str(tmp_path / "clean")])
    assert "perturbed" not in clean.stdout
    assert "Robustness" not in (tmp_path / "clean" / "results.md").read_text()


@pytest.mark.parametrize("side", [3, 7, 15])
def test_dilation_by_pixels_is_the_protocol_of_noisy_scribbles(side):
    """Points drawn from a mask that the task dilates are those of a model that dilates masks itself."""
    bitmap = np.zeros((40, 50), dtype=np.bool_)
    bitmap[12:20, 22:31] = True
    given = perturb(Mask(bitmap), Perturbation("dilate-pixels", side), None)
    own = region_points(Mask(bitmap), (50, 40), PointRule(dilate=side))
    assert np.array_equal(region_points(given, (50, 40), PointRule()), own)
