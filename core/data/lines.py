"""Sentences of a file by their numbers, without holding the sentences: one a line.

A file is read with positioned reads and never mapped: what the system keeps of it in memory is the system's to give up,
and is not counted as this process's, while mapped pages stay resident until they are taken away. Random lines of a
mapped file of 40 GB would look, to whoever limits this process's memory, like 40 GB of it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.files import replacing

#: Lines between two known places. A sentence is found by reading so many, and places take 8 bytes for so many lines:
#: 3.5 MB for 28 million sentences.
_STRIDE = 64
#: Bytes read together while lines are counted.
_CHUNK = 1 << 22
#: Characters written together.
_WRITTEN = 1 << 20


class OpenFile:
    """A file that is read at places; it stays open as long as this object lives.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._handle).st_size

    def read(self, start: int, size: int) -> bytes:
        """Read so many bytes at a place, less where the file ends; processes that share the file do not disturb."""
        return os.pread(self._handle, size, start)


class Lines(Sequence[str]):
    """The lines of a part of a file, each read when it is asked for.

    Args:
        path: The file; it stays open.
        start: Byte where the first line begins.
        length: Bytes of the part; None for all the rest of the file.
        ended: Whether a line break ends each line, as in a file of text; otherwise one stands between lines, and the
            last line may be empty.

    Raises:
        DataError: The file cannot be read.
    """

    def __init__(self, path: Path, start: int = 0, length: int | None = None, *, ended: bool = True) -> None:
        self.path, self._ended = path, ended
        try:
            self._file = OpenFile(path)
            self._end = start + length if length is not None else self._file.size
            self._places, self._count = self._index(start)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._places)):
            yield from self._block(block)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(self._count)[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return self._block(places // _STRIDE)[places % _STRIDE]

    def _block(self, number: int) -> list[str]:
        """Read the lines that begin with number ``number * _STRIDE``."""
        start = int(self._places[number])
        last = number + 1 == len(self._places)
        end = self._end if last else int(self._places[number + 1])
        content = self._file.read(start, end - start)
        whole = self._ended or not last
        lines = (content.removesuffix(b"\n") if whole else content).split(b"\n")
        if len(content) != end - start or len(lines) != min(_STRIDE, self._count - number * _STRIDE):
            raise DataError(f"{self.path}: the file was changed while it was read", "run the same command again")
        return [line.decode("utf-8", "replace") for line in lines]

    def _index(self, start: int) -> tuple[np.ndarray, int]:
        """Return where every ``_STRIDE``-th line begins, and how many lines there are."""
        places, count, at, open_line = [np.array([start])], 0, start, False
        while at < self._end:
            chunk = self._file.read(at, min(_CHUNK, self._end - at))
            if not chunk:
                raise DataError(f"{self.path}: the file is shorter than it says")
            breaks = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == 10)
            # The break that ends line k is followed by line k + 1, which is a known place for k + 1 a multiple.
            first = (-(count + 1)) % _STRIDE
            places.append(breaks[first::_STRIDE] + at + 1)
            count += len(breaks)
            at += len(chunk)
            open_line = not chunk.endswith(b"\n")
        count += open_line if self._ended else 1
        found = np.concatenate(places)
        return found[: -(-count // _STRIDE)], count


def spooled(path: Path, texts: Iterable[str]) -> Lines:
    """Write sentences to a file, one a line, unless the file is there; return its lines.

    The file is whole or not there: what was killed in the middle begins anew. Of several processes one writes, and the
    others wait for it.

    Args:
        path: The file; its folder is made.
        texts: The sentences, read only where they are needed; runs of blanks become one space.

    Raises:
        RegionkitError: The disk refuses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("wb") as lock:
            _wait_for(lock.fileno())
            if not path.exists():
                with replacing(path) as temporary:
                    _write(temporary, texts)
    except OSError as error:
        raise RegionkitError(
            f"{path}: the sentences could not be written: {error.strerror or error}",
            "make room, or choose another --out",
        ) from None
    return Lines(path)


def _write(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n", buffering=_WRITTEN) as file:
        for text in texts:
            file.write(" ".join(text.split()) + "\n")


def _wait_for(handle: int) -> None:
    """Wait until no other process writes; a system without such locks does without."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
