"""Samples on disk: made of a data set's files once, then opened at once and read one at a time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, overload

from regionkit.core.contracts import Sample
from regionkit.core.errors import RunFailed
from regionkit.core.files import replacing
from regionkit.plugins.datasets.reading.records import Fault, StoredSample, loads

#: Version of the tables; an index of another one is made again.
_SCHEMA = 1
#: Samples that are read together, and such blocks that are held.
_BLOCK, _BLOCKS = 256, 8
#: Samples that are written together.
_WRITTEN = 10_000

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE raw (number INTEGER PRIMARY KEY, image INTEGER NOT NULL, id TEXT NOT NULL, held TEXT NOT NULL);
CREATE TABLE faults (place TEXT NOT NULL, reason TEXT NOT NULL, missing TEXT NOT NULL);
"""


class Index:
    """The samples of one task and split, in the order of the files, those of one image together.

    Args:
        path: A file that :func:`write_index` wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._meta: dict[str, Any] = {}
        self._local = threading.local()
        for key, value in self._rows("SELECT key, value FROM meta"):
            self._meta[key] = json.loads(value)

    @property
    def key(self) -> Any:
        """What it was made from."""
        return self._meta.get("key")

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self._meta["images"])

    @property
    def digest(self) -> str:
        """A hash of all samples, in their order."""
        return str(self._meta["digest"])

    @property
    def missing(self) -> str:
        """The first picture that was not there when the index was made; empty where all were."""
        return str(self._meta["missing"])

    @property
    def fault_count(self) -> int:
        """Number of records that cannot be used."""
        return int(self._meta["faults"])

    def faults(self) -> list[str]:
        """Return the records that cannot be used, ``FILE:LINE: reason`` each."""
        return [f"{place}: {reason}" for place, reason in self._rows("SELECT place, reason FROM faults")]

    def count(self, limit: int | None = None) -> int:
        """Return how many samples the first ``limit`` images have."""
        if limit is None or limit >= self.images:
            return int(self._meta["samples"])
        ((last,),) = self._rows("SELECT MAX(number) FROM samples WHERE image < ?", limit)
        return 0 if last is None else int(last) + 1

    def image_ids(self, limit: int | None = None) -> Iterator[str]:
        """Yield the ids of the first images."""
        most = self.images if limit is None else limit
        for (name,) in self._rows("SELECT id FROM images WHERE number < ? ORDER BY number", most):
            yield name

    def read(self, start: int, stop: int) -> list[StoredSample]:
        """Return the samples from ``start`` to before ``stop``."""
        rows = self._rows(
            "SELECT samples.id, images.id, held FROM samples JOIN images ON images.number = samples.image "
            "WHERE samples.number >= ? AND samples.number < ? ORDER BY samples.number",
            start,
            stop,
        )
        return [loads(name, image, held) for name, image, held in rows]

    def content(self, limit: int | None) -> str:
        """Return a hash of the samples of the first ``limit`` images."""
        if limit is None or limit >= self.images:
            return self.digest
        found = hashlib.sha256()
        for name, image, held in self._rows(
            "SELECT samples.id, images.id, held FROM samples JOIN images ON images.number = samples.image "
            "WHERE samples.number < ? ORDER BY samples.number",
            self.count(limit),
        ):
            found.update(_line(name, image, held))
        return found.hexdigest()[:32]

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Run a query on this thread's connection."""
        if not hasattr(self._local, "db"):
            self._local.db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        return iter(self._local.db.execute(query, values))

    def __getstate__(self) -> dict[str, Any]:
        """Let it travel to other processes, which open the file themselves."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


class IndexedSamples(Sequence[Sample]):
    """Samples of an index, made as they are asked for; memory holds the last few blocks of them.

    Args:
        index: The index.
        limit: Take those of the first images alone; None for all.
    """

    def __init__(self, index: Index, limit: int | None = None) -> None:
        self._index = index
        self._length = index.count(limit)
        self._blocks: dict[int, list[StoredSample]] = {}

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        places = range(self._length)[index]
        if isinstance(places, range):
            return [self._one(place) for place in places]
        return self._one(places)

    def _one(self, place: int) -> Sample:
        block, inside = divmod(place, _BLOCK)
        if block not in self._blocks:
            while len(self._blocks) >= _BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[block] = self._index.read(block * _BLOCK, (block + 1) * _BLOCK)
        return self._blocks[block][inside].sample()


def open_index(path: Path, key: Any) -> Index | None:
    """Open an index where there is one that was made from just that; None otherwise."""
    if not path.is_file():
        return None
    try:
        index = Index(path)
    except (sqlite3.Error, ValueError, KeyError):  # a damaged file, or another program's: it is made again
        return None
    same = index.key == [_SCHEMA, key]
    return index if same and not (index.missing and Path(index.missing).exists()) else None


def write_index(path: Path, key: Any, rows: Iterable[StoredSample | Fault]) -> Index:
    """Make an index of samples, whole or not at all; samples of one image are put together.

    Memory does not grow with the number of samples.

    Raises:
        RunFailed: The disk refuses.
    """
    try:
        with replacing(path) as temporary, closing(sqlite3.connect(temporary, isolation_level=None)) as db:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", "cache_size=-65536"):
                db.execute(f"PRAGMA {pragma}")
            db.executescript(f"BEGIN;{_TABLES}")
            _fill(db, rows)
            _finish(db, [_SCHEMA, key])
            db.execute("COMMIT")
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFailed(
            f"{path}: the index cannot be written: {reason}",
            "make room there, or keep indexes elsewhere: export REGIONKIT_CACHE=DIR",
        ) from None
    return Index(path)


def _fill(db: sqlite3.Connection, rows: Iterable[StoredSample | Fault]) -> None:
    """Write samples as they come, and number the images in the order of their first one."""
    stream, samples, images = iter(rows), 0, 0
    while block := list(islice(stream, _WRITTEN)):
        faults = [(row.place, row.reason, row.missing) for row in block if isinstance(row, Fault)]
        db.executemany("INSERT INTO faults VALUES (?, ?, ?)", faults)
        numbers: dict[str, int] = {}
        written = []
        for row in block:
            if isinstance(row, Fault):
                continue
            if row.image_id not in numbers:
                known = db.execute("SELECT number FROM images WHERE id = ?", (row.image_id,)).fetchone()
                numbers[row.image_id] = known[0] if known else images
                if not known:
                    db.execute("INSERT INTO images VALUES (?, ?)", (images, row.image_id))
                    images += 1
            written.append((samples, numbers[row.image_id], row.id, row.dumps()))
            samples += 1
        db.executemany("INSERT INTO raw VALUES (?, ?, ?, ?)", written)


def _finish(db: sqlite3.Connection, key: Any) -> None:
    """Put the samples of each image together, note ids that stand twice, and write down what there is."""
    db.execute(
        "INSERT INTO faults SELECT 'sample ' || id, 'another sample has this id, and counts', '' FROM raw "
        "WHERE number NOT IN (SELECT MIN(number) FROM raw GROUP BY id)"
    )
    db.execute("DELETE FROM raw WHERE number NOT IN (SELECT MIN(number) FROM raw GROUP BY id)")
    db.execute("CREATE TABLE samples (number INTEGER PRIMARY KEY, image INTEGER NOT NULL, id TEXT NOT NULL, held TEXT)")
    digest, rows = hashlib.sha256(), 0
    query = (
        "SELECT image, raw.id, images.id, held FROM raw JOIN images ON images.number = image ORDER BY image, raw.number"
    )
    reader = db.execute(query)
    while block := reader.fetchmany(_WRITTEN):
        for _, name, image, held in block:
            digest.update(_line(name, image, held))
        db.executemany(
            "INSERT INTO samples VALUES (?, ?, ?, ?)",
            ((rows + at, number, name, held) for at, (number, name, _, held) in enumerate(block)),
        )
        rows += len(block)
    db.execute("DROP TABLE raw")
    db.execute("CREATE INDEX by_image ON samples (image)")
    missing = db.execute("SELECT missing FROM faults WHERE missing != '' LIMIT 1").fetchone()
    counted = {table: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("images", "faults")}
    meta = {
        "key": key,
        "samples": rows,
        **counted,
        "digest": digest.hexdigest()[:32],
        "missing": missing[0] if missing else "",
    }
    db.executemany("INSERT INTO meta VALUES (?, ?)", ((name, json.dumps(value)) for name, value in meta.items()))


def _line(name: str, image: str, held: str) -> bytes:
    return f"{name}\0{image}\0{held}\n".encode("utf-8", "surrogatepass")
