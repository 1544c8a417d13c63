"""The stage cache under many processes, killed ones among them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from threading import Event, Thread

import pytest
import torch

from regionkit.plugins.ablation.cache import space as space_module
from regionkit.plugins.ablation.cache.entries import read_entry, walk
from regionkit.plugins.ablation.cache.space import STATE, Space, host
from regionkit.plugins.ablation.cache.stage_cache import StageCache

KEY = "ab" * 16
#: A process that has imported torch once, and forks others that run a program: they begin in a millisecond.
NURSERY = """
import json, os, sys, traceback, torch
from pathlib import Path
from regionkit.plugins.ablation.cache.stage_cache import StageCache
torch.set_num_threads(1)
def key(number): return f"{number:02x}" * 16
def content(number, kilobytes=64): return {"x": torch.full((kilobytes * 256,), float(number))}
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        try:
            folder, who, said = Path(asked["folder"]), asked["who"], []
            exec(asked["program"])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
"""
SAME = """
cache = StageCache(folder, tell=said.append)
for _ in range(40):
    cache.put("ab" * 16, content(7), {"stage": "backbone"})
    entry = cache.get("ab" * 16)
    assert entry is not None and torch.equal(entry.tensors["x"], content(7)["x"])
assert (said, cache.stats.damaged, cache.stats.off, cache.stats.written) == ([], [], "", 40), said
"""
#: Eight entries fit; each process writes sixteen, and looks for those of the others.
CROWDED = """
cache = StageCache(folder, limit=8 * 66_100, tell=said.append)
for number in range(16):
    cache.put(key(16 * who + number), content(16 * who + number), {"stage": "backbone"})
    for other in range(48):
        entry = cache.get(key(other))
        assert entry is None or float(entry.tensors["x"][5]) == other
assert (said, cache.stats.damaged, cache.stats.off, cache.stats.written) == ([], [], "", 16), said
"""
#: Writes entries that take a while, for ever.
ENDLESS = """
cache = StageCache(folder, tell=said.append)
number = 0
while True:
    number = (number + 1) % 20
    cache.put(key(number), content(number, 4096), {"stage": "backbone"})
"""


class Nursery:
    def __init__(self):
        command = [sys.executable, "-c", NURSERY]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **asked):
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, folder, who, program):
        return self.ask(folder=str(folder), who=who, program=program)

    def wait(self, pid):
        return self.ask(wait=pid)


@pytest.fixture(scope="module")
def nursery():
    found = Nursery()
    yield found
    found.process.communicate(timeout=60)


def parts(folder):
    return sorted(folder.rglob("*.part"))


def test_two_processes_write_one_key(tmp_path, nursery):
    children = [nursery.start(tmp_path, who, SAME) for who in (0, 1)]
    assert [nursery.wait(child) for child in children] == [0, 0]
    assert [one.key for one in walk(tmp_path)[0]] == [KEY]
    assert parts(tmp_path) == []
    assert torch.equal(StageCache(tmp_path).get(KEY).tensors["x"], torch.full((64 * 256,), 7.0))


def test_processes_keep_the_limit_together(tmp_path, nursery):
    limit, most, ended = 8 * 66_100, 0, Event()
    children = [nursery.start(tmp_path, who, CROWDED) for who in (0, 1, 2)]
    statuses = []
    waiting = Thread(target=lambda: (statuses.extend(map(nursery.wait, children)), ended.set()))
    waiting.start()
    while not ended.wait(0.002):
        with Space(tmp_path, limit)._locked():  # nobody begins a file meanwhile; some may get their names
            held, coming = walk(tmp_path)
        sizes = {one.path.name.split(".")[1]: one.size for one in coming} | {one.key: one.size for one in held}
        most = max(most, sum(sizes.values()))
    waiting.join()
    assert statuses == [0, 0, 0]
    assert 4 * 66_000 < most <= limit
    held = walk(tmp_path)[0]
    assert 4 <= len(held) <= 8
    for one in held:
        read_entry(one.path)


def test_threads_share_a_cache(tmp_path):
    cache = StageCache(tmp_path, limit=8 * 66_100)
    failed = []

    def work(who):
        for number in range(20):
            cache.put(f"{20 * who + number:02x}" * 16, {"x": torch.full((64 * 256,), float(who))}, {})
            entry = cache.get(f"{number:02x}" * 16)
            if entry is not None and not entry.tensors["x"].eq(0).all():
                failed.append(number)

    threads = [Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = cache.stats
    assert (failed, stats.damaged, stats.off, stats.written, stats.hits + stats.misses) == ([], [], "", 80, 80)
    assert sum(one.size for one in walk(tmp_path)[0]) <= cache.limit


@pytest.mark.parametrize("delay", [pytest.param(0, id="at-once"), pytest.param(0.013, id="later")])
def test_a_killed_writer_leaves_no_damaged_entry(tmp_path, nursery, delay):
    writer = nursery.start(tmp_path, 0, ENDLESS)
    end = time.monotonic() + 20
    while time.monotonic() < end and not parts(tmp_path):
        pass  # it is killed while a file of it is unfinished, or a moment later
    time.sleep(delay)
    os.kill(writer, signal.SIGKILL)
    assert nursery.wait(writer) == -signal.SIGKILL
    for one in walk(tmp_path)[0]:
        read_entry(one.path)
    cache = StageCache(tmp_path)
    cache.put(KEY, {"x": torch.ones(3)}, {})
    assert parts(tmp_path) == []
    assert cache.get(KEY) is not None
    assert (cache.stats.damaged, cache.stats.off) == ([], "")


@pytest.mark.slow
def test_writers_killed_at_forty_moments(tmp_path, nursery):
    for moment in range(40):
        writer = nursery.start(tmp_path, 0, ENDLESS)
        time.sleep(0.005 + 0.0037 * moment)
        os.kill(writer, signal.SIGKILL)
        assert nursery.wait(writer) == -signal.SIGKILL
        for one in walk(tmp_path)[0]:
            read_entry(one.path)
        StageCache(tmp_path).put(KEY, {"x": torch.ones(3)}, {})
        assert parts(tmp_path) == []


def unfinished(folder, machine, pid, age=0, size=1000):
    path = folder / "ab" / f".{KEY}.{machine}.{pid}.0.{size}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("machine", "alive", "age", "kept"),
    [
        pytest.param(None, False, 0, False, id="dead"),
        pytest.param(None, True, 0, True, id="alive"),
        pytest.param("0" * 8, False, 60, True, id="of-another-machine"),
        pytest.param("0" * 8, False, 4000, False, id="old"),
        pytest.param(None, True, -4000, False, id="of-a-time-to-come"),
    ],
)
def test_unfinished_files_of_the_dead_are_removed(tmp_path, machine, alive, age, kept):
    path = unfinished(tmp_path, machine or host(), os.getppid() if alive else dead(), age)
    StageCache(tmp_path).put("cd" * 16, {"x": torch.ones(3)}, {})
    assert path.exists() == kept


def test_what_is_being_written_is_counted_in_full(tmp_path):
    probe = StageCache(tmp_path / "probe")
    probe.put(KEY, {"x": torch.ones(1000)}, {})
    size = probe.size(KEY)
    cache = StageCache(tmp_path / "c", limit=3 * size)
    path = unfinished(cache.folder, host(), os.getppid(), size=2 * size)
    for number in range(3):
        cache.put(f"{number:02x}" * 16, {"x": torch.ones(1000)}, {})
    assert [cache.has(f"{number:02x}" * 16) for number in range(3)] == [False, False, True]
    path.unlink()


def test_a_lock_that_is_not_released_ends_writing(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    said = []
    cache = StageCache(tmp_path, tell=said.append)
    cache.put(KEY, {"x": torch.ones(3)}, {})
    monkeypatch.setattr(space_module, "_PATIENCE", 0.05)
    with (tmp_path / STATE).open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        cache.put("cd" * 16, {"x": torch.ones(3)}, {})
        assert cache.get(KEY) is not None
    assert said == [
        f"cache: {tmp_path} cannot be written (another process does not release its lock): going on without it"
    ]


@pytest.mark.parametrize("locks", [pytest.param(True, id="refused"), pytest.param(False, id="none")])
def test_a_file_system_without_locks(tmp_path, monkeypatch, locks):
    class Refusing:
        LOCK_EX = LOCK_NB = LOCK_UN = 0

        @staticmethod
        def flock(*_):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(space_module, "fcntl", Refusing if locks else None)
    cache = StageCache(tmp_path)
    cache.put(KEY, {"x": torch.ones(3)}, {})
    assert cache.get(KEY) is not None
    assert cache.stats.off == ""


def test_the_file_side_needs_no_torch():
    program = "import sys, regionkit.plugins.ablation.cache.upkeep, regionkit.plugins.ablation.cache_command\n"
    program += "print([name for name in ('torch', 'numpy', 'safetensors') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
