"""``toolkit compare`` on trials: of one run and of two, by beginnings of their ids, and told apart by their axes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from regionkit.core import statistics
from regionkit.core.results import DATABASE, MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.registry.cli import root


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


def config(bridge, **options):
    part = {"name": bridge, **options}
    return {"pipeline": {"backbone": {"name": "b"}, "bridge": part, "decoder": {"name": "d"}}}


def trial(name, values, made, data="box@x", status="done"):
    ids = [f"{data}/{at}" for at in range(len(values))]
    rows = tuple(SampleRow(one, f"i{at}", f"{name} says {at}") for at, one in enumerate(ids))
    scores = (MetricRow("cider-d", sum(values) / len(values), "c", True, tuple(values)),) if status == "done" else ()
    return TrialResult(name, data, 0, made, status, "" if status == "done" else "no words came", rows, scores, {})


@pytest.fixture
def run(tmp_path):
    with ResultStore(tmp_path / "run" / DATABASE) as store:
        store.save(trial("1aaa", [0.1, 0.2, 0.3], config("memory", temperature=0.01)))
        store.save(trial("1bbb", [0.2, 0.3, 0.4], config("memory", temperature=0.05)))
        store.save(trial("2ccc", [0.2, 0.3, 0.1], config("none")))
        store.save(trial("3ddd", [0.2, 0.3, 0.1], config("none"), data="point@x"))
        store.save(trial("4eee", [0.2], config("noise"), status="failed"))
    return tmp_path / "run"


def call(*arguments, status=0):
    result = CliRunner().invoke(root, ["compare", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def test_two_trials_of_one_run_by_beginnings_of_their_ids(run):
    found = json.loads(call(f"{run}#1a", f"{run}#1b", "--json").stdout)
    assert found["n"] == 3
    assert found["columns"]["cider-d"]["difference"] == pytest.approx(0.1)
    said = call(f"{run}#1a", f"{run}#2").stdout.splitlines()
    assert said[0] == f"A: {run}#1aaa (box@x, seed 0, bridge=memory, bridge.temperature=0.01)"
    assert said[1] == f"B: {run}#2ccc (box@x, seed 0, bridge=none)"


def test_trials_of_two_runs(run, tmp_path):
    with ResultStore(tmp_path / "other" / DATABASE) as store:
        store.save(trial("9fff", [0.3, 0.3, 0.3], config("memory")))
    said = call(f"{run}#1b", tmp_path / "other").stdout.splitlines()
    assert said[1] == f"B: {tmp_path / 'other'}#9fff", "of a single trial there is nothing to tell apart"
    assert json.loads(call(f"{run}#1b", tmp_path / "other", "--json").stdout)["n"] == 3


def test_several_trials_are_told_apart_by_their_axes(run):
    told = call(run, f"{run}#2", status=2).stderr.splitlines()
    assert told == [
        f"error: {run}: 4 trials; choose one as {run}#TRIAL",
        "  trials are:",
        "    1aaa: box@x, seed 0, bridge=memory, bridge.temperature=0.01, cider-d 0.200",
        "    1bbb: box@x, seed 0, bridge=memory, bridge.temperature=0.05, cider-d 0.300",
        "    2ccc: box@x, seed 0, bridge=none, cider-d 0.200",
        "    3ddd: point@x, seed 0, bridge=none, cider-d 0.200",
    ]
    told = call(f"{run}#1", f"{run}#2", status=2).stderr
    assert told.startswith(
        f"error: {run}: 2 trials begin with '1'; choose one as {run}#TRIAL\n  trials are:\n    1aaa: "
    )


def test_trials_of_other_data_have_nothing_to_compare(run):
    told = call(f"{run}#2", f"{run}#3", status=2).stderr
    assert told == (
        f"error: {run}#2ccc is a trial of box@x and {run}#3ddd one of point@x: they have no sample in common\n"
        "  compare trials of the same data; to see the trials of a run, name its folder alone\n"
    )


def test_a_trial_that_failed_says_why(run):
    told = call(f"{run}#4e", f"{run}#2", status=2).stderr
    assert told.startswith(f"error: {run}: trial 4eee failed: no words came; choose one as {run}#TRIAL\n")
