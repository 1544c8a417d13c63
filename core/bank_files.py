"""Banks of texts of any size: written as rows come, and read row by row, neither of which holds them all.

The file is a weight file like any other, with the tensors of :func:`regionkit.core.texts.bank_tensors`. Until it is
finished rows lie in a folder beside it, and a build that was stopped goes on there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from regionkit.core.data.lines import Lines, OpenFile
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.files import replacing
from regionkit.core.texts import BATCH
from regionkit.core.weights import METADATA_KEY, WeightHeader, read_header

_KEY, _ROWS, _TEXTS = "key.json", "embeddings", "texts"
#: Bytes copied together.
_CHUNK = 1 << 24
#: Types of embeddings as safetensors calls them, which numpy knows.
_TYPES = {"F16": "<f2", "F32": "<f4"}
_BUILD = "toolkit bank build --backbone NAME --corpus NAME --out FILE.safetensors"
_AGAIN = f"make it again: {_BUILD}"


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


class BankFile:
    """Rows of a finished bank, read from the file when they are asked for; see :mod:`regionkit.core.data.lines`.

    Attributes:
        path: The file.
        header: What it was made for; ``header.space`` is the space of its embeddings.
        texts: Its n sentences, each read when it is asked for.
        width: d of its embeddings.

    Raises:
        WeightsError: The file is damaged, is no bank, or has no sentences.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        if header is None or (header.kind, header.name) != ("bridge", "memory"):
            what = f"the weights of {header.kind} '{header.name}'" if header else "a safetensors file of someone else's"
            raise WeightsError(f"{path}: this is no bank of texts, but {what}", f"make one: {_BUILD}")
        self.path, self.header = path, header
        self._file = OpenFile(path)
        size = struct.unpack("<Q", self._file.read(0, 8))[0]
        table = json.loads(self._file.read(8, size))
        self._dtype, (count, self.width), self._start = self._embeddings(table, 8 + size)
        if "texts" not in table:
            raise WeightsError(f"{path}: this bank has embeddings and no sentences", f"make another: {_BUILD}")
        first, last = table["texts"]["data_offsets"]
        self.texts = Lines(path, 8 + size + first, last - first, ended=False)
        if len(self.texts) != count:
            raise WeightsError(f"{path}: this bank has {count} embeddings and {len(self.texts)} sentences", _AGAIN)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """Tells the bank from others: a hash of its header, its size, and some of its rows and sentences."""
        digest = hashlib.sha256(repr((self.header, len(self), self.width, self._dtype.str)).encode())
        some = np.unique(np.linspace(0, len(self) - 1, 256).astype(np.int64))
        digest.update(self.rows(torch.from_numpy(some)).numpy().tobytes())
        digest.update("\n".join(self.texts[row] for row in some.tolist()).encode())
        return digest.hexdigest()[:16]

    def rows(self, rows: Tensor) -> Tensor:
        """Read embeddings (k, d), float32 on the CPU, at row numbers (k,).

        Raises:
            WeightsError: A value is NaN or infinite, or the file has become shorter.
        """
        found = np.empty((len(rows), self.width), dtype=self._dtype)
        length = self.width * self._dtype.itemsize
        for place, row in enumerate(rows.tolist()):
            content = self._file.read(self._start + row * length, length)
            if len(content) != length:
                raise WeightsError(f"{self.path}: the bank was changed while it was read", _AGAIN)
            found[place] = np.frombuffer(content, dtype=self._dtype)
        values = torch.from_numpy(found.astype(np.float32))
        if not bool(torch.isfinite(values).all()):
            row = int(rows[int((~torch.isfinite(values)).any(dim=1).nonzero()[0])])
            raise WeightsError(f"{self.path}: row {row} of this bank is NaN or infinite", _AGAIN)
        return values

    def _embeddings(self, table: Mapping[str, Any], begin: int) -> tuple[np.dtype[Any], list[int], int]:
        """Return type, shape and first byte of the embeddings."""
        entry = table.get("embeddings", {})
        dtype, shape = _TYPES.get(str(entry.get("dtype"))), entry.get("shape", [])
        if dtype is None or len(shape) != 2 or 0 in shape:
            found = f"{entry['dtype']} {shape}" if entry else "none"
            raise WeightsError(f"{self.path}: the embeddings of a bank are F16 or F32 (n, d), here are {found}", _AGAIN)
        return np.dtype(dtype), list(shape), begin + entry["data_offsets"][0]


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
