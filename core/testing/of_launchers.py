"""Checks of launchers, on work that takes no time: a worker of which imports neither torch nor any model."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item, Launcher, Work, WorkerPlan
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import Skip, demand
from regionkit.core.testing.subject import Subject
from regionkit.core.working_example import ran

#: Seconds that processes have to end after a launcher is done.
_PATIENCE = 10.0


class ExampleWork(Work):
    """Items in memory.

    Args:
        folder: Takes what workers write.
        items: Their names.
        deadly: Items whose first worker is killed.
        held: Items that somebody else has, and loses when they are asked for often enough.
    """

    def __init__(
        self, folder: Path, items: Sequence[str], deadly: Sequence[str] = (), held: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        options = {"folder": str(folder), "launching": os.getpid(), "deadly": list(deadly)}
        self.plan = WorkerPlan("regionkit.core.working_example:make_worker", options)
        self.open = [Item(name, name[0]) for name in items if name not in held]
        self.held = [Item(name, name[0]) for name in held]
        self.asked = 0
        self.leased: dict[str, str] = {}
        self.results: list[tuple[str, Any]] = []
        self.lost: list[tuple[str, str]] = []
        self.stop: Callable[[Item], bool] = lambda item: False

    def take(self, owner: str, group: str = "") -> Item | None:
        """Hand out an item, one of the group first."""
        self.asked += 1
        if self.held and self.asked >= 3:
            self.open.append(self.held.pop())
        if not self.open:
            return None
        item = min(self.open, key=lambda one: one.group != group)
        self.open.remove(item)
        demand(item.id not in self.leased, f"{item.id} is handed out to two at a time")
        self.leased[item.id] = owner
        return item

    def beat(self, owner: str) -> None:
        """Nobody looks."""

    def finish(self, owner: str, item: Item, result: Any) -> None:
        """Keep a result."""
        demand(self.leased.get(item.id) == owner, f"{owner} ends {item.id}, which it does not have")
        if self.stop(item):
            raise RunFailed("that is enough")
        del self.leased[item.id]
        self.results.append((item.id, result))

    def lose(self, owner: str, item: Item, reason: str) -> None:
        """Take an item back."""
        demand(self.leased.get(item.id) == owner, f"{owner} loses {item.id}, which it does not have")
        demand(len(self.lost) < 20, "items are lost again and again")
        del self.leased[item.id]
        self.lost.append((item.id, reason))
        self.open.append(item)

    def leave(self, owner: str) -> None:
        """Take back what an owner has."""
        for name in [name for name, holder in self.leased.items() if holder == owner]:
            del self.leased[name]
            self.open.append(Item(name, name[0]))

    def remaining(self) -> int:
        """Count what has not ended."""
        return len(self.open) + len(self.held) + len(self.leased)

    def tell(self, text: str) -> None:
        """Nobody listens."""


def _launched(subject: Subject, work: ExampleWork) -> None:
    """Run work to its end and check that it is done, and that no process is left."""
    launcher: Launcher = subject.component
    expected = work.remaining()
    launcher.launch(work, "cpu")
    demand(not work.remaining(), f"it returns while {work.remaining()} of {expected} items have not ended")
    demand(len(work.results) == expected, f"{expected} items have {len(work.results)} results")
    twice = [name for name, count in Counter(name for name, _ in work.results).items() if count > 1]
    demand(not twice, f"{twice[:1]} has two results")
    wrong = [(name, result) for name, result in work.results if result != f"{name} is done"]
    demand(not wrong, f"a result is not what the worker gave: {wrong[:1]}")
    _gone(work)


def _gone(work: ExampleWork) -> None:
    """Demand that all workers that were ever there end soon."""
    assert work.folder is not None
    end = time.monotonic() + _PATIENCE
    for pid in {pid for _, pid in ran(work.folder)} - {os.getpid()}:
        while _runs(pid):
            demand(time.monotonic() < end, f"process {pid} is left behind")
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return not Path("/proc").is_dir()


@check("launcher")
def all_once(subject: Subject) -> None:
    """Every item is done once, the result is what its worker gave, and no process is left behind."""
    with tempfile.TemporaryDirectory() as folder:
        work = ExampleWork(Path(folder), [f"{group}{number}" for group in "ab" for number in range(6)])
        _launched(subject, work)
        begun = [name for name, _ in ran(Path(folder))]
        demand(len(begun) == len(set(begun)) == 12, "an item was begun twice although no worker died")


@check("launcher")
def nothing_to_do(subject: Subject) -> None:
    """Without an item it returns at once, having asked no worker for anything."""
    with tempfile.TemporaryDirectory() as folder:
        work = ExampleWork(Path(folder), [])
        _launched(subject, work)
        demand(not ran(Path(folder)), "it ran something")


@check("launcher")
def dead_worker(subject: Subject) -> None:
    """An item whose worker is killed is lost with a reason, done by another worker, and all others are done once."""
    with tempfile.TemporaryDirectory() as folder:
        work = ExampleWork(Path(folder), ["a1", "a2", "b1", "b2"], deadly=["a2"])
        _launched(subject, work)
        if os.getpid() in {pid for _, pid in ran(Path(folder))}:
            raise Skip("it runs items in the launching process, which nothing survives")
        demand([name for name, _ in work.lost] == ["a2"], f"what was lost is {[name for name, _ in work.lost]}")
        demand(bool(work.lost[0][1].strip()), "it does not say why an item was lost")
        tries = [pid for name, pid in ran(Path(folder)) if name == "a2"]
        demand(len(set(tries)) == 2, "the item was not done by another process")


@check("launcher")
def stops(subject: Subject) -> None:
    """Where the work says stop, it raises that, and ends all workers."""
    with tempfile.TemporaryDirectory() as folder:
        work = ExampleWork(Path(folder), [f"a{number}" for number in range(40)])
        work.stop = lambda item: True
        try:
            subject.component.launch(work, "cpu")
        except RunFailed as error:
            demand("that is enough" in str(error), f"it raises something else than the work did: {error.message}")
        else:
            demand(False, "the work says stop, and it goes on")
        _gone(work)
        demand(len(ran(Path(folder))) < 40, "it ran all items before it stopped")


@check("launcher")
def waits_for_others(subject: Subject) -> None:
    """It does not end while somebody else has an item, and does that item when it comes back."""
    with tempfile.TemporaryDirectory() as folder:
        work = ExampleWork(Path(folder), ["a1", "a2"], held=["a2"])
        _launched(subject, work)


@check("launcher")
def again(subject: Subject) -> None:
    """It can be used twice, and keeps nothing of the first time."""
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            _launched(subject, ExampleWork(Path(folder), ["a1", "b1"]))
