"""Who holds a lease: processes that can be told from all others, and whether they are still alive.

No clock of the wall is read. A process of this machine is looked up; one of another machine counts its beats, and is
given up when the count has stood still for long by the watcher's own clock, which only ever goes forward.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that takes trials.

    Attributes:
        host: Name of its machine.
        system: Tells the running system, and the container in it, from others that call themselves alike; empty where
            the system does not tell.
        pid: Its number there.
        started: When it started, as the system writes it: numbers are used again.
        nonce: Tells two runs in one process apart.
    """

    host: str
    system: str
    pid: int
    started: str
    nonce: str

    @classmethod
    def here(cls) -> Owner:
        """Return an owner for this process, another one each time."""
        pid = os.getpid()
        return cls(_host(), _system(), pid, process_start(pid) or "", secrets.token_hex(4))

    @classmethod
    def parse(cls, text: str) -> Owner:
        """Read what ``str`` wrote.

        Raises:
            ValueError: It is no owner.
        """
        host, system, pid, started, nonce = text.split(":")
        return cls(host, system, int(pid), started, nonce)

    def __str__(self) -> str:
        return ":".join((self.host, self.system, str(self.pid), self.started, self.nonce))

    @property
    def about(self) -> str:
        """What people call it."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_gone(self) -> bool:
        """True where this machine knows that the process has ended. Of other machines' processes it knows nothing."""
        if (self.host, self.system) != (_host(), _system()):
            return False
        started = process_start(self.pid)
        return started is None or (bool(started and self.started) and started != self.started)


class Watch:
    """Remembers when the beats of others last moved.

    Args:
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def is_dead(self, owner: str, beat: int, lease: float) -> bool:
        """Say whether an owner has ended, or has been silent for as long as it asked to be waited for.

        Args:
            owner: The owner, as a string.
            beat: Its count of beats.
            lease: Seconds of silence.
        """
        try:
            if Owner.parse(owner).is_gone:
                return True
        except ValueError:
            return True
        now = self._clock()
        count, since = self._seen.get(owner, (None, now))
        if count != beat:
            self._seen[owner] = beat, now
            return False
        return now - since > lease


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started; None where there is none, empty where that cannot be known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    try:
        # The name, in parentheses, may hold anything; state and start time are fields 3 and 22 of the line.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return "" if _PROC.is_dir() else _start_by_ps(pid)


def _start_by_ps(pid: int) -> str | None:
    """Ask ``ps``, where there is no /proc."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if not said:
        return None
    return None if said[0].startswith("Z") else "-".join(said[1:]).replace(":", ".")


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds; 0 where that cannot be known."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass
    if _PROC.is_dir():
        return 0
    try:
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
        return int(said) << 10
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return 0


def _host() -> str:
    return socket.gethostname().replace(":", "-") or "?"


def _system() -> str:
    """Return the boot and the space of process numbers: after a new start, and in a container, numbers mean others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
