"""Results in SQLite: a trial is there with everything that belongs to it, or not at all."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.result_tables import SCHEMA_VERSION, TABLES

#: Name of the database in an output folder.
DATABASE = "results.sqlite"


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What became of a sample: a caption, or the reason why there is none."""

    sample: str
    image: str
    caption: str | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What a metric says of a trial, or one of its parts.

    Attributes:
        metric: The column.
        value: The corpus value.
        signature: What it depends on.
        higher_is_better: Direction.
        per_sample: One value for each sample with a caption, NaN for those that could not be judged; None without any.
        statistics: (n, k) what each sample with a caption adds to the corpus value; None where it is a mean or follows
            from no sums.
        unjudged: Why samples could not be judged, by their position among those with a caption.
        component: Name of the metric, whose ``pool`` makes corpus values of statistics; empty where it is not known.
        part: Which of its values this is.
    """

    metric: str
    value: float
    signature: str
    higher_is_better: bool
    per_sample: tuple[float, ...] | None
    statistics: NDArray[np.float64] | None = field(default=None, compare=False)
    unjudged: Mapping[int, str] = field(default_factory=dict)
    component: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What a list says of a trial that has ended: ``data`` is ``TASK@NAME``, ``status`` is ``done`` or ``failed``."""

    id: str
    data: str
    seed: int
    status: str


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial that has ended.

    Attributes:
        id: Id of the trial.
        data: ``TASK@NAME``.
        seed: Evaluation seed.
        config: Everything that went into the id.
        status: ``done``, or ``failed`` with a reason.
        reason: Why it failed.
        samples: Every sample in order.
        metrics: Scores; empty where it failed.
        seconds: Wall time by stage.
    """

    id: str
    data: str
    seed: int
    config: Mapping[str, Any]
    status: str
    reason: str
    samples: tuple[SampleRow, ...]
    metrics: tuple[MetricRow, ...]
    seconds: Mapping[str, float]

    @property
    def failed(self) -> int:
        """Samples without a caption."""
        return sum(row.caption is None for row in self.samples)


class ResultStore:
    """The results of an output folder, or of memory where ``path`` is None. One transaction a trial.

    Args:
        path: The database; None for one in memory.
        read_only: Change nothing, and make nothing that is not there: results may lie where nobody can write.

    Raises:
        DataError: It cannot be opened, is no such database, or one of another regionkit.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._path = path
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
        # A reader never blocks the run, and a process that is killed leaves a log that the next one replays.
        self._db.execute("PRAGMA journal_mode=WAL")
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
        hint = "move the file away, or choose another folder with --out"
        if read_only and self._path is not None and _log(self._path).exists():
            hint = "the run was stopped there: copy its whole folder to a place that can be written to, and read that"
        return DataError(f"{self._path}: the results cannot be read: {error}", hint)

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
        self._keep(result, _write_new)

    def judge_again(self, result: TrialResult) -> None:
        """Write the scores of a trial that is there in the place of those that its columns had; the rest stays.

        Raises:
            RunFailed, DataError: As for :meth:`save`.
        """
        self._keep(result, _write_again)

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
        query = "SELECT sample, image, caption, error FROM samples WHERE trial = ? ORDER BY position"
        return [SampleRow(*row) for row in self._rows(query, trial)]


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


def _write_new(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    # Another process may have finished the same trial in the meantime.
    held = cursor.execute("SELECT status FROM trials WHERE id = ?", (result.id,)).fetchone()
    if held is None or held[0] != "done":
        _write(cursor, result)


def _write_again(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    for table in ("sample_scores", "sample_statistics", "unjudged", "scores"):
        columns = [(result.id, metric.metric) for metric in result.metrics]
        cursor.executemany(f"DELETE FROM {table} WHERE trial = ? AND metric = ?", columns)
    _write_metrics(cursor, result)


def _write(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    for table in ("sample_scores", "sample_statistics", "unjudged", "samples", "scores", "timings"):
        cursor.execute(f"DELETE FROM {table} WHERE trial = ?", (result.id,))
    config = json.dumps(result.config, sort_keys=True)
    head = (result.id, result.data, result.seed, config, result.status, _storable(result.reason))
    cursor.execute(
        "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*head, len(result.samples), result.failed)
    )
    cursor.executemany(
        "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)",
        ((result.id, at, *_stored(row)) for at, row in enumerate(result.samples)),
    )
    _write_metrics(cursor, result)
    cursor.executemany(
        "INSERT INTO timings VALUES (?, ?, ?)", ((result.id, stage, spent) for stage, spent in result.seconds.items())
    )


def _write_metrics(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    for metric in result.metrics:
        rows_of = _rows_of(metric, result.metrics)
        score = (result.id, metric.metric, metric.value, metric.signature, int(metric.higher_is_better))
        cursor.execute(
            "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*score, metric.component, metric.part, rows_of)
        )
        cursor.executemany("INSERT INTO sample_scores VALUES (?, ?, ?, ?)", _values(result, metric))
        cursor.executemany("INSERT INTO unjudged VALUES (?, ?, ?, ?)", _unjudged(result, metric))
        if rows_of == metric.metric:
            cursor.executemany("INSERT INTO sample_statistics VALUES (?, ?, ?, ?)", _statistics(result, metric))


def _stored(row: SampleRow) -> tuple[str | None, ...]:
    caption = None if row.caption is None else _storable(row.caption)
    return _storable(row.sample), _storable(row.image), caption, _storable(row.error)


def _storable(text: str) -> str:
    """Return a text that SQLite holds: it takes no lone surrogates, so they become escapes; scores are made already."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _judged(result: TrialResult) -> list[int]:
    """Return the positions of samples that metrics took in: those with a caption."""
    return [at for at, row in enumerate(result.samples) if row.caption is not None]


def _values(result: TrialResult, metric: MetricRow) -> Iterable[tuple[str, str, int, float]]:
    """Return the values of samples; of one that was not judged there is none."""
    if metric.per_sample is None:
        return []
    pairs = zip(_judged(result), metric.per_sample, strict=True)
    return [(result.id, metric.metric, at, value) for at, value in pairs if not math.isnan(value)]


def _unjudged(result: TrialResult, metric: MetricRow) -> Iterable[tuple[str, str, int, str]]:
    positions = _judged(result)
    return [(result.id, metric.metric, positions[at], _storable(why)) for at, why in metric.unjudged.items()]


def _statistics(result: TrialResult, metric: MetricRow) -> Iterable[tuple[str, str, int, bytes]]:
    assert metric.statistics is not None
    rows = np.ascontiguousarray(metric.statistics, "<f8")
    pairs = zip(_judged(result), rows, strict=True)
    return [(result.id, metric.metric, at, row.tobytes()) for at, row in pairs]


def _rows_of(metric: MetricRow, several: Iterable[MetricRow]) -> str:
    """Return the column under which the statistics of one stand: parts of a metric often share them."""
    if metric.statistics is None:
        return ""
    for other in several:
        held = other.statistics
        if held is metric.statistics or (held is not None and np.array_equal(held, metric.statistics)):
            return other.metric
    return metric.metric
