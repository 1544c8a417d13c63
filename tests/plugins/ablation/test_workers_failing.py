"""Trials that hang, grow, raise or kill their workers, and runs that are told to end: each ends in a clear state."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing

import ablation_fakes
import pytest
from ablation_fakes import write
from worker_fakes import GRID, SLOW, Fork, ablate, join, leased, processes, reports, statuses, until

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.results import ResultStore, TrialResult
from regionkit.plugins.ablation.launching import children
from regionkit.plugins.ablation.owners import process_start
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.queue import QUEUE, Queue
from regionkit.plugins.ablation.run_folder import ABLATION, read_ablation
from regionkit.plugins.ablation.trial_work import items_of

pytestmark = pytest.mark.usefixtures("quick_workers")


def test_a_trial_that_hangs_has_failed_and_the_others_go_on(tmp_path, monkeypatch, others):
    bridge = ablation_fakes.Shift.bridge
    monkeypatch.setattr(
        ablation_fakes.Shift,
        "bridge",
        lambda self, tokens: threading.Event().wait() if self.config.amount == 0.1 else bridge(self, tokens),
    )
    file = write(tmp_path, "data: [box@t-colours]\n" + GRID.partition("\n")[2].replace("[0, 1]", "[0]"))
    out = tmp_path / "out"
    result = ablate(file, out, "--set", "launcher.time_limit=1")
    assert result.exit_code == 1
    assert "time and memory of trials are limited, so they run in a worker process: launcher.workers is 1" in (
        result.output
    )
    assert "failed: took longer than 1 s; raise launcher.time_limit" in result.output
    assert sorted(statuses(out).values()) == ["done", "done", "done", "failed"]
    assert processes(os.getpid(), others) == []


def test_a_trial_that_eats_memory_has_failed(tmp_path, monkeypatch):
    eaten = []

    def eat(self, tokens):
        eaten.append(bytearray(1 << 30))
        eaten[0][:: 1 << 12] = b"x" * (1 << 18)
        threading.Event().wait(60)

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", eat)
    file = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\nlauncher: {memory_limit: 1200}\n")
    result = ablate(file, tmp_path / "out")
    assert result.exit_code == 1, result.output
    with ResultStore(tmp_path / "out" / "results.sqlite", read_only=True) as store:
        (row,) = store.trials()
        reason = store.trial(row.id)[1]
    assert reason.startswith("held 1,") or reason.startswith("held 2,")
    assert reason.endswith(" MiB, more than the 1,200 MiB of launcher.memory_limit")


@pytest.mark.parametrize(
    ("deaths", "status"), [pytest.param(1, "done", id="once"), pytest.param(9, "failed", id="again-and-again")]
)
def test_a_trial_whose_worker_dies_is_tried_again(tmp_path, monkeypatch, deaths, status):
    bridge, marks = ablation_fakes.Shift.bridge, tmp_path / "marks"
    marks.mkdir()

    def die(self, tokens):
        if self.config.amount == 0.1 and len(list(marks.iterdir())) < deaths:
            (marks / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return bridge(self, tokens)

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", die)
    file = write(tmp_path, "data: [box@t-colours]\n" + GRID.partition("\n")[2].replace("[0, 1]", "[0]"))
    result = ablate(file, tmp_path / "out", "--workers", 1)
    assert sorted(statuses(tmp_path / "out").values()) == sorted(["done"] * 3 + [status])
    assert result.exit_code == (status == "failed")
    assert "worker-1 was killed by SIGSEGV; trial" in result.output
    assert ("its worker died 2 times, the last time: worker-1 was killed by SIGSEGV" in result.output) == (deaths > 1)
    assert len(list(marks.iterdir())) == min(deaths, 2)


def test_a_trial_that_raises_has_failed(tmp_path, monkeypatch):
    def crash(self, tokens):
        raise ZeroDivisionError("no shift today")

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", crash)
    file = write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\ngrid: {bridge: [none, t-shift]}\n")
    result = ablate(file, tmp_path / "out", "--workers", 1)
    assert result.exit_code == 1
    assert sorted(statuses(tmp_path / "out").values()) == ["done", "failed"]
    assert "ZeroDivisionError: no shift today" in result.output


def test_workers_that_never_start_end_the_run_with_what_they_said(tmp_path, monkeypatch, others):
    def broken(handle, log):
        return Fork(lambda: sys.stderr.write("libcuda.so is not there\n") and 3, log)

    monkeypatch.setattr(children, "spawn", broken)
    error = ablate(write(tmp_path, GRID), tmp_path / "out", "--workers", 2, fails=RunFailed)
    assert "3 workers in a row ended before their first trial: worker-" in error.message
    assert "ended with status 3" in error.message
    assert error.hints == ("the last lines that it wrote:", "libcuda.so is not there")
    assert processes(os.getpid(), others) == []


def test_a_run_that_stops_at_the_first_error_stops_its_workers(tmp_path, others):
    file = write(tmp_path, GRID.replace("[0.0, 0.1, 0.2]", "[-1.0, 0.1]") + "on_error: stop\n")
    error = ablate(file, tmp_path / "out", "--workers", 2, fails=RunFailed)
    assert "on_error is stop: the shift is negative" in error.message
    assert processes(os.getpid(), others) == []
    with closing(Queue(tmp_path / "out" / QUEUE)) as queue:
        assert queue.others() == []


def test_a_fault_of_the_code_stops_a_run_with_its_place_and_all_of_it_in_the_log(tmp_path, monkeypatch):
    def crash(self, tokens):
        raise ZeroDivisionError("no shift today\nnor tomorrow")

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", crash)
    file = write(tmp_path, GRID + "on_error: stop\n")
    error = ablate(file, tmp_path / "out", "--workers", 1, fails=RunFailed)
    bridge = "bridge 't-shift' of plugin ablation_fakes (tests 0)"
    told = f"on_error is stop: {bridge}: ZeroDivisionError: no shift today nor tomorrow (test_workers_failing.py, line "
    assert told in str(error)
    assert "Traceback (most recent call last)" in (tmp_path / "out" / "logs" / "worker-1.log").read_text()


ENDS = [pytest.param("SIGTERM", 143, id="sigterm"), pytest.param("SIGINT", 130, id="ctrl-c")]


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_a_run_that_is_told_to_end_ends_its_workers(tmp_path, number, status):
    file, out = write(tmp_path, GRID), tmp_path / "out"

    def run():
        from regionkit.registry.cli import main

        main(["ablate", str(file), "--out", str(out), "--device", "cpu", "--workers", "2", *SLOW])

    parent = Fork(run, tmp_path / "log")
    until(lambda: statuses(out))
    helpers = processes(parent.pid)
    assert len(helpers) == 2
    os.kill(parent.pid, getattr(signal, number))
    assert parent.wait() == status, (tmp_path / "log").read_text()
    assert [pid for pid in helpers if process_start(pid) is not None] == []
    assert leased(out) == []
    assert "\nstopped; the same command goes on where it stopped\n" in (tmp_path / "log").read_text()
    assert (out / "results.md").exists()
    assert ablate(file, out, *SLOW).exit_code == 0


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_a_worker_that_is_told_to_end_gives_its_trial_back(tmp_path, number, status):
    file, out = write(tmp_path, GRID), tmp_path / "out"
    run = Fork(lambda: ablate(file, out, "--set", "base.decoder.slow=0.2", fails=BaseException), tmp_path / "run")
    until(lambda: (out / ABLATION).exists() and statuses(out))
    run.kill()
    run.wait()

    def help_out():
        from regionkit.registry.cli import main

        main(["worker", str(out), "--device", "cpu", "--quiet"])

    helper = Fork(help_out, tmp_path / "log")
    with closing(Queue(out / QUEUE)) as queue:
        until(lambda: helper.pid in [one.pid for one in queue.others()] and leased(out))
        os.kill(helper.pid, getattr(signal, number))
        assert helper.wait() == status, (tmp_path / "log").read_text()
        assert queue.others() == []
        assert leased(out) == []
    assert (tmp_path / "log").read_text().startswith("stopped; the same command goes on where it stopped\n")


def test_a_run_that_stops_at_the_first_error_stops_workers_of_other_shells(tmp_path):
    out = tmp_path / "out"
    file = write(tmp_path, GRID + "on_error: stop\n")
    assert ablate(file, out, *SLOW, "--limit", 1).exit_code == 0
    plan = plan_ablation(read_ablation(out).document)
    with closing(Queue(out / QUEUE)) as queue, ResultStore(out / "results.sqlite") as store:
        store._db.execute("DELETE FROM trials")
        queue.enter(items_of(plan.trials), store.done)
        trial = next(one for one in plan.trials if one.id == queue.take("w").id)

        def help_out():
            print(join(out, fails=RunFailed))
            return 5

        helper = Fork(help_out, tmp_path / "log")
        until(lambda: statuses(out))
        store.save(TrialResult(trial.id, "box@t-colours", 0, trial.config, "failed", "no luck", (), (), {}))
        queue.end(trial.id, "failed")
        assert helper.wait() == 5
    assert f"trial {trial.id} failed and on_error is stop: no luck" in (tmp_path / "log").read_text()
    assert len(statuses(out)) < 16


def test_damaged_results_are_told_of_and_damaged_leases_are_not_missed(tmp_path):
    file, out = write(tmp_path, GRID), tmp_path / "out"
    assert ablate(file, out, "--limit", 2).exit_code == 0
    whole = reports(out)
    for name in (QUEUE, "results.sqlite"):
        data = (out / name).read_bytes()
        (out / name).write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
        if name == QUEUE:
            again = ablate(file, out, "--limit", 2, "--set", "seeds=[0, 1, 2]")
            assert again.exit_code == 0
            assert "queue.sqlite.damaged-1" in again.output
            assert "8 trials ran, 16 were done before" in again.output
    assert "the results cannot be read" in ablate(file, out, "--limit", 2, fails=DataError).message
    assert whole
