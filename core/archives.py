"""Archives from outside, unpacked so that nothing leaves the folder and nothing half-unpacked stays behind."""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from regionkit.core.errors import DataError

#: What may be in one archive unless the caller knows better.
MAX_ENTRIES = 10_000
MAX_BYTES = 64 << 30
#: An archive smaller than this share of its content, and whose content is no trifle, is made to fill a disk.
MAX_RATIO = 200
_TRIFLE = 64 << 20
_CHUNK = 1 << 20
#: Bytes that a tar may have before each file, for its name and attributes, and those before all files together.
_MAX_HEADER, _MAX_HEADERS = 16 << 10, 64 << 20
#: Digits in a row in there, and attributes that hold for all files: some versions of tarfile take for ever over many.
_MAX_DIGITS, _MAX_COMMON = 200, 64

#: Endings of the archives that are read.
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of an archive: its name as it is written there, and how to read it; None for a folder."""

    name: str
    open: Callable[[], IO[bytes]] | None


def is_archive(path: str | Path) -> bool:
    """Tell by its name whether a file is an archive of a kind that :func:`unpack` reads."""
    return str(path).lower().endswith(ENDINGS)


def unpack(
    path: str | Path,
    folder: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
    check: Callable[[Path], object] | None = None,
) -> list[Path]:
    """Unpack an archive into a new folder, whole or not at all.

    Args:
        path: A ``.zip``, ``.tar`` or ``.tar.gz``.
        folder: The folder to make; there must be nothing of that name, or an empty folder.
        max_bytes: Bytes that its files may have together, counted while they are written.
        max_entries: Entries that it may have.
        check: Called with the unpacked folder before it takes its name; if it raises, nothing was unpacked.

    Returns:
        The files, sorted.

    Raises:
        DataError: It is no such archive, is damaged, is too large, or an entry is named so that it would leave the
            folder, is a link or a device, or is there twice. Nothing was unpacked.
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise DataError(f"there is no archive {path}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is there already", "name another folder, or move it away")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        budget = _Budget(path, max_bytes, max_entries)
        with _reading(path, folder.parent), _entries(path, budget) as entries:
            for entry in entries:
                _write(entry, temporary, budget)
        if check is not None:
            check(temporary)
        temporary.chmod(0o755)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(inner for inner in folder.rglob("*") if inner.is_file())


class _Budget:
    """What an archive may still write."""

    def __init__(self, path: Path, max_bytes: int, max_entries: int) -> None:
        self.path = path
        self.max_bytes = min(max_bytes, max(path.stat().st_size * MAX_RATIO, _TRIFLE))
        self.left = self.max_bytes
        self.max_entries = max_entries
        self.entries = 0
        self.seen: set[str] = set()

    def entry(self, name: str) -> None:
        """Count an entry, and refuse one that is there already, also where case is all that sets two apart."""
        self.entries += 1
        if self.entries > self.max_entries:
            raise refused(self.path, f"it has more than {self.max_entries} entries")
        key = PurePosixPath(name).as_posix().casefold()
        if key in self.seen:
            raise refused(self.path, f"'{name}' is there twice")
        self.seen.add(key)

    def take(self, count: int) -> None:
        """Count bytes that were read."""
        self.left -= count
        if self.left < 0:
            raise refused(
                self.path,
                f"its files have more than {self.max_bytes:,} bytes",
                "a small archive that means so much is made to fill a disk",
            )


def refused(path: Path, reason: str, *hints: str) -> DataError:
    """Return the error of an archive that is not unpacked."""
    return DataError(f"{path}: the archive is refused: {reason}", *hints, "nothing was unpacked")


def safe_name(path: Path, name: str) -> PurePosixPath:
    """Return the name of an entry as a path below the folder.

    Raises:
        DataError: It would lead out of the folder, or is no name on some system.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        raise refused(path, f"'{name}' is an absolute name")
    if ".." in parts:
        raise refused(path, f"'{name}' leads out of the folder")
    clean = PurePosixPath(*(part for part in parts if part not in ("", ".")))
    if not clean.parts or any(ord(letter) < 32 for letter in name):
        raise refused(path, f"{name!r} is no name of a file")
    return clean


def _write(entry: _Entry, folder: Path, budget: _Budget) -> None:
    clean = safe_name(budget.path, entry.name)
    budget.entry(str(clean))
    target = folder / clean
    if entry.open is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # The folder is new and our own, and no link was made in it: nothing of this name can point elsewhere.
    with target.open("xb") as stream, entry.open() as source:
        while chunk := source.read(_CHUNK):
            budget.take(len(chunk))
            stream.write(chunk)


@contextmanager
def _reading(path: Path, into: Path) -> Iterator[None]:
    """Turn what the libraries say of a damaged archive into one sentence."""
    try:
        yield
    except DataError:
        raise
    except FileExistsError as error:
        raise refused(path, f"'{Path(str(error.filename)).name}' is a file and a folder at once") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise refused(path, f"it is damaged: {error}", "fetch it again") from None
    except gzip.BadGzipFile as error:  # an OSError, but not one of this machine
        raise refused(path, f"it is damaged: {error}", "fetch it again") from None
    except (NotADirectoryError, IsADirectoryError) as error:
        raise refused(path, f"'{Path(str(error.filename)).name}' is a file and a folder at once") from None
    except OSError as error:
        raise DataError(f"{path}: the archive cannot be unpacked into {into}: {error.strerror or error}") from None


@contextmanager
def _entries(path: Path, budget: _Budget) -> Iterator[Iterator[_Entry]]:
    """Open an archive by its content, and yield its entries one by one."""
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > budget.max_entries:
                raise refused(path, f"it has more than {budget.max_entries} entries")
            yield (_zip_entry(path, archive, info) for info in archive.infolist())
    else:
        with gzip.open(path) if start[:2] == b"\x1f\x8b" else path.open("rb") as file:
            forward = _Forward(cast("IO[bytes]", file), budget)
            with tarfile.TarFile(fileobj=cast("IO[bytes]", forward), mode="r") as tar:
                yield _tar_entries(path, tar, forward)


class _Forward:
    """The bytes of a tar, read once from first to last, and no more of them than the archive may have.

    tarfile reads what stands before a file in one go, of the size that it claims, so this is where it is refused.
    """

    def __init__(self, file: IO[bytes], budget: _Budget) -> None:
        self.file = file
        self.budget = budget
        self.position = 0
        #: Bytes that may still come before the next file; None inside a file, whose bytes the budget counts.
        self.header_left: int | None = _MAX_HEADER

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.position

    def seek(self, position: int) -> int:
        """Read on to a position."""
        if position < self.position:
            raise tarfile.ReadError("its parts overlap")
        while self.position < position and self._take(min(position - self.position, _CHUNK)):
            pass
        return self.position

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        if self.header_left is None:
            return self._take(size)
        self.header_left -= size
        if size < 0 or self.header_left < 0:
            raise refused(self.budget.path, f"it has more than {_MAX_HEADER:,} bytes before a file")
        data = self._take(size)
        if any(len(digits) > _MAX_DIGITS for digits in re.findall(rb"[0-9]+", data)):
            raise refused(self.budget.path, f"it has a number of more than {_MAX_DIGITS} digits before a file")
        return data

    def _take(self, size: int) -> bytes:
        data = self.file.read(size)
        self.position += len(data)
        if self.position > self.budget.max_bytes + _MAX_HEADERS:
            raise refused(self.budget.path, f"it holds more than {self.budget.max_bytes + _MAX_HEADERS:,} bytes")
        return data


def _tar_entries(path: Path, tar: tarfile.TarFile, stream: _Forward) -> Iterator[_Entry]:
    """Yield the entries one by one; only the one at hand is held in memory, however many there are."""
    while True:
        stream.header_left = _MAX_HEADER
        info = tar.next()
        stream.header_left = None
        if info is None:
            return
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile's table, of which its types say nothing
        if len(tar.pax_headers) > _MAX_COMMON:
            raise refused(path, f"it has more than {_MAX_COMMON} attributes for all its files")
        yield _tar_entry(path, tar, info)


def _zip_entry(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused(path, f"'{info.filename}' is a link or a device")
    if info.flag_bits & 1:
        raise refused(path, f"'{info.filename}' is encrypted")
    return _Entry(info.orig_filename, None if info.is_dir() else lambda: archive.open(info))


def _tar_entry(path: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    if not (info.isreg() or info.isdir()):
        raise refused(path, f"'{info.name}' is a link or a device")
    return _Entry(info.name, None if info.isdir() else lambda: cast("IO[bytes]", tar.extractfile(info)))
