from __future__ import annotations

import csv
import itertools
import json

import ablation_fakes
import pytest
from ablation_fakes import BASE, FORWARDS, write
from click.testing import CliRunner
from rich.console import Console

from regionkit.core.errors import ConfigError, RegionkitError, RunFailed
from regionkit.core.results import ResultStore
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.plugins.ablation import commands, run_command
from regionkit.plugins.ablation.display import LiveTable
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Progress, Runner, running_order
from regionkit.plugins.ablation.trial_runner import check_weights
from regionkit.registry.weights.index import content_hash

GRID = """\
data: [box@t-colours, point@t-colours]
metrics: [cider-d, noun-f1]
grid:
  backbone: [{name: t-grid, grid: [2, 4]}]
  region_encoder: [t-pool, t-global]
  bridge: [none, {name: t-shift, amount: [0.0, 0.4]}]
seeds: [0, 1]
"""


def call(command, *arguments, fails=None):
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    if fails is not None:
        assert isinstance(result.exception, fails), result.output
        return result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def records(out):
    return list(csv.DictReader((out / "results.csv").read_text().splitlines()))


class Silent(Progress):
    def start(self, plan, todo):
        self.todo = list(todo)

    def trial_started(self, trial): ...

    def trial_finished(self, trial, result): ...

    def stop(self): ...


def run(plan, store=None, **options):
    return Runner(plan, store or ResultStore(None), Silent(), RunOptions(device="cpu", **options)).run()


def test_every_picture_goes_once_through_each_backbone(tmp_path):
    plan = plan_ablation(write(tmp_path, GRID))
    assert len(plan.trials) == 2 * 3 * (2 + 1) * 2
    run(plan)
    pictures = {sample.image_id for trial in plan.trials for sample in trial.selection.samples}
    assert {grid: sum(sizes) for grid, sizes in FORWARDS.items()} == {2: len(pictures), 4: len(pictures)}


def test_features_that_find_no_room_are_computed_again(tmp_path):
    plan = plan_ablation(write(tmp_path, GRID))
    with ResultStore(None) as roomy, ResultStore(None) as tight, ResultStore(None) as none:
        run(plan, roomy)
        once = sum(map(sum, FORWARDS.values()))
        run(plan, tight, feature_bytes=4000)
        some = sum(map(sum, FORWARDS.values())) - once
        run(plan, none, feature_bytes=0)
        most = sum(map(sum, FORWARDS.values())) - once - some
        assert once < some < most
        for trial in plan.trials:
            assert roomy.captions(trial.id) == tight.captions(trial.id) == none.captions(trial.id)


def test_a_trial_is_what_its_pipeline_says_alone(tmp_path):
    """Sharing changes nothing: the captions equal those of pipeline.caption, picture by picture."""
    from regionkit.registry.assembly import build_pipeline

    plan = plan_ablation(write(tmp_path, GRID))
    with ResultStore(None) as store:
        run(plan, store)
        for trial in plan.trials[::5]:
            pipeline = build_pipeline(trial.combination.plan, device="cpu")
            for row, sample in zip(store.captions(trial.id), trial.selection.samples, strict=True):
                image = trial.selection.dataset.image(sample.image_id)
                assert row.caption == pipeline.caption(image, [sample.region])[0].text


def test_neighbours_share_and_the_order_of_the_file_is_kept_otherwise(tmp_path):
    order = running_order(plan_ablation(write(tmp_path, GRID)).trials)
    rows = [
        (
            t.combination.labels["backbone"],
            t.selection.seed,
            t.selection.ref.task,
            t.combination.labels["region_encoder"],
        )
        for t in order
    ]
    assert rows[0] == ("t-grid(grid=2)", 0, "box", "t-pool")
    changes = [sum(a[at] != b[at] for a, b in itertools.pairwise(rows)) for at in range(4)]
    assert changes[:3] == [1, 3, 7]


def test_running_again_is_resuming(tmp_path):
    file, out = write(tmp_path, GRID), tmp_path / "out"
    first = call(commands.ablate, file, "--out", out)
    assert first.exit_code == 0
    assert "36 trials to run, 12 cannot run" in first.output
    before = {path.name: path.read_bytes() for path in out.glob("results.[cm]*")}
    FORWARDS.clear()
    again = call(commands.ablate, file, "--out", out, "--json")
    assert FORWARDS == {}
    assert {path.name: path.read_bytes() for path in out.glob("results.[cm]*")} == before
    assert (json.loads(again.stdout)["ran"], json.loads(again.stdout)["resumed"]) == (0, 36)
    wider = call(commands.ablate, file, "--out", out, "--json", "--set", "seeds=[0, 1, 2]")
    assert (json.loads(wider.stdout)["ran"], json.loads(wider.stdout)["resumed"]) == (18, 36)


def test_the_reports_say_what_was_run_and_what_was_not(tmp_path):
    out = tmp_path / "out"
    shown = call(commands.ablate, write(tmp_path, GRID), "--out", out).stdout
    assert "\nunbridged: vectors of the image space enter a decoder of the text space as they are.\n" in shown
    rows = records(out)
    assert len(rows) == 36
    assert rows[0]["bridge"] == "none"
    assert rows[0]["unbridged"] == "True"
    assert float(rows[0]["noun-f1"]) == 1.0
    report = (out / "results.md").read_text()
    assert "Colours prove nothing." in report
    assert "| t-grid(grid=2) | t-pool         | none                | box@t-colours   | 5.000 ± 0.000" in report
    assert "unbridged |" in report
    assert "t-global does not take point regions; it takes: box, image" in report
    assert "`cider-d|variant=release|sigma=6|tokeniser=ptb|idf=references:" in report


def test_a_trial_that_fails_is_recorded_and_the_others_run(tmp_path):
    file, out = write(tmp_path, GRID.replace("[0.0, 0.4]", "[0.0, -1.0]")), tmp_path / "out"
    result = call(commands.ablate, file, "--out", out)
    assert result.exit_code == 1
    assert "no sample could be captioned; the first: the shift is negative" in result.output
    rows = records(out)
    assert {row["bridge"]: row["status"] for row in rows} == {
        "none": "done",
        "t-shift(amount=0.0)": "done",
        "t-shift(amount=-1.0)": "failed",
    }
    assert "## Failures" in (out / "results.md").read_text()
    again = call(commands.ablate, file, "--out", out, "--json")
    assert (again.exit_code, json.loads(again.stdout)["ran"]) == (1, 12)


def test_a_run_can_stop_at_the_first_error(tmp_path):
    file, out = write(tmp_path, GRID.replace("[0.0, 0.4]", "[-1.0, 0.0]")), tmp_path / "out"
    error = call(commands.ablate, file, "--out", out, "--set", "on_error=stop", fails=RunFailed)
    assert "on_error is stop: the shift is negative" in error.message
    assert error.exit_code == 1
    rows = records(out)
    assert {row["status"] for row in rows} == {"done", "failed", "missing"}


def test_bad_samples_are_recorded_with_their_reason(tmp_path):
    text = GRID.replace("box@t-colours", "{task: box, name: t-colours, broken: true}")
    out = tmp_path / "out"
    result = call(commands.ablate, write(tmp_path, text), "--out", out)
    assert result.exit_code == 1
    assert "4 samples failed; the first, test/0/1/box/0: picture test/0/1 is damaged" in result.output
    rows = records(out)
    assert {(row["data"], row["samples"], row["failed"]) for row in rows} == {
        ("box@t-colours(broken=true)", "24", "4"),
        ("point@t-colours", "24", "0"),
    }
    assert {row["status"] for row in rows} == {"done"}


def test_one_bad_region_does_not_take_its_batch_along(tmp_path, monkeypatch):
    from regionkit.core.errors import RegionError

    encode = ablation_fakes.Pool.encode

    def picky(self, scene, regions):
        if any(region.kind == "box" and region.x1 > 20 and region.y1 > 20 for region in regions.items):
            raise RegionError("the last box is refused")
        return encode(self, scene, regions)

    monkeypatch.setattr(ablation_fakes.Pool, "encode", picky)
    plan = plan_ablation(write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n"))
    with ResultStore(None) as store:
        summary = run(plan, store)
        rows = store.captions(plan.trials[0].id)
    assert [row.sample for row in rows if row.caption is None] == [f"test/0/{n}/box/3" for n in range(6)]
    assert {row.error for row in rows if row.caption is None} == {"the last box is refused"}
    assert summary.bad_samples == {plan.trials[0].id: 6}
    assert sum(FORWARDS[4]) == 6, "the pictures are not encoded again for the regions that were tried alone"


CLAIMS = """claims:
  - {say: "region_encoder=t-pool > region_encoder=t-global", on: box@t-colours, by: [cider-d, noun-f1]}
  - {say: "bridge=t-shift(amount=0.4) > bridge=none", on: box@t-colours, by: cider-d, must: MUST}
"""


@pytest.mark.parametrize(
    ("must", "code", "verdict"),
    [pytest.param("false", 0, "recorded", id="recorded"), pytest.param("true", 1, "not shown", id="must-hold")],
)
def test_claims_decide_the_exit_code(tmp_path, must, code, verdict):
    out = tmp_path / "out"
    result = call(commands.ablate, write(tmp_path, GRID + CLAIMS.replace("MUST", must)), "--out", out)
    assert result.exit_code == code
    assert ("1 of 3 claims that must hold do not" in result.output) == bool(code)
    claims = json.loads((out / "claims.json").read_text())
    assert [claim["verdict"] for claim in claims] == ["holds", "holds", verdict]
    first = claims[0]
    assert (first["n"], first["groups"]) == (48, 12)
    assert first["low"] < first["difference"] < first["high"]
    assert first["p"] < 0.01
    assert "p < 0.05 and the stated direction" in (out / "claims.md").read_text()


def test_a_claim_on_trials_that_failed_is_undecided(tmp_path):
    text = GRID.replace("[0.0, 0.4]", "[-1.0]") + (
        'claims: [{say: "bridge=t-shift > bridge=none", on: box@t-colours, by: noun-f1}]\n'
    )
    result = call(commands.ablate, write(tmp_path, text), "--out", tmp_path / "out", "--json")
    claim = json.loads(result.stdout)["claims"][0]
    assert (result.exit_code, claim["verdict"], claim["reason"]) == (1, "undecided", "8 of 16 trials have no result")


def test_the_plan_lists_trials_without_running_any(tmp_path):
    file, out = write(tmp_path, GRID), tmp_path / "out"
    result = call(commands.ablate, file, "--out", out, "--plan")
    assert result.exit_code == 0
    assert f"36 trials, 0 done in {out}" in result.output
    assert "t-global does not take point regions" in result.output
    plain = json.loads(call(commands.ablate, file, "--out", out, "--plan", "--json").stdout)
    assert len(plain["trials"]) == 36
    assert plain["trials"][0]["axes"] == {"backbone": "t-grid(grid=2)", "region_encoder": "t-pool", "bridge": "none"}
    assert sum(one["trials"] for one in plain["refused"]) == 12
    assert FORWARDS == {}
    assert not out.exists()


def test_a_limit_counts_pictures(tmp_path):
    result = call(commands.ablate, write(tmp_path, GRID), "--out", tmp_path / "out", "--limit", 2, "--json")
    assert {trial["samples"] for trial in json.loads(result.stdout)["trials"]} == {8}


def test_run_scores_one_pipeline(tmp_path):
    path = tmp_path / "pipe.yaml"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    arguments = [path, "--data", "box@t-colours,point@t-colours", "--metrics", "noun-f1", "--seed", 3, "--limit", 2]
    result = call(run_command.run, *arguments, "--set", "backbone.grid=2")
    assert result.exit_code == 0
    header, _, row = (line for line in result.stdout.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.split("|")[1:-1]] == ["metric", "box@t-colours", "point@t-colours"]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["noun-f1", *["1.000 [1.000, 1.000]"] * 2]
    assert result.stdout.startswith("Pipeline: backbone t-grid, region_encoder ")
    assert "Colours prove nothing." in result.stdout
    assert list(tmp_path.iterdir()) == [path], "nothing is left behind without --out"


def test_run_names_its_options_in_messages(tmp_path):
    path = tmp_path / "pipe.yaml"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    error = call(run_command.run, path, "--data", "bax@t-colours", "--metrics", "noun-g1", fails=ConfigError)
    assert "--data: data.0: 't-colours' has no task 'bax'" in str(error)
    assert "did you mean: box" in str(error)
    assert "--metrics: metrics.0.name: no metric named 'noun-g1'" in str(error)


def test_the_live_table_shows_scores_and_the_time_left(tmp_path):
    plan = plan_ablation(write(tmp_path, GRID.replace("[0.0, 0.4]", "[0.0, -1.0]")))
    console = Console(record=True, force_terminal=True, width=160, file=(tmp_path / "screen").open("w"))
    with ResultStore(None) as store:
        Runner(plan, store, LiveTable(console), RunOptions(device="cpu")).run()
    console.file.close()
    shown = (tmp_path / "screen").read_text()
    for word in ("36 trials to run", "region_encoder", "cider-d", "5.000", "failed", "36/36", "0:00 left"):
        assert word in shown, word


def test_reports_that_cannot_be_written_are_told_and_the_results_stay(tmp_path):
    out = tmp_path / "out"
    (out / "results.md").mkdir(parents=True)
    path = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")
    error = call(commands.ablate, path, "--out", out, fails=RunFailed)
    assert "the reports cannot be written" in str(error)
    (out / "results.md").rmdir()
    assert "0 trials ran, 1 were done before" in call(commands.ablate, path, "--out", out).output


def test_what_ended_a_run_is_told_and_not_what_kept_the_reports_away(tmp_path, monkeypatch):
    def full(self, result):
        raise RunFailed("the disk is full")

    monkeypatch.setattr(ResultStore, "save", full)
    (tmp_path / "out" / "results.md").mkdir(parents=True)
    path = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")
    assert str(call(commands.ablate, path, "--out", tmp_path / "out", fails=RunFailed)) == "the disk is full"


def test_weights_that_change_during_a_run_spoil_no_result(tmp_path):
    (trial,) = plan_ablation(write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")).trials
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"one")
    file = WeightFile(path, WeightHeader("decoder", "t-nearest"))
    trial.combination.plan.weights["decoder"] = file
    trial.config["pipeline"]["weights"]["decoder"] = {"name": "w", "sha256": content_hash(file)}
    check_weights(trial)
    path.write_bytes(b"other")
    with pytest.raises(
        RunFailed, match=r"w\.safetensors has changed since this run began\n  run the same command again"
    ):
        check_weights(trial)
    path.unlink()
    with pytest.raises(RunFailed, match="has changed since this run began"):
        check_weights(trial)


def test_a_device_that_is_not_there_is_a_mistake_and_fails_no_trial(tmp_path):
    path = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")
    error = call(commands.ablate, path, "--out", tmp_path / "out", "--device", "gpu", fails=RegionkitError)
    assert (error.message, error.exit_code) == ("no device named 'gpu'", 2)
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_command_names_that_command(tmp_path):
    path = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")
    error = call(run_command.run, path, "--data", "box@t-colours", fails=ConfigError)
    assert str(error).splitlines() == [
        f"{path}:1: this is no pipeline: its keys are those of a file for toolkit ablate",
        f"  write: toolkit ablate {path}",
    ]
    path.write_text("recipe: text-only\nbackbone: mini-dense\n")
    error = call(commands.ablate, path, fails=ConfigError)
    assert "this is no file for toolkit ablate: its keys are those of a file for toolkit train" in str(error)
