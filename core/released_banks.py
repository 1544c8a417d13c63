"""Banks of text embeddings as some papers release them: HDF5 files with two data sets.

``NAME-embeddings`` is (n, d) floats, ``NAME-text`` the n sentences. Two plugins meet here: ``toolkit bank build`` turns
such a file into a bank of ours, and a bridge may read it as it is. HDF5 is a file format that can point elsewhere, so
links to other files and data kept outside are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import DataError, MissingExtra

_EMBEDDINGS, _TEXTS = "-embeddings", "-text"
#: What is taken of each vector: some text towers write two vectors side by side.
Columns = Literal["all", "first-half", "second-half"]
#: Rows read together.
_ROWS = 1 << 14
#: A file that says it holds this many times its own size, and more than this many bytes, holds mostly nothing.
_HOLLOW_RATIO, _HOLLOW_BYTES = 20, 1 << 28


@dataclass(frozen=True, eq=False, slots=True)
class ReleasedBank:
    """A bank of the release.

    Attributes:
        name: Name of the data set in the file, such as ``coco_captions``.
        embeddings: (n, d) float32, no row zero.
        texts: The n sentences, runs of blanks and line breaks as one space.
        empty: Rows of zeros, never filled, that were left out.
    """

    name: str
    embeddings: Tensor
    texts: tuple[str, ...]
    empty: int


def released_bank_name(path: str | Path, name: str = "") -> str:
    """Return the name of the bank that :func:`read_released_bank` would read, without reading it; raises likewise."""
    with _opened(Path(path)) as file:
        return _choose(Path(path), file, name)


def read_released_bank(path: str | Path, name: str = "", columns: Columns = "all") -> ReleasedBank:
    """Read a bank of an HDF5 file.

    Args:
        path: The file.
        name: Which of its banks; may be left out where it holds one.
        columns: What to take of each vector.

    Raises:
        MissingExtra: h5py is not installed.
        DataError: The file is missing or damaged, holds no bank or several, an embedding is NaN or infinite, there
            is not one text an embedding, or vectors have no halves.
    """
    path = Path(path)
    with _opened(path) as file:
        name = _choose(path, file, name)
        values = _dataset(path, file, f"{name}{_EMBEDDINGS}")
        stored = _dataset(path, file, f"{name}{_TEXTS}")
        _check_shapes(path, name, values, stored)
        embeddings = _embeddings(path, name, values, columns)
        texts = _texts(path, name, stored)
    kept, filled = _without_empty(embeddings)
    if not len(kept):
        raise DataError(f"{path}: every row of '{name}{_EMBEDDINGS}' is zero: the bank was never filled")
    if len(kept) < len(filled):
        texts = [text for text, keep in zip(texts, filled.tolist(), strict=True) if keep]
    return ReleasedBank(name, kept, tuple(texts), len(filled) - len(kept))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the file; what the library says of a damaged one becomes one sentence."""
    try:
        import h5py
    except ImportError:
        raise MissingExtra(f"reading {path.name}", "h5py", "h5") from None
    if not path.is_file():  # a pipe would never end, and HDF5 can open more than files
        reason = "it is no regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: cannot be read: {reason}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError and TypeError on damage
        raise DataError(
            f"{path}: this is no HDF5 file, or a damaged one: {error}",
            "fetch it again; compare its size with the release",
        ) from None


def _choose(path: Path, file: Any, name: str) -> str:
    names = sorted(key.removesuffix(_EMBEDDINGS) for key in file if key.endswith(_EMBEDDINGS))
    if not names:
        raise DataError(
            f"{path}: there is no bank in this file, it holds: {', '.join(sorted(file)) or 'nothing'}",
            f"a bank is the data sets NAME{_EMBEDDINGS} and NAME{_TEXTS}",
        )
    if name and name not in names:
        raise DataError(f"{path}: there is no bank '{name}' in this file", f"banks are: {', '.join(names)}")
    if not name and len(names) > 1:
        raise DataError(f"{path}: this file holds {len(names)} banks", f"say which: {', '.join(names)}")
    return name or names[0]


def _dataset(path: Path, file: Any, key: str) -> Any:
    """Return a data set whose numbers lie in this very file."""
    import h5py

    if key not in file:
        raise DataError(f"{path}: there is no '{key}' in this file, it holds: {', '.join(sorted(file))}")
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataError(f"{path}: '{key}' is a link to another place, and files are read alone")
    found = file[key]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: '{key}' is no data set")
    if found.is_virtual or found.external:
        raise DataError(f"{path}: '{key}' is kept in another file, and files are read alone")
    return found


def _check_shapes(path: Path, name: str, values: Any, stored: Any) -> None:
    import h5py

    if values.ndim != 2 or values.dtype.kind != "f" or 0 in values.shape:
        raise DataError(
            f"{path}: '{name}{_EMBEDDINGS}' is {values.dtype} {values.shape}, a bank is a table of floats (n, d)"
        )
    if h5py.check_string_dtype(stored.dtype) is None:
        raise DataError(f"{path}: '{name}{_TEXTS}' holds {stored.dtype}, not sentences")
    if stored.shape != values.shape[:1]:
        raise DataError(f"{path}: there are {values.shape[0]} embeddings, and texts of shape {stored.shape}")
    claimed = values.nbytes + stored.nbytes
    if claimed > max(_HOLLOW_BYTES, _HOLLOW_RATIO * path.stat().st_size):
        raise DataError(f"{path}: it says it holds {claimed:,} bytes and is much smaller than that")


def _embeddings(path: Path, name: str, values: Any, columns: Columns) -> Tensor:
    width = values.shape[1]
    if columns != "all" and width % 2:
        raise DataError(f"{path}: vectors of width {width} have no {columns}", "take them whole: columns all")
    taken = {"all": slice(width), "first-half": slice(width // 2), "second-half": slice(width // 2, width)}[columns]
    result = np.empty((len(values), taken.stop - (taken.start or 0)), dtype=np.float32)
    for rows in iter_batches(len(result), _ROWS):
        with np.errstate(over="ignore"):  # what is too large for float32 is told below
            result[rows] = values[rows, taken]
        finite = np.isfinite(result[rows]).all(axis=1)
        if not finite.all():
            row = rows.start + int(np.flatnonzero(~finite)[0])
            raise DataError(f"{path}: row {row} of '{name}{_EMBEDDINGS}' is NaN or infinite", "fetch the file again")
    return torch.from_numpy(result)


def _without_empty(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Move rows forward over those of zeros, in their own memory; return them, and (n,) which ones they were."""
    filled = torch.empty(len(embeddings), dtype=torch.bool)
    end = 0
    for rows in iter_batches(len(embeddings), _ROWS):
        filled[rows] = embeddings[rows].any(dim=1)
        if end == rows.start and bool(filled[rows].all()):
            end = rows.stop
            continue
        block = embeddings[rows][filled[rows]]
        embeddings[end : end + len(block)] = block
        end += len(block)
    return embeddings[:end], filled


def _texts(path: Path, name: str, stored: Any) -> list[str]:
    texts = []
    for row, value in enumerate(stored[:].tolist()):
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
            text.encode()
        except UnicodeError:
            raise DataError(f"{path}: text {row} of '{name}{_TEXTS}' is not UTF-8") from None
        texts.append(" ".join(text.split()))
    return texts
