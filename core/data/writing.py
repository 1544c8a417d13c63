"""Writing the index of a data set's samples: one pass over them, and a second only where they need one."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from regionkit.core.data.records import Fault, Left, Line, StoredSample
from regionkit.core.errors import RunFailed
from regionkit.core.files import replacing

#: Version of the tables; an index of another one is made again.
SCHEMA = 3
#: Samples, and characters of them, that are written together.
_ROWS, _CHARACTERS = 500, 1 << 22
#: KiB that SQLite holds, and sorts, in memory; what is more goes to a file.
_MEMORY = 16_384
#: Seconds after which a half-written file is nobody's.
_STALE = 86_400

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT NOT NULL, first INTEGER NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY, image INTEGER NOT NULL, id TEXT NOT NULL, held TEXT NOT NULL);
CREATE TABLE faults (place TEXT NOT NULL, reason TEXT NOT NULL, missing TEXT NOT NULL);
CREATE TABLE left_out (place TEXT NOT NULL, reason TEXT NOT NULL);
"""

#: What an index is made of.
Row = StoredSample | Line | Fault | Left

#: Samples whose id an earlier one has.
_TWICE = """
CREATE TEMP TABLE twice AS SELECT id, MIN(number) AS first FROM samples GROUP BY id HAVING COUNT(*) > 1;
CREATE UNIQUE INDEX temp.twice_by_id ON twice (id);
INSERT INTO faults SELECT 'sample ' || id, 'another sample has this id, and counts', '' FROM samples
WHERE EXISTS (SELECT 1 FROM twice WHERE twice.id = samples.id AND samples.number > twice.first) ORDER BY number;
DELETE FROM samples
WHERE EXISTS (SELECT 1 FROM twice WHERE twice.id = samples.id AND samples.number > twice.first);
"""

#: The first of all images with one id, for each of them.
_FIRSTS = """
ALTER TABLE samples RENAME TO raw;
ALTER TABLE images RENAME TO runs;
CREATE TEMP TABLE firsts (id TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO firsts SELECT id, MIN(number) FROM runs WHERE number IN (SELECT image FROM raw) GROUP BY id ORDER BY id;
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT NOT NULL, first INTEGER NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY, image INTEGER NOT NULL, id TEXT NOT NULL, held TEXT NOT NULL);
"""
_GROUPED = """
SELECT raw.id, runs.id, held FROM raw JOIN runs ON runs.number = raw.image JOIN firsts ON firsts.id = runs.id
ORDER BY firsts.first, raw.number
"""


def write_samples(path: Path, key: Any, rows: Iterable[Row]) -> None:
    """Write an index of samples, whole or not at all; :func:`~regionkit.core.data.index.write_index`.

    Raises:
        RunFailed: The disk refuses.
    """
    _sweep(path.parent)
    try:
        with replacing(path) as temporary, closing(sqlite3.connect(temporary, isolation_level=None)) as db:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{_MEMORY}"):
                db.execute(f"PRAGMA {pragma}")
            _run(db, f"BEGIN;{_TABLES}")
            again = _write(db, [SCHEMA, key], rows)
            db.execute("COMMIT")
            if again:  # the room of the first pass is given back
                db.execute("VACUUM")
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFailed(
            f"{path}: the index cannot be written: {reason}",
            "make room there, or keep indexes elsewhere: export REGIONKIT_CACHE=DIR",
        ) from None


def hashed(name: str, image: str, held: str) -> bytes:
    """Return what the hash of an index takes in of a sample."""
    return f"{name}\0{image}\0{held}\n".encode()


def _sweep(folder: Path) -> None:
    """Take away what runs that were killed have left half-written; nobody writes an index for a whole day."""
    oldest = time.time() - _STALE
    with suppress(OSError):
        for path in folder.glob(".*.part"):
            with suppress(OSError):  # another run is just as tidy, or it is somebody else's
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _write(db: sqlite3.Connection, key: Any, rows: Iterable[Row]) -> bool:
    """Fill the tables; True where the samples had to be put in another order than they came in."""
    samples, digest = _fill(db, _good(db, rows))
    is_twice = _one(db, "SELECT 1 FROM samples GROUP BY id HAVING COUNT(*) > 1 LIMIT 1")
    if is_twice:
        _run(db, _TWICE)
    again = bool(is_twice or _one(db, "SELECT 1 FROM images GROUP BY id HAVING COUNT(*) > 1 LIMIT 1"))
    if again:
        _run(db, _FIRSTS)
        reader = db.cursor()
        samples, digest = _fill(db, (Line(*row) for row in reader.execute(_GROUPED)))
        reader.close()
        _run(db, "DROP TABLE raw; DROP TABLE runs; DROP TABLE firsts;")
    counted = {table: _one(db, f"SELECT COUNT(*) FROM {table}") for table in ("images", "faults", "left_out")}
    meta = {"key": key, "samples": samples, **counted, "digest": digest}
    db.executemany("INSERT INTO meta VALUES (?, ?)", [(name, json.dumps(value)) for name, value in meta.items()])
    return again


def _good(db: sqlite3.Connection, rows: Iterable[Row]) -> Iterator[Line]:
    """Yield the samples, and write down what is none; a file of nothing else is no reason to hold all that."""
    for row in rows:
        if isinstance(row, Line):
            yield row
        elif isinstance(row, StoredSample):
            yield row.line()
        else:
            # Both quote what stands in the file, half a character included, which no table takes.
            texts = [_sound(text) for text in (row.place, row.reason)]
            if isinstance(row, Fault):
                db.execute("INSERT INTO faults VALUES (?, ?, ?)", [*texts, _sound(row.missing)])
            else:
                db.execute("INSERT INTO left_out VALUES (?, ?)", texts)


def _fill(db: sqlite3.Connection, lines: Iterable[Line]) -> tuple[int, str]:
    """Write samples as they come, a new image wherever the id of the image changes; return their number and hash."""
    digest, image, before = hashlib.sha256(), -1, None
    samples, images, number, size = [], [], 0, 0
    for number, (name, image_id, held) in enumerate(lines, 1):
        if image_id != before:
            image, before = image + 1, image_id
            images.append((image, image_id, number - 1))
        samples.append((number - 1, image, name, held))
        digest.update(hashed(name, image_id, held))
        size += len(held)
        if len(samples) >= _ROWS or size >= _CHARACTERS:
            _insert(db, images, samples)
            samples, images, size = [], [], 0
    _insert(db, images, samples)
    return number, digest.hexdigest()[:32]


def _insert(
    db: sqlite3.Connection, images: list[tuple[int, str, int]], samples: list[tuple[int, int, str, str]]
) -> None:
    db.executemany("INSERT INTO images VALUES (?, ?, ?)", images)
    db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", samples)


def _one(db: sqlite3.Connection, query: str) -> Any:
    found = db.execute(query).fetchone()
    return found[0] if found else None


def _run(db: sqlite3.Connection, script: str) -> None:
    """Run statements within the transaction, which ``executescript`` would end."""
    for statement in script.split(";"):
        db.execute(statement)


def _sound(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
