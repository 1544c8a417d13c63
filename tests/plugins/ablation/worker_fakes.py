"""Runs with worker processes in tests: the plugin of fakes in every process, and processes that start in no time."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import time
import warnings
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import ablation_fakes
import torch
from click.testing import CliRunner

from regionkit.core.errors import DataError
from regionkit.core.results import ResultStore
from regionkit.plugins.ablation import commands
from regionkit.plugins.ablation.launching import process
from regionkit.plugins.ablation.queue import QUEUE
from regionkit.plugins.ablation.worker_command import worker
from regionkit.registry.registry import Owner, Registry, get_registry


def prepare() -> None:
    """Make this process one of a machine with the fakes installed, on which nobody edits the source meanwhile."""
    torch.set_num_threads(1)
    Registry.code_version = lambda *_: "fixed"
    if "ablation_fakes" not in get_registry().plugins:
        get_registry().register(ablation_fakes, Owner("ablation_fakes", "tests", "0"))


def make_worker(**options):
    """The worker of the real command, in a fresh process."""
    prepare()
    from regionkit.plugins.ablation import workers

    return workers.make_worker(**options)


class Fork:
    """A copy of this process that does something and ends: real to kill, without two seconds to import torch."""

    def __init__(self, do, log: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.pid = os.fork()
        self.returncode = None
        if self.pid:
            return
        status = 70
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(handle, stream)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = do() or 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=60.0):
        import subprocess

        end = time.monotonic() + (60.0 if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("fork", timeout)
            time.sleep(0.005)
        return self.returncode

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def spawn(handle: int, log: Path) -> Fork:
    """Stand in for the launcher's own: start a worker process that talks through an open socket."""
    parent = os.getpid()

    def work():
        os.setsid()
        # What a new program would not have: sockets of the parent and of other workers.
        for number in os.listdir("/proc/self/fd"):
            if int(number) > 2 and int(number) != handle:
                with contextlib.suppress(OSError):
                    os.close(int(number))
        process.serve(Connection(os.dup(handle)), parent)

    return Fork(work, log)


def statuses(folder: Path) -> dict[str, str]:
    """Return trial -> status of a run folder, empty where there is none yet."""
    try:
        with ResultStore(folder / "results.sqlite", read_only=True) as store:
            return {row.id: row.status for row in store.trials()}
    except DataError:
        return {}


def until(condition, seconds: float = 60.0):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


SLOW = ["--set", "base.decoder.slow=0.03"]
GRID = """\
data: [box@t-colours, point@t-colours]
metrics: [cider-d, noun-f1]
grid:
  bridge: [none, {name: t-shift, amount: [0.0, 0.1, 0.2]}]
seeds: [0, 1]
"""


def ablate(file, out, *more, fails=None):
    result = CliRunner().invoke(commands.ablate, [str(file), "--out", str(out), "--device", "cpu", *map(str, more)])
    if fails is not None:
        assert isinstance(result.exception, fails), result.output
        return result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def join(out, *more, fails=None):
    result = CliRunner().invoke(worker, [str(out), "--device", "cpu", *more])
    if fails is not None:
        assert isinstance(result.exception, fails), result.output
        return result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def reports(out):
    return {name: (out / name).read_bytes() for name in ("results.csv", "results.md")}


def content(out):
    with closing(sqlite3.connect(out / "results.sqlite")) as database:
        names = ("trials", "scores", "samples", "sample_scores")
        return {name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in names}


def processes(parent, but=()):
    """Return the children of a process, but for those that were there before."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in found if int(one) not in but]


def table(shown):
    return [line for line in shown.splitlines() if line.startswith("|")]


def leased(out):
    with closing(sqlite3.connect(out / QUEUE)) as database:
        return database.execute("SELECT id FROM items WHERE state = 'leased' AND attempts = 0").fetchall()
