"""Samples on disk: made of a data set's files once, then opened at once and read one at a time."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from regionkit.core.contracts import Sample
from regionkit.core.data.records import Line, StoredSample, loads, sample_of
from regionkit.core.data.writing import SCHEMA, Row, hashed, write_samples
from regionkit.core.errors import DataError
from regionkit.core.samples import LazySamples

#: Samples that are read together, and such blocks that are held; a sample with a mask takes 100 kB and more.
_BLOCK, _BLOCKS = 64, 8
#: Pictures that were missing, of which it is checked whether they have come.
_LOOKED_FOR = 1000


class Index:
    """The samples of one task and split, in the order of the files, those of one image together.

    Args:
        path: A file that :func:`write_index` wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._meta: dict[str, Any] = {}
        self._local = threading.local()
        for key, value in self._query("SELECT key, value FROM meta"):
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
    def fault_count(self) -> int:
        """Number of records that cannot be used."""
        return int(self._meta["faults"])

    @property
    def left_count(self) -> int:
        """Number of records that are left out by protocol."""
        return int(self._meta["left_out"])

    @property
    def is_whole(self) -> bool:
        """Say whether the file is as long as it was written, and its last sample can be read."""
        with self.path.open("rb") as stream:
            head = stream.read(32)
        page = int.from_bytes(head[16:18], "big")
        pages = int.from_bytes(head[28:32], "big")
        if pages * (65536 if page == 1 else page) != self.path.stat().st_size:
            return False
        samples = self.count()
        return not samples or len(list(self._query(_SAMPLES, samples - 1, samples))) == 1

    def faults(self) -> list[str]:
        """Return the records that cannot be used, ``FILE:LINE: reason`` each."""
        return [f"{place}: {reason}" for place, reason in self._rows("SELECT place, reason FROM faults")]

    def left(self) -> list[str]:
        """Return what is left out by protocol, ``FILE:LINE: reason`` each."""
        return [f"{place}: {reason}" for place, reason in self._rows("SELECT place, reason FROM left_out")]

    def has_come(self) -> bool:
        """Say whether a picture is there now that was missing when the index was made."""
        missing = self._query("SELECT DISTINCT missing FROM faults WHERE missing != '' LIMIT ?", _LOOKED_FOR)
        return any(os.path.exists(path) for (places,) in missing for path in places.split("\n"))

    def count(self, limit: int | None = None) -> int:
        """Return how many samples the first ``limit`` images have."""
        if limit is None or limit >= self.images:
            return int(self._meta["samples"])
        ((first,),) = self._rows("SELECT first FROM images WHERE number = ?", max(limit, 0))
        return int(first)

    def image_ids(self, limit: int | None = None) -> Iterator[str]:
        """Yield the ids of the first images."""
        most = self.images if limit is None else limit
        for (name,) in self._rows("SELECT id FROM images WHERE number < ? ORDER BY number", most):
            yield name

    def read(self, start: int, stop: int) -> list[StoredSample]:
        """Return the samples from ``start`` to before ``stop``."""
        return [loads(*line) for line in self.lines(start, stop)]

    def lines(self, start: int, stop: int) -> list[Line]:
        """Return the samples from ``start`` to before ``stop`` as they are kept."""
        return [Line(*row) for row in self._rows(_SAMPLES, start, stop)]

    def content(self, limit: int | None) -> str:
        """Return a hash of the samples of the first ``limit`` images."""
        if limit is None or limit >= self.images:
            return self.digest
        found = hashlib.sha256()
        for row in self._rows(_SAMPLES, 0, self.count(limit)):
            found.update(hashed(*row))
        return found.hexdigest()[:32]

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Run a query.

        Raises:
            DataError: The file is damaged; it is taken away, so that the next run makes it again.
        """
        try:
            yield from self._query(query, *values)
        except sqlite3.DatabaseError as error:
            with suppress(OSError):
                self.path.unlink()
            raise DataError(
                f"{self.path}: the index of the samples is damaged: {error}",
                "it has been deleted and is made again when you type the same command once more",
            ) from None

    def _query(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Run a query on this thread's connection; a process that was forked off opens one of its own."""
        if getattr(self._local, "owner", None) != os.getpid():
            self._local.db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
            self._local.owner = os.getpid()
        return iter(self._local.db.execute(query, values))

    def __getstate__(self) -> dict[str, Any]:
        """Let it travel to other processes, which open the file themselves."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


_SAMPLES = (
    "SELECT samples.id, images.id, held FROM samples JOIN images ON images.number = samples.image "
    "WHERE samples.number >= ? AND samples.number < ? ORDER BY samples.number"
)


class IndexedSamples(LazySamples):
    """Samples of an index, made as they are asked for; memory holds the last few blocks of them.

    Args:
        index: The index.
        limit: Take those of the first images alone; None for all.
    """

    def __init__(self, index: Index, limit: int | None = None) -> None:
        self._index = index
        self._length = index.count(limit)
        #: Number of images that the samples are of, known without reading them.
        self.images = index.images if limit is None else min(limit, index.images)
        self._blocks: dict[int, list[Line]] = {}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, self._length, _BLOCK):
            for line in self._index.lines(start, min(start + _BLOCK, self._length)):
                yield sample_of(*line)

    def sample(self, place: int) -> Sample:
        """Read a sample, with its block where that is not held."""
        block, inside = divmod(place, _BLOCK)
        held = self._blocks.get(block)
        if held is None:
            while len(self._blocks) >= _BLOCKS:
                self._blocks.pop(next(iter(self._blocks)), None)
            held = self._blocks[block] = self._index.lines(block * _BLOCK, (block + 1) * _BLOCK)
        return sample_of(*held[inside])


def open_index(path: Path, key: Any) -> Index | None:
    """Open an index where there is one that was made from just that; None otherwise.

    None means that it is made again: where it is damaged or another program's, and where a picture has come that was
    missing.
    """
    if not path.is_file():
        return None
    try:
        index = Index(path)
        same = index.key == [SCHEMA, key]
        return index if same and index.is_whole and not index.has_come() else None
    except (sqlite3.Error, ValueError, KeyError, TypeError, OSError, DataError):
        return None


def write_index(path: Path, key: Any, rows: Iterable[Row]) -> Index:
    """Make an index of samples, whole or not at all; samples of one image are put together.

    Memory does not grow with the number of samples. Of several samples with one id the first counts, and the others
    are faults.

    Raises:
        RunFailed: The disk refuses.
    """
    write_samples(path, key, rows)
    return Index(path)
