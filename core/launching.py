"""Launchers: where the trials of a run are done. A run offers work; a launcher hands it to processes and machines.

A launcher knows nothing of trials. What it moves about are the names of items and plain values, so that an ablation,
and whatever comes after it, runs through any of them.
"""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from regionkit.core.contracts import Component
from regionkit.core.errors import RegionkitError


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of work.

    Attributes:
        id: Its name, unique in the run.
        group: Items of one group need the same large models: a worker that stays in a group loads less.
        about: What people call it.
        parts: What it is made of, where it only puts together what other items gave: :meth:`Worker.run` is given it.
    """

    id: str
    group: str = ""
    about: str = ""
    parts: Any = field(default=None, compare=False, repr=False)


class Worker(Protocol):
    """Does items, one after the other, and keeps what neighbours have in common."""

    def run(self, item: str, parts: Any = None) -> Any:
        """Do an item. What it returns can be pickled; an item that fails returns that, too, and raises nothing.

        Args:
            item: Its id.
            parts: Its parts, for an item that has some.
        """

    def close(self) -> None:
        """Let go of models."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How any process makes a worker.

    Attributes:
        target: ``module:function``, which returns a :class:`Worker`.
        options: What the function is given by keyword: plain values.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **more: Any) -> Worker:
        """Import the function and make a worker.

        Args:
            more: What the place decides, by keyword: ``device``, and ``tell``, which takes sentences for the user.
        """
        module, _, name = self.target.partition(":")
        worker: Worker = getattr(importlib.import_module(module), name)(**{**self.options, **more})
        return worker


class Work(ABC):
    """What a run offers to a launcher.

    All methods are for the launching process alone, and all but :meth:`beat` for its main thread. An owner is the name
    that a launcher gives to a worker.

    Attributes:
        folder: Folder of the run; None for one that keeps nothing.
        plan: How workers are made.
    """

    folder: Path | None
    plan: WorkerPlan

    @abstractmethod
    def take(self, owner: str, group: str = "") -> Item | None:
        """Return an item that nobody has, preferably of a group, and note who has it; None where there is none now.

        None does not mean the end: an item of a worker that dies comes back. See :meth:`remaining`.
        """

    @abstractmethod
    def beat(self, owner: str) -> None:
        """Say that an owner is alive; one that is silent for long loses its items. Any thread may call it."""

    @abstractmethod
    def finish(self, owner: str, item: Item, result: Any) -> None:
        """Take the result of an item.

        Raises:
            RunFailed: The run is to stop here, or the result cannot be kept.
        """

    @abstractmethod
    def lose(self, owner: str, item: Item, reason: str) -> None:
        """Say that the worker of an item is gone: it is done again, or has failed for good after several tries.

        Raises:
            RunFailed: The run is to stop here.
        """

    def fail(self, owner: str, item: Item, reason: str) -> None:
        """Say that an item has failed for good: another try would end in the same way.

        Raises:
            RunFailed: The run is to stop here.
        """
        self.lose(owner, item, reason)

    @abstractmethod
    def remaining(self) -> int:
        """Return how many items have not ended, those of others included.

        Raises:
            RunFailed: The run is to stop here.
        """

    @abstractmethod
    def tell(self, text: str) -> None:
        """Tell the user something."""

    def worker(self, **more: Any) -> Worker:
        """Make a worker in this process; ``more`` as for :meth:`WorkerPlan.make`."""
        return self.plan.make(**more)

    def claim(self, owner: str, device: str) -> bool:
        """Take a device of this machine for a worker; say whether no other worker of this run has it.

        Args:
            owner: The worker. It keeps the device until it leaves.
            device: A torch device. Of ``cpu`` there is enough for all.
        """
        return True

    def leave(self, owner: str) -> None:  # noqa: B027  (a run whose workers hold nothing has nothing to do)
        """Say that an owner has ended: its device, and an item that it did not finish, are there for others."""

    def split(self, pictures: int) -> Work:
        """Return the same work in smaller items, of about so many pictures each, for many workers to share.

        Only a launcher that hands :attr:`Item.parts` on asks for it. By default items stay as they are.
        """
        return self


class Launcher(Component, ABC):
    """Runs work somewhere."""

    @abstractmethod
    def launch(self, work: Work, device: str = "auto") -> None:
        """Run until no item remains, and leave no process behind, also when something is raised.

        Args:
            work: What there is to do.
            device: ``auto``, or the torch device of a single worker.

        Raises:
            RunFailed: The run stopped before its end.
        """


@contextmanager
def beating(work: Work, owners: Callable[[], Iterable[str]], lease: float) -> Iterator[None]:
    """Give signs of life of owners from a thread, also while the main one is busy with a trial or a result.

    Args:
        work: What they work at.
        owners: Returns who they are at the moment.
        lease: Seconds after which silence is taken for death.
    """
    ended = threading.Event()
    seconds = min(max(lease / 6, 0.2), 10.0)

    def beat() -> None:
        while not ended.wait(seconds):
            for owner in owners():
                with suppress(RegionkitError):  # whatever it is, the main thread meets it too, and can tell it
                    work.beat(owner)

    thread = threading.Thread(target=beat, name="regionkit-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
