"""Watches over worker processes: hands out items, takes results, and ends what hangs, grows or dies."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Work
from regionkit.plugins.ablation.launching.children import Child
from regionkit.plugins.ablation.owners import resident_bytes

#: Seconds between two looks.
_PAUSE = 0.2
#: Workers that may die in a row before one of them was ready.
_MOST_STARTS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What an item may take: seconds, and MiB of main memory; None for any."""

    seconds: float | None = None
    mebibytes: int | None = None

    @property
    def any(self) -> bool:
        """True where something is limited."""
        return self.seconds is not None or self.mebibytes is not None


class Pool:
    """Runs work in so many processes.

    Args:
        work: The work.
        count: Most workers at a time.
        devices: Devices for them.
        limits: What an item may take.
        share: Whether several may have one device.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        work: Work,
        count: int,
        devices: list[str],
        limits: Limits,
        *,
        share: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._count, self._devices, self._limits, self._share = work, count, devices, limits, share
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._failed_starts = 0
        self._waiting = False

    def run(self) -> None:
        """Run until no item remains.

        Raises:
            RunFailed: The run is to stop, or workers do not start.
        """
        with ExitStack() as stack:
            folder = self._work.folder
            logs = folder / "logs" if folder else Path(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                while remaining := self._work.remaining():
                    self._start(logs, remaining)
                    self._hand_out()
                    self._listen()
                    self._limit()
            except BaseException:
                for child in list(self._children.values()):
                    child.kill()
                    self._forget(child)
                raise
            for child in list(self._children.values()):
                child.end()
                self._forget(child)

    def _start(self, logs: Path, remaining: int) -> None:
        """Start workers that are missing, where there is work and a device for them."""
        names = (f"worker-{number}" for number in range(1, self._count + 1))
        missing = [name for name in names if name not in self._children]
        for name in missing[: max(0, min(self._count, remaining) - len(self._children))]:
            device = self._device(name)
            if device is None:
                if not self._children and not self._waiting:
                    self._waiting = True
                    which = " and ".join(self._devices)
                    self._work.tell(f"{which} belong to other workers of this run, so this process waits for theirs")
                return
            self._children[name] = Child(name, device, self._work.plan, logs / f"{name}.log")

    def _device(self, name: str) -> str | None:
        """Return a device that is free, or the one that the fewest have where they share."""
        taken = [child.device for child in self._children.values()]
        for device in sorted(self._devices, key=taken.count):
            if self._share or device == "cpu" or (device not in taken and self._work.claim(name, device)):
                return device
        return None

    def _hand_out(self) -> None:
        for child in self._children.values():
            if child.ready and child.item is None:
                item = self._work.take(child.name, child.group)
                if item is None:
                    return
                child.run(item, self._clock())

    def _listen(self) -> None:
        """Take what workers say, and notice those that have ended."""
        talking = {child.connection: child for child in self._children.values()}
        if not talking:
            time.sleep(_PAUSE)
        for connection in wait(list(talking), _PAUSE):
            child = talking[connection]  # type: ignore[index]
            try:
                message = child.connection.recv()
            except (EOFError, OSError):
                self._bury(child)
                continue
            self._take_in(child, *message)

    def _take_in(self, child: Child, word: str, *rest: object) -> None:
        """Take a message.

        Raises:
            RunFailed: The worker cannot be made.
        """
        if word == "ready":
            child.ready, self._failed_starts = True, 0
        elif word == "tell":
            self._work.tell(f"{child.name}: {rest[0]}")
        elif word == "refused":
            text, hints = rest
            assert isinstance(hints, tuple)
            child.kill()
            self._forget(child)
            if not any(other.ready for other in self._children.values()):
                raise RunFailed(f"{child.name} cannot start: {text}", *hints)
            self._count = len(self._children)  # those that started before go on, such as before the code was edited
            self._work.tell(f"{child.name} cannot start, and {self._count} go on: {text}")
        else:
            item, child.item = child.item, None
            assert item is not None
            self._work.finish(child.name, item, rest[0])

    def _bury(self, child: Child) -> None:
        """Give the item of a dead worker back, or count a start that failed.

        Raises:
            RunFailed: Too many starts failed.
        """
        reason = child.bury()
        self._forget(child, leave=child.item is None)
        if child.item is not None:
            self._lose(child, reason)
        elif not child.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                lines = child.said()
                raise RunFailed(
                    f"{self._failed_starts} workers in a row ended before their first trial: {reason}",
                    *(["the last lines that it wrote:", *lines] if lines else []),
                )

    def _lose(self, child: Child, reason: str) -> None:
        assert child.item is not None
        lines = child.said()
        last = f"; its last line: {lines[-1].strip()}" if lines and lines[-1].strip() else ""
        self._work.lose(child.name, child.item, reason + last)
        self._work.leave(child.name)

    def _limit(self) -> None:
        """End workers whose item takes too long or too much."""
        for child in list(self._children.values()):
            if child.item is None:
                continue
            reason = self._excess(child)
            if reason:
                child.kill()
                self._forget(child, leave=False)
                self._work.fail(child.name, child.item, reason)
                self._work.leave(child.name)

    def _excess(self, child: Child) -> str:
        """Say what of the limits is exceeded; empty for nothing."""
        seconds, mebibytes = self._limits.seconds, self._limits.mebibytes
        if seconds is not None and self._clock() - child.since > seconds:
            return f"took longer than {seconds:g} s; raise launcher.time_limit"
        if mebibytes is not None:
            held = resident_bytes(child.process.pid) >> 20
            if held > mebibytes:
                return f"held {held:,} MiB, more than the {mebibytes:,} MiB of launcher.memory_limit"
        return ""

    def _forget(self, child: Child, *, leave: bool = True) -> None:
        self._children.pop(child.name, None)
        if leave:
            self._work.leave(child.name)
