"""Sentences of tar files: captions as webdataset and img2dataset write them beside pictures.

Python's own ``tarfile`` reads them. The library webdataset would read the same files no faster, for the pictures are
what takes long; it does not check names and sizes, and does not say which member is damaged.
"""

from __future__ import annotations

import gzip
import heapq
import random
import re
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, cast

from regionkit.core.contracts import Corpus
from regionkit.core.data.records import Fault
from regionkit.core.data.streams import json_line
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.configs import WebdatasetTextsConfig
from regionkit.plugins.datasets.own.patterns import fixed_part, matching_files

_BLOCK = 512
#: Bytes of one text, and of what a tar file may say about one member.
_LONGEST_TEXT, _LONGEST_HEADER = 1 << 20, 1 << 16
#: A packed shard that grows to more than this many bytes, and to this many times its size, holds mostly nothing.
_PACKED_BYTES, _PACKED_RATIO = 1 << 28, 200
#: Digits in a row over which some versions of tarfile take for ever.
_DIGITS = re.compile(rb"\d{200}")
#: What a packed file that is cut off or damaged raises.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
#: Faults that are kept; all are counted.
_MOST_FAULTS = 1000


class WebdatasetTexts(Corpus):
    """The texts beside pictures in tar files, plain or packed with gzip; nothing is unpacked to the disk.

    Members are read in their order, and memory does not grow with their number: without ``limit`` not at all, with it
    to the size of the draw.
    """

    def __init__(self, config: WebdatasetTextsConfig) -> None:
        """Remember where they are; nothing is read."""
        self.config = config
        self._faults: list[str] = []
        self._left_out = 0
        self._kept: tuple[str, ...] | None = None

    def texts(self) -> Sequence[str]:
        """Return the sentences in the order of the tar files; raises as :meth:`stream`."""
        if self._kept is None:
            self._kept = tuple(self.stream())
        return self._kept

    def stream(self) -> Iterator[str]:
        """Yield the sentences in the order of the tar files, which are sorted by name.

        Raises:
            DataError: There is no tar file, one is none, there is no sentence or too few; with ``on_bad: stop``, the
                first member that cannot be used.
        """
        if self._kept is not None:
            yield from self._kept
        elif self.config.limit:
            yield from self._drawn(self.config.limit)
        else:
            yield from self._every()

    def faults(self) -> Sequence[str]:
        """Return the members that were left out when the shards were last read, the first thousand by name."""
        more = self._left_out - len(self._faults)
        return (*self._faults, *((f"and {more:,} more",) if more else ()))

    def _drawn(self, limit: int) -> Iterator[str]:
        """Draw without replacement in one pass: of all sentences those with the smallest numbers of a seeded stream."""
        draw = random.Random(self.config.seed)
        held: list[tuple[float, int, str]] = []
        count = 0
        for count, text in enumerate(self._every(), start=1):
            one = (-draw.random(), count, text)
            if len(held) < limit:
                heapq.heappush(held, one)
            else:
                heapq.heappushpop(held, one)
        if count < limit:
            raise DataError(
                f"{self.config.shards} has {count} sentences, limit asks for {limit}",
                "leave limit out to take them all",
            )
        yield from (text for _, _, text in sorted(held, key=lambda one: one[1]))

    def _every(self) -> Iterator[str]:
        self._faults, self._left_out = [], 0
        endings: Counter[str] = Counter()
        found = False
        for shard in self._shards():
            for one in _texts_of(shard, self.config.wanted, endings):
                text = one if isinstance(one, Fault) else self._sentence(*one)
                if isinstance(text, Fault):
                    self._leave_out(text)
                else:
                    found = True
                    yield text
        if not found:
            there = ", ".join(f".{ending}" for ending, _ in endings.most_common(5)) or "none"
            raise DataError(
                f"{self.config.shards}: there is no sentence in these tar files",
                f"texts are looked for in .{self.config.wanted}, and the endings there are: {there}",
                *self._faults[:1],
            )

    def _shards(self) -> list[Path]:
        pattern = self.config.shards
        below = str(PurePath(pattern).relative_to(fixed_part(pattern)))
        return [root / name for root, name in matching_files(pattern, below, f"{pattern}: there is no such tar file")]

    def _leave_out(self, fault: Fault) -> None:
        line = f"{fault.place}: {fault.reason}"
        if self.config.on_bad == "stop":
            raise DataError(line, "leave such ones out with on_bad: leave-out")
        self._left_out += 1
        if len(self._faults) < _MOST_FAULTS:
            self._faults.append(line)

    def _sentence(self, place: str, content: bytes) -> str | Fault:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return Fault(place, f"byte {error.start + 1} is not UTF-8")
        if self.config.field:
            line = json_line(place, text)
            if isinstance(line, Fault):
                return line
            value = line.value.get(self.config.field) if isinstance(line.value, Mapping) else None
            if not isinstance(value, str):
                return Fault(place, f"it has no text '{self.config.field}'")
            text = value
        text = " ".join(text.split())
        if not text:
            return Fault(place, "it is empty")
        try:
            text.encode()
        except UnicodeEncodeError:  # JSON may spell half of a surrogate pair, which no file of ours can hold
            return Fault(place, "it holds half of a character")
        return text


def _texts_of(shard: Path, ending: str, endings: Counter[str]) -> Iterator[tuple[str, bytes] | Fault]:
    """Yield place and content of the members of a tar file that have an ending; count the endings of all."""
    with _opened(shard) as file:
        try:
            tar = tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:")  # noqa: SIM115  # the file is closed
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise DataError(f"{shard}: this is no tar file: {error}") from None
        while True:
            try:
                info = tar.next()
            except (tarfile.TarError, ValueError, OverflowError, RecursionError, *_DAMAGED) as error:
                yield Fault(str(shard), f"the tar file is cut off or damaged after byte {tar.offset}: {error}")
                return
            if info is None:
                break
            tar.members.clear()  # type: ignore[attr-defined]  # it remembers all of them otherwise
            place = f"{shard}: {info.name[:200]!r}"
            own = info.name.rpartition("/")[2].partition(".")[2].lower()  # a path would be kept for ever by pathlib
            if info.isreg():
                endings[own] += 1
            if own != ending:
                continue
            if not info.isreg() or info.sparse is not None:
                yield Fault(place, "it is no plain file: links and devices are not followed")
            elif not 0 <= info.size <= _LONGEST_TEXT:
                yield Fault(place, f"it has {info.size:,} bytes, a sentence has at most {_LONGEST_TEXT:,}")
            else:
                content = file.content(info.offset_data, info.size)
                if content is None:
                    yield Fault(place, "the tar file is cut off in it")
                    return
                yield place, content
        if file.last != bytes(_BLOCK):  # of zeros, which follows the last member of a whole tar file
            yield Fault(str(shard), f"the tar file is cut off or damaged at byte {tar.offset}")


class _Shard:
    """A tar file as tarfile reads it: what it says of its members has a limit, and so has what it unpacks to."""

    def __init__(self, path: Path, stream: IO[bytes], most: int) -> None:
        self.path, self._stream, self._most = path, stream, most
        self.last = b""

    def read(self, size: int) -> bytes:
        """Read a piece of a header."""
        if size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._stream.read(size)
        if size > _BLOCK and _DIGITS.search(self.last):
            raise tarfile.ReadError("a header of endless digits")
        return self.last

    def content(self, start: int, size: int) -> bytes | None:
        """Read a member; None where the file ends in it."""
        try:
            self.seek(start)
            content = self._stream.read(size)
        except _DAMAGED:
            return None
        return content if len(content) == size else None

    def seek(self, place: int) -> int:
        """Go to a place; forward alone, but for a few bytes."""
        if place > self._most:
            raise DataError(
                f"{self.path}: this file unpacks to more than {_PACKED_RATIO} times its size",
                "unpack it yourself if it is what you want: gunzip",
            )
        return self._stream.seek(place)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()


@contextmanager
def _opened(path: Path) -> Iterator[_Shard]:
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            most = max(_PACKED_BYTES, _PACKED_RATIO * size) if packed else sys.maxsize
            with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
                yield _Shard(path, cast("IO[bytes]", stream), most)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}", "copy or download it again") from None
