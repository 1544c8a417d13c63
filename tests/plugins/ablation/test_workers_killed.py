"""kill -9 of a run with workers, at any moment: no trial is lost or done twice, and captions are as if nothing was."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import worker_fakes
from ablation_fakes import write
from click.testing import CliRunner
from worker_fakes import Fork, statuses, until

from regionkit.plugins.ablation import commands
from regionkit.plugins.ablation.launching import children
from regionkit.plugins.ablation.owners import process_start
from regionkit.plugins.ablation.words import counted

GRID = """\
data: [box@t-colours, point@t-colours]
metrics: [cider-d, noun-f1]
limit: 3
grid:
  region_encoder: [t-pool, {name: t-pool, flip: true}]
  bridge: [none, {name: t-shift, amount: [0.0, 0.1, 0.2, 0.3]}]
seeds: [0, 1]
"""
TRIALS = 40
#: Who is killed, after how many trials, and how many seconds later.
MOMENTS = [("parent", 7, 0.01), ("worker", 16, 0.0), ("both", 29, 0.02)]


def _param(moment, marks=()):
    return pytest.param(*moment, id=f"{moment[0]}-after-{moment[1]}", marks=marks)


def _moments():
    """Three moments, and twenty more drawn from a seed."""
    drawn = random.Random(11)
    more = [(drawn.choice(["parent", "worker", "both"]), at, drawn.uniform(0, 0.1)) for at in range(0, TRIALS - 2, 2)]
    return [*map(_param, MOMENTS), *(_param(one, pytest.mark.slow) for one in [*more, ("both", 0, 0.0)])]


@pytest.fixture(scope="module", autouse=True)
def machine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "fixed")
        patch.setattr(children, "spawn", worker_fakes.spawn)
        yield


def ablate(folder: Path, out: Path, *more):
    # Each decoding takes a while, so that kills hit trials under way; sleeping does not change what comes out.
    words = [str(folder / "ablation.yaml"), "--out", str(out), "--device", "cpu", "--no-cache"]
    return CliRunner().invoke(commands.ablate, [*words, "--set", "base.decoder.slow=0.005", *more])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, machine):
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder, GRID)
    result = ablate(folder, folder / "out")
    assert result.exit_code == 0, result.output
    return content(folder / "out"), (folder / "out" / "results.csv").read_bytes(), table(result.stdout)


def content(out):
    with closing(sqlite3.connect(out / "results.sqlite")) as database:
        names = ("trials", "scores", "samples", "sample_scores")
        return {name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in names}


def table(shown):
    return [line for line in shown.splitlines() if line.startswith("|")]


def seconds(out):
    """Return finished trial -> the time that it took, which no second run would repeat."""
    query = "SELECT id, seconds FROM trials JOIN timings ON trial = id WHERE stage = 'trial' AND status = 'done'"
    with closing(sqlite3.connect(out / "results.sqlite", timeout=60)) as database:
        return dict(database.execute(query).fetchall()) if statuses(out) else {}


def workers_of(parent: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(("who", "trials", "delay"), _moments())
def test_a_run_with_workers_is_killed(tmp_path, undisturbed, who, trials, delay):
    write(tmp_path, GRID)
    out = tmp_path / "out"
    run = Fork(lambda: ablate(tmp_path, out, "--workers", "2").exit_code, tmp_path / "log")
    until(lambda: len(workers_of(run.pid)) == 2 and len(statuses(out)) >= trials)
    time.sleep(delay)
    helpers = workers_of(run.pid)
    assert helpers, "the run ended before it was killed"
    for pid in {"parent": [run.pid], "worker": helpers[:1], "both": [run.pid, helpers[-1]]}[who]:
        os.kill(pid, signal.SIGKILL)
    kept = seconds(out)
    if who == "worker":
        assert run.wait() == 0, (tmp_path / "log").read_text()
    else:
        assert run.wait() == -signal.SIGKILL
        until(lambda: all(process_start(pid) is None for pid in helpers), 10)
        kept = seconds(out)
    again = ablate(tmp_path, out)
    assert again.exit_code == 0, again.output
    found = seconds(out)
    assert len(found) == TRIALS
    assert kept.items() <= found.items(), "a finished trial was lost or done again"
    assert (content(out), (out / "results.csv").read_bytes(), table(again.stdout)) == undisturbed
    before = TRIALS if who == "worker" else len(kept)
    assert f"{counted(TRIALS - before, 'trial')} ran, {before} were done before" in again.stdout
