"""The queue of a run folder: which trials are open, who has one, and who is alive.

It is made of the plan and of the results, and holds nothing that these do not say but leases: a damaged one is moved
aside and made anew. What it gets wrong costs a trial that is done twice, never a result: those are kept once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item
from regionkit.core.sqlite_journals import Journal
from regionkit.plugins.ablation.owners import Owner, Watch
from regionkit.plugins.ablation.queue_file import QueueFile

#: Name of the database in a run folder.
QUEUE = "queue.sqlite"
#: Seconds without a beat after which the trials of an owner on another machine are done by others.
LEASE = 60.0
_MINE = "id IN (SELECT id FROM mine)"


@dataclass(frozen=True, slots=True)
class Lease:
    """An item in somebody's hands: ``attempts`` of others before ended with them, the last for ``reason``."""

    id: str
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the items of one plan are.

    Attributes:
        ended: Items that are done or failed.
        failed: Those that failed.
        busy: Who has which of the others: item, owner, worker.
    """

    ended: int = 0
    failed: int = 0
    busy: Sequence[tuple[str, Owner, str]] = field(default_factory=tuple)


class Queue(QueueFile):
    """The leases of a run. Safe with many processes and threads; nothing is lost when any of them is killed.

    Args:
        path: The database; None for one in memory, of this process alone.
        tell: Told what a user should know.
        journal: See :func:`regionkit.core.sqlite_journals.choose_journal`.
        lease: Seconds of silence after which others on other machines may take what this process has.
        watch: Remembers the beats of others.
    """

    def __init__(
        self,
        path: Path | None,
        tell: Callable[[str], None] = lambda text: None,
        *,
        journal: Journal = "auto",
        lease: float = LEASE,
        watch: Watch | None = None,
    ) -> None:
        self.me = Owner.here()
        self._lease = lease
        self._watch = watch or Watch()
        self._items: list[Item] = []
        self._done: Callable[[], set[str]] = set
        self._held: dict[str, str] = {}
        self._entered = False
        self._thread = threading.get_ident()
        super().__init__(path, tell, journal)

    def close(self) -> None:
        """Give back what is held, and close the file."""
        with self._lock:
            if self._entered:
                with suppress(RunFailed):
                    self.do(self._leave_all)
            self._entered = False
            self._db.close()

    # -- taking part ----------------------------------------------------------------------------------------------

    def enter(self, items: Sequence[Item], done: Callable[[], set[str]], *, again: bool = True) -> list[Owner]:
        """Take part in a run: put items into the queue, or find them there.

        Args:
            items: The items, in the order in which they are best done.
            done: Says which of them have a result.
            again: Open items that failed, unless others are at work: then they failed in this very run.

        Returns:
            Others that are alive.
        """
        self._items, self._done = list(items), done
        others = self.do(lambda db: self._enter(db, again))
        self._entered = True
        return others

    def _enter(self, db: sqlite3.Connection, again: bool) -> list[Owner]:
        others = self._sweep(db)
        db.execute("INSERT OR REPLACE INTO sessions VALUES (?, 0, ?)", (str(self.me), self._lease))
        db.execute("CREATE TEMP TABLE IF NOT EXISTS mine (id TEXT PRIMARY KEY) WITHOUT ROWID")
        db.execute("DELETE FROM mine")
        db.executemany("INSERT OR IGNORE INTO mine VALUES (?)", ((item.id,) for item in self._items))
        db.executemany(
            "INSERT INTO items (id, place, family) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
            ((item.id, place, item.group) for place, item in enumerate(self._items)),
        )
        if threading.get_ident() == self._thread:  # results can be read by one thread; who takes an item looks again
            self._follow(db, self._done())
        if again and not others:
            db.execute(f"UPDATE items SET state = 'open' WHERE state = 'failed' AND {_MINE}")
            db.execute(f"UPDATE items SET attempts = 0, reason = '' WHERE state = 'open' AND {_MINE}")
        db.executemany(
            "UPDATE items SET state = 'leased', session = ?, worker = ? WHERE id = ? AND state = 'open'",
            ((str(self.me), worker, one) for one, worker in self._held.items()),
        )
        return others

    def _fill(self) -> None:
        if self._entered:
            self.transact(lambda db: self._enter(db, again=False))

    def _follow(self, db: sqlite3.Connection, done: set[str]) -> None:
        """Believe the results, not the queue, in what is done."""
        ours = {item.id for item in self._items} & done
        query = "UPDATE items SET state = 'done', session = '', worker = '' WHERE id = ?"
        db.executemany(query, ((one,) for one in ours))
        told = [one for (one,) in db.execute(f"SELECT id FROM items WHERE state = 'done' AND {_MINE}")]
        db.executemany("UPDATE items SET state = 'open' WHERE id = ?", ((one,) for one in told if one not in done))

    def beat(self) -> None:
        """Say that this process is alive, and notice a queue that another one has put in the place of a damaged one."""
        self.follow()
        if self._entered and not self.do(self._beat):
            self.do(lambda db: self._enter(db, again=False))  # others took us for dead

    def _beat(self, db: sqlite3.Connection) -> bool:
        return db.execute("UPDATE sessions SET beat = beat + 1 WHERE id = ?", (str(self.me),)).rowcount > 0

    def others(self) -> list[Owner]:
        """Return all others that are alive."""
        return self.do(self._sweep)

    # -- items ----------------------------------------------------------------------------------------------------

    def take(self, worker: str, group: str = "") -> Lease | None:
        """Lease an item to a worker: one of a group, else one of a group that nobody works on, else any."""
        with self._lock:  # the thread that beats may have to enter what is held anew at any time
            lease = self.do(lambda db: self._take(db, worker, group))
            if lease is not None:
                self._held[lease.id] = worker
        return lease

    def _take(self, db: sqlite3.Connection, worker: str, group: str) -> Lease | None:
        self._sweep(db)
        row = db.execute(
            f"SELECT id, attempts, reason FROM items WHERE state = 'open' AND {_MINE} ORDER BY family = ? DESC, "
            "family IN (SELECT DISTINCT family FROM items WHERE state = 'leased'), place LIMIT 1",
            (group,),
        ).fetchone()
        if row is None:
            return None
        db.execute(
            "UPDATE items SET state = 'leased', session = ?, worker = ? WHERE id = ?", (str(self.me), worker, row[0])
        )
        return Lease(*row)

    def end(self, item: str, state: str) -> None:
        """Note that an item is ``done``, whoever has it, or ``failed``, unless another has it by now."""
        with self._lock:
            self._held.pop(item, None)
        ours = "" if state == "done" else " AND state != 'done' AND session IN ('', ?)"
        query = f"UPDATE items SET state = ?, session = '', worker = '' WHERE id = ?{ours}"
        self.do(lambda db: db.execute(query, (state, item, *([str(self.me)] if ours else []))))

    def lose(self, item: str, reason: str) -> int:
        """Put back an item whose worker is gone; return how many attempts have ended like that."""
        with self._lock:
            self._held.pop(item, None)

        def lose(db: sqlite3.Connection) -> int:
            db.execute(f"UPDATE items SET {_LOST} WHERE id = ? AND session = ?", (reason, item, str(self.me)))
            row = db.execute("SELECT attempts FROM items WHERE id = ?", (item,)).fetchone()
            return int(row[0]) if row else 0

        return self.do(lose)

    def leave(self, worker: str) -> None:
        """Give back what a worker of this process has: its item, and its device."""
        with self._lock:
            self._held = {one: holder for one, holder in self._held.items() if holder != worker}

        def leave(db: sqlite3.Connection) -> None:
            who = str(self.me), worker
            db.execute(
                "UPDATE items SET state = 'open', session = '', worker = '' WHERE session = ? AND worker = ?", who
            )
            db.execute("DELETE FROM devices WHERE session = ? AND worker = ?", who)

        self.do(leave)

    def _leave_all(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE items SET state = 'open', session = '', worker = '' WHERE session = ?", (str(self.me),))
        self._forget(db, str(self.me))

    def standing(self) -> Standing:
        """Say how far this run is."""

        def look(db: sqlite3.Connection) -> Standing:
            self._sweep(db)
            query = f"SELECT COUNT(*), TOTAL(state = 'failed') FROM items WHERE state IN ('done', 'failed') AND {_MINE}"
            ended, failed = db.execute(query).fetchone()
            rows = db.execute(f"SELECT id, session, worker FROM items WHERE state = 'leased' AND {_MINE}")
            return Standing(ended, int(failed), [(one, Owner.parse(who), worker) for one, who, worker in rows])

        return self.do(look)

    def ended(self) -> Mapping[str, str]:
        """Return item -> ``done`` or ``failed``, for those that have ended."""
        query = f"SELECT id, state FROM items WHERE state IN ('done', 'failed') AND {_MINE}"
        return self.do(lambda db: dict(db.execute(query).fetchall()))

    # -- devices --------------------------------------------------------------------------------------------------

    def claim(self, worker: str, device: str) -> bool:
        """Take a device of this machine for a worker; say whether nobody else of this run has it."""
        name = f"{self.me.host}/{device}"

        def claim(db: sqlite3.Connection) -> bool:
            self._sweep(db)
            row = db.execute("SELECT session, worker FROM devices WHERE name = ?", (name,)).fetchone()
            if row is None:
                db.execute("INSERT INTO devices VALUES (?, ?, ?)", (name, str(self.me), worker))
            return row is None or tuple(row) == (str(self.me), worker)

        return self.do(claim)

    def holder(self, device: str) -> Owner | None:
        """Return who has a device of this machine."""
        query = "SELECT session FROM devices WHERE name = ?"
        row = self.do(lambda db: db.execute(query, (f"{self.me.host}/{device}",)).fetchone())
        return Owner.parse(row[0]) if row else None

    # -- the dead -------------------------------------------------------------------------------------------------

    def _sweep(self, db: sqlite3.Connection) -> list[Owner]:
        """Open what the dead had; return others that are alive."""
        alive = []
        for name, beat, lease in db.execute("SELECT id, beat, lease FROM sessions").fetchall():
            if name == str(self.me):
                continue
            if not self._watch.is_dead(name, beat, lease):
                alive.append(Owner.parse(name))
                continue
            with suppress(ValueError):
                reason = f"{Owner.parse(name).about} ended without a word"
                db.execute(f"UPDATE items SET {_LOST} WHERE session = ?", (reason, name))
            self._forget(db, name)
        # Leases of nobody: a copied folder, or a session that was taken for dead and is.
        db.execute(
            "UPDATE items SET state = 'open', session = '', worker = '' WHERE state = 'leased' AND session NOT IN "
            "(SELECT id FROM sessions)"
        )
        return alive

    def _forget(self, db: sqlite3.Connection, session: str) -> None:
        db.execute("DELETE FROM devices WHERE session = ?", (session,))
        db.execute("DELETE FROM sessions WHERE id = ?", (session,))


_LOST = "state = 'open', session = '', worker = '', attempts = attempts + 1, reason = ?"
