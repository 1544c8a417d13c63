"""The whole command on a cluster of its own, which ends with it however it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import below, gone

from regionkit.core.errors import DataError
from regionkit.core.results import DATABASE, ResultStore

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = pytest.mark.slow

TEXT = """\
version: 1
base: mini
data: [box@mini]
limit: 64
metrics: [cider-d]
grid:
  backbone: [mini-dense, mini-clip]
  region_encoder: [patch-pool, crop, whole]
  bridge: [none, {name: noise, std: [0.02, 0.04, 0.08]}]
"""


@pytest.fixture
def start():
    """Start commands; those that still run when the test ends are ended with it."""
    runs: list[subprocess.Popen[str]] = []

    def begin(folder: Path, *more: str) -> subprocess.Popen[str]:
        code = "import sys; from regionkit.registry.cli import main; sys.exit(main())"
        words = [sys.executable, "-c", code, "ablate", str(folder / "many.yaml"), *more]
        runs.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return runs[-1]

    yield begin
    for run in runs:
        if run.poll() is None:
            run.terminate()
        run.communicate(timeout=60)


ON_RAY = "--launcher", "ray", "--workers", "3", "--set", "launcher.address=local"


def finished(folder: Path) -> set[str]:
    if not (folder / "ray" / DATABASE).exists():
        return set()
    try:
        with ResultStore(folder / "ray" / DATABASE, read_only=True) as store:
            return store.done()
    except DataError:  # it is being made
        return set()


def wait_for(folder: Path, count: int, run: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 200
    while len(finished(folder)) < count:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "many.yaml").write_text(TEXT)
    return tmp_path


@pytest.mark.parametrize(
    ("how", "status"),
    [pytest.param(signal.SIGKILL, -9, id="kill"), pytest.param(signal.SIGINT, 130, id="ctrl-c"),
     pytest.param(signal.SIGTERM, 143, id="term")],
)  # fmt: skip
def test_a_run_that_is_ended_leaves_nothing_behind_and_goes_on_where_it_was(folder, start, how, status):
    run = start(folder, "--out", str(folder / "ray"), *ON_RAY)
    wait_for(folder, 3, run)
    processes = {**below(run.pid), run.pid: "the run"}
    assert sum("ray::" in words for words in processes.values()) >= 3
    os.kill(run.pid, how)
    run.communicate(timeout=60)
    assert run.returncode == status
    # What a cluster is made of ends by itself where nobody is left to end it, one of its parts after half a minute.
    assert gone(list(processes), 120 if how == signal.SIGKILL else 20)
    before = finished(folder)
    assert len(before) >= 3
    again = start(folder, "--out", str(folder / "ray"), *ON_RAY)
    out, said = again.communicate(timeout=250)
    assert again.returncode == 0, said
    ran, held = map(int, re.findall(r"(\d+) trials? ran, (\d+) were done before", out)[0])
    assert held == len(before)
    assert ran == len(finished(folder)) - held > 0
    local = start(folder, "--out", str(folder / "local"))
    assert local.communicate(timeout=250)
    assert local.returncode == 0
    assert (folder / "ray" / "results.csv").read_bytes() == (folder / "local" / "results.csv").read_bytes()


@pytest.mark.parametrize("part", ["raylet/raylet ", "gcs_server ", "DashboardAgent"], ids=["raylet", "head", "agent"])
def test_a_cluster_of_its_own_that_dies_ends_the_run_and_leaves_nothing_behind(folder, start, monkeypatch, part):
    temporary = Path(tempfile.mkdtemp(prefix="rk-t-", dir="/tmp"))  # short: names of sockets are
    monkeypatch.setenv("TMPDIR", str(temporary))
    run = start(folder, "--out", str(folder / "ray"), *ON_RAY)
    wait_for(folder, 2, run)
    processes = below(run.pid)
    assert list(temporary.glob("rk-ray-*"))
    (victim,) = (one for one, words in processes.items() if part in words and "ray::RayWorker" not in words)
    os.kill(victim, signal.SIGKILL)
    out, said = run.communicate(timeout=30)
    assert run.returncode == 1, said
    assert re.search(r"launcher 'ray': the cluster that this run started has died: its process '\w+' ", said)
    assert "run the same command again to go on: what is done is kept" in said
    assert "(raylet)" not in out + said
    assert gone([*processes, run.pid]), processes
    assert not list(temporary.glob("rk-ray-*"))
    assert len(finished(folder)) >= 2
    shutil.rmtree(temporary)
