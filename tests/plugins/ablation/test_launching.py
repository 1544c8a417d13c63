"""The launcher of this plugin keeps what launchers promise, in this process and in others."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import pytest

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Launcher
from regionkit.core.testing import Subject, check_launcher, checks_of, failures
from regionkit.core.testing.of_launchers import ExampleWork
from regionkit.plugins.ablation.launching import children
from regionkit.plugins.ablation.launching.children import how
from regionkit.plugins.ablation.launching.configs import LocalConfig
from regionkit.plugins.ablation.launching.local import Local


@pytest.mark.conformance("ablation")
def test_conforms(conformance):
    conformance()


def test_it_keeps_its_promises_in_this_process():
    check_launcher(Local(LocalConfig()))


class Faulty(Launcher):
    """A launcher in this process, with switches for its faults."""

    def __init__(self, fault=""):
        self.fault = fault

    def launch(self, work, device="auto"):
        worker = work.worker(device=device)
        while work.remaining():
            item = work.take("w")
            if item is None:
                if self.fault == "impatient":
                    return
                continue
            result = worker.run(item.id)
            if self.fault == "twice":
                worker.run(item.id)
            with suppress(RunFailed if self.fault == "deaf" else ZeroDivisionError):
                work.finish("w", item, "nothing" if self.fault == "result" else result)
            if self.fault == "lazy":
                return
            if self.fault == "deaf":
                work.leased.clear()


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        pytest.param("twice", "all-once", "an item was begun twice although no worker died", id="twice"),
        pytest.param("result", "all-once", "a result is not what the worker gave", id="result"),
        pytest.param("lazy", "all-once", "it returns while 11 of 12 items have not ended", id="lazy"),
        pytest.param("impatient", "waits-for-others", "it returns while 1 of 2 items", id="impatient"),
        pytest.param("deaf", "stops", "the work says stop, and it goes on", id="deaf"),
    ],
)
def test_faulty_launchers_are_caught(fault, check, words):
    assert dict(failures(Subject("launcher", Faulty()))) == {}
    found = dict(failures(Subject("launcher", Faulty(fault)), [check]))
    assert words in found[check]
    assert len(checks_of("launcher")) == 6


def test_more_workers_than_devices_share_only_when_they_may(tmp_path, monkeypatch):
    from regionkit.plugins.ablation.launching import local

    monkeypatch.setattr(local, "devices_of", lambda name: ["cuda:0", "cuda:1"])
    devices, spawn = [], children.Child.__init__

    def note(self, name, device, plan, log):
        devices.append(device)
        spawn(self, name, device, plan, log)

    monkeypatch.setattr(children.Child, "__init__", note)
    said = []
    for share in (False, True):
        work = ExampleWork(tmp_path, [f"a{number}" for number in range(8)])
        work.tell = said.append
        Local(LocalConfig(workers=3, share_device=share)).launch(work)
        assert len(work.results) == 8
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert said == [
        "3 workers are more than the 2 devices here, so 2 start; launcher.share_device=true lets them share"
    ]


def test_a_device_of_others_is_waited_for(tmp_path, monkeypatch):
    work, said = ExampleWork(tmp_path, ["a1", "a2"]), []
    work.tell = said.append
    asked = iter([False, False, True])
    monkeypatch.setattr(work, "claim", lambda owner, device: next(asked))
    from regionkit.plugins.ablation.launching.local import run_here

    run_here(work, ["cuda:0"])
    assert said == ["cuda:0 belong to other workers of this run, so this process waits for theirs"]
    assert len(work.results) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(3, "ended with status 3", id="status"),
        pytest.param(-11, "was killed by SIGSEGV", id="signal"),
        pytest.param(-9, "was killed by SIGKILL, perhaps for want of memory", id="kill"),
        pytest.param(-200, "was killed by signal 200", id="unknown"),
    ],
)
def test_how_a_process_ended_is_said(status, words):
    assert how(status) == words


def test_a_worker_that_raises_is_lost_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "broken_worker.py").write_text(
        "class W:\n    def run(self, item):\n        raise ValueError('no such ' + item)\n    def close(self): ...\n"
        "def make(device, tell):\n    tell('here on ' + device)\n    return W()\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    work, said = ExampleWork(tmp_path, ["a1"]), []
    work.plan = type(work.plan)("broken_worker:make")
    work.tell = said.append

    def lose(owner, item, reason):
        raise RunFailed(reason)

    work.lose = lose
    with pytest.raises(RunFailed) as error:
        Local(LocalConfig(workers=1)).launch(work, "cpu")
    assert error.value.message == "worker-1 ended with status 1; its last line: ValueError: no such a1"
    assert said == ["worker-1: here on cpu"]
    assert os.path.getsize(tmp_path / "logs" / "worker-1.log")
