"""Writing banks of texts of any size: rows go to disk as they come, and a build that was stopped goes on.

The finished file is a weight file like any other, with the tensors of :func:`regionkit.core.texts.bank_tensors`. Until
then rows lie in a folder beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.files import replacing
from regionkit.core.texts import BATCH
from regionkit.core.weights import METADATA_KEY, WeightHeader

_KEY, _ROWS, _TEXTS = "key.json", "embeddings", "texts"
#: Bytes copied together.
_CHUNK = 1 << 24


class BankWriter:
    """Rows of a bank on their way to its file.

    Args:
        path: The file that is to be made.
        width: Width d of its embeddings.
        key: All that decides the rows beside the sentences themselves, in plain values. Rows that an earlier build left
            are used again where it had the same key.
        half: Store float16.
    """

    def __init__(self, path: Path, width: int, key: Mapping[str, Any], *, half: bool = False) -> None:
        self.path, self.width = path, width
        self.folder = path.with_name(f".{path.name}.building")
        self.dtype = torch.float16 if half else torch.float32
        self._key = json.dumps({**key, "width": width, "half": half}, sort_keys=True, default=str)
        self._files: dict[str, IO[bytes]] = {}
        self.rows = 0

    @contextmanager
    def opened(self) -> Iterator[BankWriter]:
        """Take up the rows of an earlier build, or begin anew; what was written stays when the block is left early.

        Raises:
            RegionkitError: Another process builds the same file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("wb") as lock:
            _lock(lock, self.path)
            for name in (_ROWS, _TEXTS):
                self._files[name] = (self.folder / name).open("a+b")
            try:
                self._take_up()
                yield self
            finally:
                for file in self._files.values():
                    file.close()
                self._files.clear()
                if not self.rows:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def kept(self) -> Iterator[str]:
        """Yield the sentences of the rows that an earlier build left."""
        with (self.folder / _TEXTS).open("rb") as stream:
            for _ in range(self.rows):
                # What a damaged disk left is no sentence of any corpus: the build then begins anew.
                yield stream.readline().decode(errors="replace").removesuffix("\n")

    def restart(self) -> None:
        """Forget all rows."""
        self._cut(0, 0)

    def append(self, texts: Sequence[str], embeddings: Tensor) -> None:
        """Write n sentences and their embeddings (n, d).

        Raises:
            DataError: A sentence holds a line break; or an embedding is too large for float16.
        """
        broken = next((text for text in texts if "\n" in text), None)
        if broken is not None:
            raise DataError(f"a text of a bank holds a line break: {broken!r}")
        stored = embeddings.to(self.dtype).contiguous()
        if self.dtype != torch.float32 and not bool(torch.isfinite(stored).all()):
            raise DataError("an embedding is too large for float16", "leave --half out")
        self._files[_ROWS].write(stored.numpy().tobytes())
        self._files[_TEXTS].write("".join(f"{text}\n" for text in texts).encode())
        for file in self._files.values():
            file.flush()
        self.rows += len(texts)

    def finish(self, header: WeightHeader) -> None:
        """Make the file of all rows, whole or not at all, and remove what lay beside it.

        Raises:
            DataError: There is no row.
            OSError: The disk refuses it.
        """
        if not self.rows:
            raise DataError("a bank needs at least one text")
        rows, texts = (self.folder / name for name in (_ROWS, _TEXTS))
        size = self.rows * self.width * self.dtype.itemsize
        end = size + texts.stat().st_size - 1  # the last sentence has no line break behind it
        table = {
            "__metadata__": {METADATA_KEY: json.dumps(asdict(header), sort_keys=True)},
            "embeddings": {
                "dtype": "F16" if self.dtype == torch.float16 else "F32",
                "shape": [self.rows, self.width],
                "data_offsets": [0, size],
            },
            "texts": {"dtype": "U8", "shape": [end - size], "data_offsets": [size, end]},
        }
        head = json.dumps(table, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)  # tensors begin at a multiple of eight bytes
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(head)) + head)
            for source, length in ((rows, size), (texts, end - size)):
                _copy(source, file, length)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take_up(self) -> None:
        """Keep as many whole batches as rows and sentences have in common, so that a build ends as one in one go."""
        path = self.folder / _KEY
        if not path.is_file() or path.read_bytes() != self._key.encode():
            self._cut(0, 0)
            path.write_text(self._key, encoding="utf-8")
            return
        row = self.width * self.dtype.itemsize
        whole = (self.folder / _ROWS).stat().st_size // row // BATCH * BATCH
        count = place = at = 0
        with (self.folder / _TEXTS).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number > whole or not line.endswith(b"\n"):
                    break
                at += len(line)
                if number % BATCH == 0:
                    count, place = number, at
        self._cut(count, place)

    def _cut(self, rows: int, place: int) -> None:
        self.rows = rows
        for name, size in ((_ROWS, rows * self.width * self.dtype.itemsize), (_TEXTS, place)):
            self._files[name].truncate(size)
            self._files[name].seek(0, os.SEEK_END)


def _copy(source: Path, target: IO[bytes], length: int) -> None:
    with source.open("rb") as stream:
        while length:
            chunk = stream.read(min(_CHUNK, length))
            if not chunk:
                raise OSError(f"{source} is shorter than it was")
            target.write(chunk)
            length -= len(chunk)


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other processes from building the same file; a system without such locks does without."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RegionkitError(
            f"{path}: another process builds this bank", "wait for it, or choose another --out"
        ) from None
