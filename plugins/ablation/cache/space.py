"""How much the stage cache may hold, and what goes when it is full; shared by all processes that write to a folder.

When an entry was last used is its file's time of modification, so that reading needs no lock and no index can be
damaged. How many bytes there are is a number in the file ``.state``, changed under a lock. The number is only ever too
large: it grows before an entry is written and shrinks when the folder is listed again. That is done by the first entry
that a process writes, and whenever the number says that the folder is full.

The folder must be on a disk whose renames are atomic and whose locks hold between all that write to it: any local disk.
Where a file system has no locks, several processes may together go beyond the limit, and nothing else is lost.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from regionkit.plugins.ablation.cache.entries import Held, Unfinished, walk

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None  # type: ignore[assignment]

STATE = ".state"
#: Bytes that a cache may take where nobody says otherwise.
LIMIT = 20 * 2**30
#: Seconds to wait for other processes; a holder lists a folder at most.
_PATIENCE = 30.0
#: Seconds after which a file that is still unfinished has been given up, whoever writes it.
_GIVEN_UP = 3600
#: Times beyond this are no times, in nanoseconds: a file system would refuse them.
_LATEST = 2**62

_numbers = itertools.count()


class NoRoom(Exception):
    """An entry is larger than what the limit leaves."""


def host() -> str:
    """Return eight digits that stand for this machine: a process of another one cannot be asked whether it lives."""
    return sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]


class Space:
    """The room in a cache's folder.

    Args:
        folder: The folder; it is made when it is first written to.
        limit: Most bytes that its entries may have together, those included that are being written.

    Attributes:
        evicted: How many entries this process has removed to make room.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.evicted = 0
        self._listed = False
        self._newest: int | None = None

    def reserve(self, place: Path, size: int) -> tuple[IO[bytes], Path]:
        """Make room for an entry and return a new file to write it to, and its path, in the folder of ``place``.

        The file's name says how large it will be: whoever counts takes it for that size from now on.

        Raises:
            NoRoom: It is larger than the limit, or what takes the room cannot be removed.
            OSError: The folder cannot be written.
        """
        if size > self.limit:
            raise NoRoom
        place.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as handle:
            used = _number(_state(handle), "bytes")
            if not self._listed or used is None or used + size > self.limit:
                used = self._make_room(size)
                self._listed = True
            self._note(handle, used + size)
            name = place.name.removesuffix(".safetensors")
            path = place.with_name(f".{name}.{host()}.{os.getpid()}.{next(_numbers)}.{size}.part")
            return open(path, "xb"), path

    def touch(self, path: Path, before: int = 0) -> None:
        """Note that an entry, last used at ``before``, is used now; where that cannot be noted, nothing happens.

        Notes go on from the latest that there is, so that a clock that was set back does not make what is used now
        look older than all else.
        """
        if self._newest is None:
            try:
                with (self.folder / STATE).open("rb") as stream:
                    self._newest = _number(_state(stream.fileno()), "newest") or 0
            except OSError:
                self._newest = 0
        latest = max(self._newest, before if before < _LATEST else 0)
        self._newest = max(time.time_ns(), latest + 1)
        with suppress(OSError, OverflowError):
            os.utime(path, ns=(self._newest, self._newest))

    def _make_room(self, size: int) -> int:
        """List the folder, remove what was not used for longest until there is room, and return the bytes left."""
        held, unfinished = walk(self.folder)
        self._newest = max([self._newest or 0, *(one.used for one in held if one.used < _LATEST)])
        coming = sum(one.size for one in unfinished if not _removed_if_dead(one))
        if coming + size > self.limit:
            raise NoRoom
        used = coming + sum(one.size for one in held)
        # Some more than needed goes, so that a full folder is not listed for every entry.
        spare = len(held) // 16
        for one in sorted(held, key=lambda one: one.used if one.used < _LATEST else 0):
            if used + size <= self.limit:
                spare -= 1
                if spare < 0 or used + size <= self.limit - self.limit // 16:
                    break
            if _removed(one):
                used -= one.size
                self.evicted += 1
        if used + size > self.limit:
            raise NoRoom
        return used

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock of the folder, and yield its file.

        Raises:
            OSError: The file cannot be written, or another process does not give the lock back.
        """
        handle = os.open(self.folder / STATE, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(handle)
            try:
                yield handle
            finally:
                if fcntl is not None:
                    with suppress(OSError):
                        # Closing is not enough where another thread has started a process in the meantime.
                        fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def _note(self, handle: int, used: int) -> None:
        content = json.dumps({"bytes": used, "limit": self.limit, "newest": self._newest or 0}).encode()
        os.lseek(handle, 0, os.SEEK_SET)
        if os.write(handle, content.ljust(128)) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(handle, max(128, len(content)))


def limit_of(folder: Path) -> int:
    """Return the limit that the last writer to a folder had."""
    try:
        with (folder / STATE).open("rb") as stream:
            found = _number(_state(stream.fileno()), "limit")
    except OSError:
        found = None
    return LIMIT if found is None else found


def clean(unfinished: list[Unfinished]) -> int:
    """Remove files that nobody will finish, and return how many."""
    return sum(_removed_if_dead(one) for one in unfinished)


def _lock(handle: int) -> None:
    if fcntl is None:
        return
    end, pause = time.monotonic() + _PATIENCE, 0.0005
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError(errno.EAGAIN, "another process does not release its lock") from None
        except OSError:
            return  # a file system without locks
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _state(handle: int) -> dict[str, Any]:
    """Return what the file of the state says, nothing where it is damaged: it follows from the entries."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        state = json.loads(os.read(handle, 4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _number(state: dict[str, Any], name: str) -> int | None:
    found = state.get(name)
    return found if type(found) is int and 0 <= found < _LATEST else None


def _removed(one: Held) -> bool:
    """Remove an entry; a process that is reading it goes on doing so."""
    try:
        one.path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _removed_if_dead(one: Unfinished) -> bool:
    """Remove a file whose writer is gone: a process of this machine that ended, or any that takes an hour."""
    age = time.time() - one.since / 1e9
    if abs(age) < _GIVEN_UP and not (one.host == host() and not _lives(one.pid)):
        return False
    with suppress(OSError):
        one.path.unlink(missing_ok=True)
        return True
    return False


def _lives(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
