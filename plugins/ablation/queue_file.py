"""The file of a queue: opened, moved aside and made anew where it is damaged, and written to whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from regionkit.core.errors import RunFailed
from regionkit.core.sqlite_journals import Journal, choose_journal

_T = TypeVar("_T")
#: How the tables look, and how SQLite tells our files from those of others.
_VERSION, _APPLICATION = 1, 0x524B5155
_TABLES = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, beat INTEGER NOT NULL, lease REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    id TEXT PRIMARY KEY, place INTEGER NOT NULL, family TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    session TEXT NOT NULL DEFAULT '', worker TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX states ON items (state);
CREATE TABLE devices (name TEXT PRIMARY KEY, session TEXT NOT NULL, worker TEXT NOT NULL) WITHOUT ROWID;
"""
#: What SQLite says of a file that is damaged, of another make, cut short, or no longer the one of that name.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR_SHORT_READ}
_MOVED = {sqlite3.SQLITE_READONLY_DBMOVED}


class _Foreign(sqlite3.DatabaseError):
    """A sound database that is none of ours."""


class QueueFile:
    """A database that many processes and threads write to, and that can be made anew at any time.

    Args:
        path: The file; None for one in memory, of this process alone.
        tell: Told when it was damaged.
        journal: See :func:`regionkit.core.sqlite_journals.choose_journal`.
    """

    def __init__(self, path: Path | None, tell: Callable[[str], None], journal: Journal) -> None:
        self._path, self._tell, self._journal = path, tell, journal
        self._lock = threading.RLock()
        self._open_or_mend()

    def _fill(self) -> None:
        """Put into a new file what was in the old one."""

    def follow(self) -> None:
        """Open the file again where another process has put one in its place."""
        if self._path is not None and _inode(self._path) != self._inode:
            with self._lock:
                self._mend("", {})

    def do(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Make a change, whole or not at all; on a damaged file, once more on a new one.

        Raises:
            RunFailed: The disk is full, or the file cannot be written for another reason.
        """
        with self._lock:
            try:
                return self.transact(change)
            except sqlite3.DatabaseError as error:
                self._mend(str(error), {_code(error)})
            try:
                return self.transact(change)
            except sqlite3.DatabaseError as error:
                raise self._unusable(error) from None

    def transact(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Make a change, whole or not at all; what SQLite says against it is raised as it is."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            found = change(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise
        return found

    def _open(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False)
        try:
            if self._path is not None:
                self._db.execute(f"PRAGMA journal_mode={choose_journal(self._path.parent, self._journal)}")
            # A power cut may cost the queue, which is made again; waiting for the disk at every lease costs time.
            self._db.execute("PRAGMA synchronous=OFF")
            self.transact(_make)
            state = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if state != "ok":
                raise _Foreign(str(state))
        except BaseException:
            self._db.close()
            raise
        self._inode = _inode(self._path) if self._path is not None else 0

    def _open_or_mend(self) -> None:
        try:
            self._open()
        except OSError as error:
            raise self._unusable(error) from None
        except sqlite3.DatabaseError as error:
            self._mend(str(error), {_code(error)})

    def _mend(self, said: str, codes: Iterable[int]) -> None:
        """Open the file again where another one has its name by now; move it aside where it is damaged.

        Raises:
            RunFailed: The fault is another one.
        """
        if said and not _DAMAGED.union(_MOVED).intersection(codes):
            raise self._unusable(sqlite3.OperationalError(said))
        self._db.close()
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if not _DAMAGED.intersection({_code(error)}):
                    raise
                self._move_aside(str(error))
                self._open()
            self._fill()
        except (OSError, sqlite3.DatabaseError) as error:
            raise self._unusable(error) from None

    def _move_aside(self, said: str) -> None:
        assert self._path is not None
        number = 1
        while (kept := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        for ending in ("-wal", "-shm", "-journal", ""):
            with suppress(FileNotFoundError):
                os.replace(f"{self._path}{ending}", f"{kept}{ending}")
        self._tell(
            f"{self._path} cannot be used ({said}): it is now {kept.name}, and a new one was made of the results"
        )

    def _unusable(self, error: Exception) -> RunFailed:
        return RunFailed(
            f"the queue {self._path} cannot be written: {error}",
            "run the same command again when there is room and the folder can be written to: all results are kept",
        )


def _make(db: sqlite3.Connection) -> None:
    """Make the tables where there are none.

    Raises:
        _Foreign: The file is another's.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if (version, application, tables) == (_VERSION, _APPLICATION, 4):  # three tables and an index
        return
    if (version, application, tables) != (0, 0, 0):
        raise _Foreign("it is no queue of this regionkit")
    for statement in _TABLES.split(";")[:-1]:
        db.execute(statement)
    db.execute(f"PRAGMA user_version={_VERSION}")
    db.execute(f"PRAGMA application_id={_APPLICATION}")


def _code(error: sqlite3.Error) -> int:
    if isinstance(error, _Foreign):
        return sqlite3.SQLITE_CORRUPT
    code = getattr(error, "sqlite_errorcode", 0)
    return int(code) if code in _DAMAGED | _MOVED else int(code) & 0xFF


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1
