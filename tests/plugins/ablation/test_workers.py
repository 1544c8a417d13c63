"""Runs with worker processes, several parents and workers of other shells: the same results, each trial once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing

import ablation_fakes
import pytest
from ablation_fakes import write
from click.testing import CliRunner
from rich.console import Console
from worker_fakes import GRID, SLOW, Fork, ablate, content, join, processes, reports, statuses, table, until

from regionkit.core.errors import DataError, RegionkitError, RunFailed
from regionkit.core.results import ResultStore
from regionkit.plugins.ablation.display import LiveTable
from regionkit.plugins.ablation.launching.local import Local
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.progress import Progress
from regionkit.plugins.ablation.queue import QUEUE, Queue
from regionkit.plugins.ablation.run_folder import ABLATION, read_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Place, Runner
from regionkit.plugins.ablation.trial_work import items_of
from regionkit.plugins.ablation.worker_command import choose_device
from regionkit.registry.schema import fill

pytestmark = pytest.mark.usefixtures("quick_workers")


CLAIMS = """\
claims:
  - {say: "bridge=t-shift > bridge=none", on: box@t-colours, by: noun-f1, must: false}
"""


def test_workers_give_what_one_process_gives(tmp_path, others):
    file = write(tmp_path, GRID + CLAIMS)  # YAML reads the bare word `on` as true, which JSON does not know as a key
    alone = ablate(file, tmp_path / "alone")
    several = ablate(file, tmp_path / "several", "--workers", 2)
    assert (alone.exit_code, several.exit_code) == (0, 0), several.output
    assert content(tmp_path / "alone") == content(tmp_path / "several")
    assert reports(tmp_path / "alone") == reports(tmp_path / "several")
    assert "16 trials ran, 0 were done before" in several.stdout
    assert sorted(path.name for path in (tmp_path / "several" / "logs").iterdir()) == ["worker-1.log", "worker-2.log"]
    assert processes(os.getpid(), others) == [], "no process is left behind"


@pytest.mark.slow  # torch is imported twice
def test_a_fresh_process_is_a_worker_too(tmp_path, monkeypatch):
    """Not a copy of this one: what comes with it comes through the module's name and ``ablation.json`` alone."""
    monkeypatch.undo()
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "fixed")
    monkeypatch.setattr("regionkit.plugins.ablation.runner.MAKE_WORKER", "worker_fakes:make_worker")
    file = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\nlauncher: {workers: 1}\n")
    assert ablate(file, tmp_path / "out").exit_code == 0
    assert set(statuses(tmp_path / "out").values()) == {"done"}


def test_the_launcher_is_no_part_of_a_trial(tmp_path):
    plain = plan_ablation(write(tmp_path, GRID))
    other = plan_ablation(write(tmp_path, GRID + "launcher: {name: local, workers: 3, time_limit: 60}\n"))
    assert [one.id for one in plain.trials] == [one.id for one in other.trials]
    assert other.spec.launcher.config.time_limit == 60.0


def test_mistakes_of_the_launcher_stand_where_they_are_made(tmp_path):
    path = write(tmp_path, GRID + "launcher: {workers: -1}\n")
    with pytest.raises(RegionkitError, match=r":12: launcher: workers: -1 must be from 0 to 512, or auto"):
        plan_ablation(path)
    with pytest.raises(RegionkitError, match=r"launcher\.time_limt: unknown option\n  did you mean: time_limit"):
        plan_ablation(write(tmp_path, GRID), ["launcher.time_limt=60"])
    with pytest.raises(RegionkitError, match="no launcher named 'locl'\n  did you mean: local"):
        plan_ablation(write(tmp_path, GRID), ["launcher=locl"])


def test_workers_of_other_shells_join_a_run(tmp_path):
    file, out = write(tmp_path, GRID), tmp_path / "out"
    alone = ablate(file, tmp_path / "alone", *SLOW)
    logs = [tmp_path / f"log-{name}" for name in "abc"]
    parent = Fork(lambda: ablate(file, out, *SLOW).exit_code, logs[0])
    until((out / QUEUE).exists)
    until(lambda: statuses(out))

    def help_out():
        result = join(out)
        print(result.output)
        return result.exit_code

    helpers = [Fork(help_out, log) for log in logs[1:]]
    assert [one.wait() for one in (parent, *helpers)] == [0, 0, 0], [log.read_text() for log in logs]
    assert content(out) == content(tmp_path / "alone")
    assert reports(out) == reports(tmp_path / "alone")
    shared = [int(re.search(r"(\d+) trials? ran here", log.read_text())[1]) for log in logs[1:]]
    assert all(shared), shared
    assert alone.exit_code == 0


def test_two_parents_print_one_table(tmp_path):
    file, out = write(tmp_path, GRID), tmp_path / "out"

    def parent():
        result = ablate(file, out, *SLOW)
        print(result.output)
        return result.exit_code

    first = Fork(parent, tmp_path / "first")
    until(lambda: statuses(out))
    second = ablate(file, out, *SLOW)
    assert first.wait() == 0, (tmp_path / "first").read_text()
    said, other = second.output, (tmp_path / "first").read_text()
    assert f"1 other process is at work on this run (process {first.pid} on" in said
    assert table(said) == table(other)
    here, there, before = map(int, re.search(r"(\d+) trials? ran, (\d+) ran elsewhere, (\d+) were", said).groups())
    assert here + there + before == 16
    assert min(here, there) > 0
    assert f"{16 - here} trials ran, {here} ran elsewhere, 0 were done before" in other.replace("1 trial ", "1 trials ")
    assert set(statuses(out).values()) == {"done"}


def test_a_file_that_is_edited_while_it_runs_makes_a_run_of_its_own(tmp_path):
    out = tmp_path / "out"
    file = write(tmp_path, GRID)
    first = Fork(lambda: ablate(file, out, *SLOW).exit_code, tmp_path / "first")
    until(lambda: statuses(out))
    second = ablate(file, out, *SLOW, "--set", "seeds=[1, 2]")
    assert (first.wait(), second.exit_code) == (0, 0)
    assert len(statuses(out)) == 24
    assert set(statuses(out).values()) == {"done"}


@pytest.fixture
def begun(tmp_path):
    """A run folder in which all trials are still to be done, and a process that is at work there."""
    out = tmp_path / "out"
    assert ablate(write(tmp_path, GRID), out, "--limit", 1).exit_code == 0
    plan = plan_ablation(read_ablation(out).document)
    with closing(Queue(out / QUEUE)) as queue, ResultStore(out / "results.sqlite") as store:
        store._db.execute("DELETE FROM trials")
        queue.enter(items_of(plan.trials), store.done)
        yield out, queue


def test_a_worker_that_need_not_wait_ends_while_others_are_at_work(begun):
    out, queue = begun
    held = queue.take("w").id
    result = join(out, "--no-wait")
    assert (result.exit_code, "15 trials ran here, 0 failed" in result.output) == (0, True)
    assert held not in statuses(out)


def test_a_worker_that_joins_beats_as_often_as_the_lease_of_the_run_asks(begun, monkeypatch):
    """One that beat every ten seconds in a run whose lease is five would be taken for dead again and again."""
    out, _ = begun
    launcher = fill("launcher", {"name": "local", "lease": 5})
    place = Place(out, None, launcher)
    plan = plan_ablation(read_ablation(out).document)
    joined = []
    monkeypatch.setattr(Local, "launch", lambda self, work, device: joined.append(self.config.lease))
    with ResultStore(out / "results.sqlite") as store:
        Runner(plan, store, Progress(), RunOptions("cpu"), place).run()
    assert joined == [5.0]


def test_a_trial_that_was_the_end_of_every_worker_has_failed_at_last(begun):
    out, queue = begun
    for _ in range(2):
        deadly = queue.take("w").id
        queue.lose(deadly, "process 7 on far ended without a word")
    result = join(out)
    assert result.exit_code == 1
    assert f"failed: {'its worker died 2 times, the last time: process 7 on far ended without a word'}" in result.output
    assert sorted(statuses(out).values()) == ["done"] * 15 + ["failed"]
    assert statuses(out)[deadly] == "failed"


def test_mistakes_of_flags_are_told_as_those_of_the_file(tmp_path):
    file = write(tmp_path, GRID)
    error = ablate(file, tmp_path / "out", "--workers", "two", fails=RegionkitError)
    assert "--set launcher.workers: launcher.workers: expected" in str(error)
    error = ablate(file, tmp_path / "out", "--launcher", "slurm", fails=RegionkitError)
    assert "no launcher named 'slurm'" in str(error)


def test_a_worker_with_other_code_or_data_refuses_and_says_so(tmp_path, monkeypatch):
    file, out = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n"), tmp_path / "out"
    assert ablate(file, out).exit_code == 0
    assert join(out).exit_code == 0
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "edited")
    error = join(out, fails=RunFailed)
    assert error.message == (
        "this worker would run other trials than this run has: what differs is the code (another version of regionkit "
        "or of a plugin, or it was edited since)"
    )
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "fixed")
    monkeypatch.setattr(ablation_fakes.Colours, "fingerprint", lambda *_: "other pictures")
    assert "what differs is data (box@t-colours, seed 0)" in join(out, fails=RunFailed).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "is no folder of a run: it has no ablation.json", id="none"),
        pytest.param("{", "cannot be read: JSONDecodeError", id="broken"),
        pytest.param('{"version": 7}', "it is of format 7, this regionkit has 1", id="version"),
        pytest.param("[]", "cannot be read: TypeError", id="list"),
        pytest.param('{"version": 1, "document": null}', "cannot be read: TypeError", id="hostile"),
        pytest.param("[" * 100_000, "cannot be read: RecursionError", id="deep"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path, text, words):
    if text is not None:
        (tmp_path / ABLATION).write_text(text)
    assert words in join(tmp_path, fails=DataError).message


def test_a_run_with_plugins_of_its_own_needs_leave_in_every_shell(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from regionkit.core.plugin import hookimpl\n\n@hookimpl\ndef regionkit_components():\n    return []\n"
    )
    file, out = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\nplugins: [./mine.py]\n"), tmp_path / "out"
    from regionkit.registry.cli import root

    words = ["ablate", str(file), "--out", str(out), "--device", "cpu"]
    run = CliRunner().invoke(root, [*words, "--allow-local-plugins", "--workers", "1"])
    assert run.exit_code == 0, run.output
    refused = CliRunner().invoke(root, ["worker", str(out), "--device", "cpu"])
    assert "reading it would run their code" in refused.output
    assert refused.exit_code == 2
    assert CliRunner().invoke(root, ["worker", str(out), "--device", "cpu", "--allow-local-plugins"]).exit_code == 0


def test_a_gpu_has_one_worker(tmp_path, monkeypatch):
    from regionkit.plugins.ablation.launching import local
    from regionkit.plugins.ablation.runner import Place

    monkeypatch.setattr(local, "devices_of", lambda name: ["cuda:0", "cuda:1"] if name == "auto" else [name])
    place = Place(tmp_path)
    assert choose_device(place, "auto") == "cuda:0"
    with closing(Queue(tmp_path / QUEUE)) as queue:
        queue.enter([], set)
        assert queue.claim("main", "cuda:0")
        assert choose_device(place, "auto") == "cuda:1"
        with pytest.raises(RunFailed) as error:
            choose_device(place, "cuda:0")
        assert str(error.value).splitlines() == [
            f"cuda:0 has a worker of this run already: {queue.me.about}",
            "  choose another with --device, or let workers share one with --share-device",
        ]
        assert choose_device(Place(tmp_path, share_device=True), "cuda:0") == "cuda:0"
        assert queue.claim("other", "cuda:1")
        with pytest.raises(RunFailed, match="cuda:0 and cuda:1 have a worker of this run already"):
            choose_device(place, "auto")
    assert choose_device(place, "auto") == "cuda:0"


def test_the_live_table_shows_who_is_at_what(tmp_path):
    plan = plan_ablation(write(tmp_path, GRID))
    with (tmp_path / "screen").open("w") as file:
        table = LiveTable(Console(force_terminal=True, width=160, file=file))
        table.start(plan, plan.trials)
        table.busy([(plan.trials[0], "worker-1"), (plan.trials[1], "main of process 7 on far")])
        table.tell("worker-2 was killed by SIGKILL")
        table._live.refresh()
        table.stop()
    shown = (tmp_path / "screen").read_text()
    for words in ("... worker-1", "... main of process 7 on far", "worker-2 was killed by SIGKILL", "0/16"):
        assert words in shown


@pytest.mark.slow
def test_a_run_in_a_real_shell(tmp_path):
    """The command itself, joined by itself, in processes that share nothing with this one."""
    file = tmp_path / "quick.yaml"
    file.write_text("version: 1\nbase: mini\ndata: [box@mini]\nlimit: 2\nmetrics: [noun-f1]\nlauncher: {workers: 1}\n")
    toolkit = [sys.executable, "-c", "from regionkit.registry.cli import main; main()"]
    words = ["ablate", str(file), "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = subprocess.run([*toolkit, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 trial ran, 0 were done before" in done.stdout
