"""Results in SQLite: a trial is there with everything that belongs to it, or not at all."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.result_rows import MetricRow, SampleRow, TrialResult, TrialRow
from regionkit.core.result_tables import SCHEMA_VERSION, TABLES
from regionkit.core.result_writing import write_again, write_new
from regionkit.core.sqlite_journals import Journal, choose_journal

__all__ = ["DATABASE", "MetricRow", "ResultStore", "SampleRow", "TrialResult", "TrialRow"]

#: Name of the database in an output folder.
DATABASE = "results.sqlite"


class ResultStore:
    """The results of an output folder, or of memory where ``path`` is None. One transaction a trial.

    Args:
        path: The database; None for one in memory.
        read_only: Change nothing, and make nothing that is not there: results may lie where nobody can write.
        journal: See :func:`regionkit.core.sqlite_journals.choose_journal`.

    Raises:
        DataError: It cannot be opened, is no such database, or one of another regionkit.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, journal: Journal = "auto") -> None:
        self._path = path
        self._journal: Journal = journal
        try:
            self._db = _connect_to_read(path) if read_only and path is not None else _connect(path)
        except (OSError, sqlite3.Error) as error:
            if read_only:
                raise self._unreadable(error, read_only=True) from None
            raise DataError(
                f"{path}: no results can be written there: {error}", "choose another folder with --out"
            ) from None
        try:
            if not read_only:
                self._make_tables()
            self._check_version()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise self._unreadable(error, read_only=read_only) from None
        except DataError:
            self._db.close()
            raise

    def _make_tables(self) -> None:
        # With a write-ahead log no reader blocks the run; what a killed process leaves, the next one makes good.
        if self._path is not None:
            self._db.execute(f"PRAGMA journal_mode={choose_journal(self._path.parent, self._journal)}")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("BEGIN IMMEDIATE")
        if self._version() == 0:
            for statement in TABLES.split(";")[:-1]:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _check_version(self) -> None:
        version = self._version()
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{self._path}: the results were written by another regionkit (format {version}, this one has "
                f"{SCHEMA_VERSION})",
                "read them with that one, or choose another folder with --out",
            )

    def _unreadable(self, error: Exception, *, read_only: bool = False) -> DataError:
        hints = ["move the file away, or choose another folder with --out"]
        if read_only and self._path is not None and _log(self._path).exists():
            hints = [
                "the run was stopped there: copy its whole folder to a place that can be written to, and read that"
            ]
        elif self._path is not None and not isinstance(error, sqlite3.OperationalError):
            hints += [f"what can be saved of it: sqlite3 {quote(str(self._path))} .recover | sqlite3 mended.sqlite"]
        said = str(error).encode("ascii", "backslashreplace").decode()  # a damaged page speaks in any bytes
        return DataError(f"{self._path}: the results cannot be read: {said}", *hints)

    def _rows(self, query: str, *values: str) -> list[Any]:
        """Return the rows of a query; a damaged file is named."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def done(self) -> set[str]:
        """Return the ids of trials that ended well; failed ones are tried again."""
        return {row[0] for row in self._rows("SELECT id FROM trials WHERE status = 'done'")}

    def trials(self) -> list[TrialRow]:
        """Return every trial that has ended, well or not, by data, seed and id."""
        return [
            TrialRow(*row) for row in self._rows("SELECT id, data, seed, status FROM trials ORDER BY data, seed, id")
        ]

    def save(self, result: TrialResult) -> None:
        """Write a trial with all its samples and scores in one transaction. One that is done already stays as it is.

        Raises:
            RunFailed: The disk is full, or the file cannot be written for another reason.
            DataError: The file is damaged.
        """
        self._keep(result, write_new)

    def judge_again(self, result: TrialResult) -> None:
        """Write the scores of a trial that is there in the place of those that its columns had; the rest stays.

        Raises:
            RunFailed, DataError: As for :meth:`save`.
        """
        self._keep(result, write_again)

    def _keep(self, result: TrialResult, write: Callable[[sqlite3.Cursor, TrialResult], None]) -> None:
        try:
            self._transact(result, write)
        except sqlite3.OperationalError as error:
            raise RunFailed(
                f"the result of trial {result.id} could not be written: {error}",
                "make room and run the same command again: all trials before this one are kept",
            ) from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None

    def _transact(self, result: TrialResult, write: Callable[[sqlite3.Cursor, TrialResult], None]) -> None:
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                write(cursor, result)
                cursor.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    cursor.execute("ROLLBACK")
                raise

    def trial(self, trial: str) -> tuple[str, str, int, int] | None:
        """Return (status, reason, samples, failed) of a trial, None where it has not ended."""
        query = "SELECT status, reason, samples, failed FROM trials WHERE id = ?"
        return next(iter(self._rows(query, trial)), None)

    def scores(self, trial: str) -> dict[str, tuple[float, str, bool]]:
        """Return metric -> (value, signature, higher is better)."""
        query = "SELECT metric, value, signature, higher_is_better FROM scores WHERE trial = ?"
        return {row[0]: (row[1], row[2], bool(row[3])) for row in self._rows(query, trial)}

    def sample_scores(self, trial: str, metric: str) -> dict[str, tuple[str, float]]:
        """Return sample id -> (image id, value) in the order of the samples."""
        query = (
            "SELECT s.sample, s.image, v.value FROM sample_scores v JOIN samples s "
            "ON s.trial = v.trial AND s.position = v.position WHERE v.trial = ? AND v.metric = ? ORDER BY v.position"
        )
        return {row[0]: (row[1], row[2]) for row in self._rows(query, trial, metric)}

    def makers(self, trial: str) -> dict[str, tuple[str, str]]:
        """Return column -> (component, part) of the metric that gave its value."""
        query = "SELECT metric, component, part FROM scores WHERE trial = ?"
        return {row[0]: (row[1], row[2]) for row in self._rows(query, trial)}

    def sample_statistics(self, trial: str, metric: str) -> dict[str, tuple[str, NDArray[np.float64]]]:
        """Return sample id -> (image id, (k,) what it adds to the corpus value) in the order of the samples.

        A sample that could not be judged adds zeros. It is empty for a column without statistics.
        """
        query = (
            "SELECT s.sample, s.image, v.numbers FROM scores c JOIN sample_statistics v "
            "ON v.trial = c.trial AND v.metric = c.rows_of JOIN samples s "
            "ON s.trial = v.trial AND s.position = v.position WHERE c.trial = ? AND c.metric = ? ORDER BY v.position"
        )
        return {row[0]: (row[1], np.frombuffer(row[2], "<f8")) for row in self._rows(query, trial, metric)}

    def unjudged(self, trial: str) -> dict[str, dict[str, str]]:
        """Return column -> sample id -> why it could not be judged, for columns that have such samples."""
        query = (
            "SELECT u.metric, s.sample, u.reason FROM unjudged u JOIN samples s "
            "ON s.trial = u.trial AND s.position = u.position WHERE u.trial = ? ORDER BY u.metric, u.position"
        )
        found: dict[str, dict[str, str]] = {}
        for metric, sample, reason in self._rows(query, trial):
            found.setdefault(metric, {})[sample] = reason
        return found

    def captions(self, trial: str) -> list[SampleRow]:
        """Return every sample of a trial with its caption or its error."""
        query = "SELECT sample, image, caption, error, kind, area FROM samples WHERE trial = ? ORDER BY position"
        return [SampleRow(*row) for row in self._rows(query, trial)]

    def recorded(self, trial: str) -> TrialResult | None:
        """Return a trial as it ended, without scores, which :meth:`scores` has; None where it has not ended."""
        query = "SELECT id, data, seed, config, status, reason, notes FROM trials WHERE id = ?"
        for name, data, seed, config, status, reason, notes in self._rows(query, trial):
            rows = tuple(self.captions(trial))
            said = json.loads(config), status, reason
            return TrialResult(name, data, seed, *said, rows, (), self.seconds(trial), tuple(json.loads(notes)))
        return None

    def configs(self) -> dict[str, dict[str, Any]]:
        """Return what went into the id of every trial that has ended, by id."""
        try:
            return {row[0]: json.loads(row[1]) for row in self._rows("SELECT id, config FROM trials ORDER BY id")}
        except ValueError as error:
            raise self._unreadable(error) from None

    def holders(self, sample: str) -> list[str]:
        """Return the ids of the trials that hold a sample."""
        return [row[0] for row in self._rows("SELECT DISTINCT trial FROM samples WHERE sample = ?", sample)]

    def scores_of(self, sample: str) -> list[tuple[str, str, float, bool]]:
        """Return (trial, metric, value, higher is better) for every score of a sample."""
        query = (
            "SELECT v.trial, v.metric, v.value, c.higher_is_better FROM samples s JOIN sample_scores v "
            "ON v.trial = s.trial AND v.position = s.position JOIN scores c "
            "ON c.trial = v.trial AND c.metric = v.metric WHERE s.sample = ? ORDER BY v.trial, v.metric"
        )
        return [(row[0], row[1], row[2], bool(row[3])) for row in self._rows(query, sample)]

    def sample_counts(self) -> dict[str, int]:
        """Return how many trials hold each sample, by its id, in alphabetical order."""
        return dict(self._rows("SELECT sample, COUNT(DISTINCT trial) FROM samples GROUP BY sample ORDER BY sample"))

    def notes(self, trial: str) -> tuple[str, ...]:
        """Return what a reader has to know of how a trial came about, a sentence each."""
        return tuple(json.loads(next(iter(self._rows("SELECT notes FROM trials WHERE id = ?", trial)), ("[]",))[0]))

    def seconds(self, trial: str) -> dict[str, float]:
        """Return the wall time of a trial by stage."""
        return dict(self._rows("SELECT stage, seconds FROM timings WHERE trial = ? ORDER BY stage", trial))


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Autocommit: transactions are opened by hand, so that nothing is ever half inside one.
    return sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that is there, also where nobody can write.

    A reader of a write-ahead log makes files beside it, and only one that may write takes them away again. Where nobody
    can write there is no log, and the file is read as one that does not change; one with a log that a stopped run left
    is refused by SQLite, as it holds the newest trials.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        how = "mode=rw"
    else:
        how = "mode=ro" if _log(path).exists() else "mode=ro&immutable=1"
    found = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=60, isolation_level=None)
    found.execute("PRAGMA query_only=ON")
    return found


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
