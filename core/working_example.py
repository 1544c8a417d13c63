"""A worker that does nothing much, with which launchers are tried out. It imports neither torch nor numpy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class ExampleWorker:
    """Writes down which process did which item.

    Args:
        folder: Holds a file ``ran``, a line an item that began, ``ITEM PID``.
        launching: Number of the launching process.
        deadly: Items whose first worker is killed at them, unless it is the launching process itself.
    """

    def __init__(self, folder: Path, launching: int, deadly: Sequence[str]) -> None:
        self._folder, self._launching, self._deadly = folder, launching, deadly

    def run(self, item: str, parts: Any = None) -> str:
        """Say that an item is done."""
        before = ran(self._folder)
        line = f"{item} {os.getpid()}\n".encode()
        handle = os.open(self._folder / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
        if item in self._deadly and item not in [name for name, _ in before] and os.getpid() != self._launching:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return f"{item} is done"

    def close(self) -> None:
        """Hold nothing."""


def make_worker(
    folder: str,
    launching: int,
    deadly: Sequence[str] = (),
    *,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda text: None,
) -> ExampleWorker:
    """Make a worker; the arguments are those of the class."""
    return ExampleWorker(Path(folder), launching, deadly)


def ran(folder: Path) -> list[tuple[str, int]]:
    """Return which items began in which processes, in order."""
    try:
        lines = (folder / "ran").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(name, int(pid)) for name, pid in (line.rsplit(" ", 1) for line in lines)]
