"""Starting and ending worker processes, and talking to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from regionkit.core.launching import Item, WorkerPlan

#: Seconds that a worker has to end by itself.
_GRACE = 3.0
#: Lines of a log that a message shows.
_LINES = 5


def spawn(handle: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a worker process that talks through an open socket and writes into a log."""
    command = [sys.executable, "-m", "regionkit.plugins.ablation.launching.process", str(handle), str(os.getpid())]
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=[handle],
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
        )


class Child:
    """A worker process and what it is at.

    Args:
        name: The worker.
        device: Its device.
        plan: How it makes a worker.
        log: Takes what it prints.
    """

    def __init__(self, name: str, device: str, plan: WorkerPlan, log: Path) -> None:
        self.name, self.device, self.log = name, device, log
        self.ready = False
        self.item: Item | None = None
        self.group = ""
        self.since = 0.0
        log.parent.mkdir(parents=True, exist_ok=True)
        self._start = log.stat().st_size if log.exists() else 0
        ours, theirs = socket.socketpair()
        try:
            self.process = spawn(theirs.fileno(), log)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.send((list(sys.path), plan.target, {**plan.options, "device": device}))

    def send(self, message: Any) -> None:
        """Send a message; a process that is gone is noticed when its answers end."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def run(self, item: Item, now: float) -> None:
        """Send it an item."""
        self.item, self.group, self.since = item, item.group, now
        self.send((item.id, item.parts))

    def end(self) -> None:
        """Let it end, or kill it, and all processes that it started."""
        self.send(None)
        self.connection.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> int:
        """Kill it with all processes that it started; return its status."""
        with suppress(OSError):
            self.connection.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            self.process.kill()
        return self.process.wait()

    def bury(self) -> str:
        """Say how it ended; its answers have."""
        try:
            status = self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            status = self.kill()
        self.kill()
        return f"{self.name} {how(status)}"

    def said(self) -> list[str]:
        """Return the last lines that it printed since it started."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(self._start, self.log.stat().st_size - 10_000))
                return stream.read().decode("utf-8", "replace").splitlines()[-_LINES:]
        except OSError:
            return []


def how(status: int) -> str:
    """Say how a process ended, by its status."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
