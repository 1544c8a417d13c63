"""How trials are written into a database of results; the caller opens and ends the transaction."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from regionkit.core.result_rows import MetricRow, SampleRow, TrialResult


def write_new(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    """Write a trial with all that belongs to it, unless it is done already."""
    # Another process may have finished the same trial in the meantime.
    held = cursor.execute("SELECT status FROM trials WHERE id = ?", (result.id,)).fetchone()
    if held is None or held[0] != "done":
        _write(cursor, result)


def write_again(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    """Write the scores of a trial in the place of those that its columns had."""
    columns = [(result.id, metric.metric) for metric in result.metrics]
    _part_from(cursor, columns)
    for table in ("sample_scores", "sample_statistics", "unjudged", "scores"):
        cursor.executemany(f"DELETE FROM {table} WHERE trial = ? AND metric = ?", columns)
    _write_metrics(cursor, result)


def _part_from(cursor: sqlite3.Cursor, columns: Sequence[tuple[str, str]]) -> None:
    """Give columns that stay statistics of their own, where they shared those of columns that are to be replaced."""
    going = {column for _, column in columns}
    for trial, column in columns:
        query = "SELECT metric FROM scores WHERE trial = ? AND rows_of = ?"
        stay = [name for (name,) in cursor.execute(query, (trial, column)).fetchall() if name not in going]
        for name in stay:
            cursor.execute(
                "INSERT INTO sample_statistics SELECT trial, ?, position, numbers FROM sample_statistics "
                "WHERE trial = ? AND metric = ?",
                (name, trial, column),
            )
            cursor.execute("UPDATE scores SET rows_of = metric WHERE trial = ? AND metric = ?", (trial, name))


def _write(cursor: sqlite3.Cursor, result: TrialResult) -> None:
    for table in ("sample_scores", "sample_statistics", "unjudged", "samples", "scores", "timings"):
        cursor.execute(f"DELETE FROM {table} WHERE trial = ?", (result.id,))
    config = json.dumps(result.config, sort_keys=True)
    notes = json.dumps(result.notes)
    head = (result.id, result.data, result.seed, config, result.status, _storable(result.reason))
    cursor.execute(
        "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*head, len(result.samples), result.failed, notes),
    )
    cursor.executemany(
        "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
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


def _stored(row: SampleRow) -> tuple[str | float | None, ...]:
    caption = None if row.caption is None else _storable(row.caption)
    return _storable(row.sample), _storable(row.image), caption, _storable(row.error), row.kind, row.area


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
