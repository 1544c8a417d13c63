"""Members of tar files by where they stand, so that pictures are read without unpacking anything."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from regionkit.core.data.records import Fault
from regionkit.core.errors import DataError

#: Bytes of a tar file that say one thing.
_BLOCK = 512
#: First bytes of packed tar files: gzip, bzip2, xz, zstandard.
_PACKED = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"(\xb5": "unzstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file.

    Attributes:
        key: Its name without endings: those of one sample have it in common.
        ending: What follows the first dot of its last part, in lower case.
        start: The byte of the tar file that it starts at.
        length: Its bytes.
    """

    key: str
    ending: str
    start: int
    length: int


def members(path: Path) -> Iterator[Member | Fault]:
    """Yield the files of a tar file in their order; memory does not grow with their number.

    Folders are passed over. Links, devices, and names that lead out of the folder they would be unpacked to are faults,
    and so is an end without the mark that every tar file ends with: it is cut off, or damaged there.

    Raises:
        DataError: It cannot be read, is packed, or is no tar file.
    """
    try:
        _check_plain(path)
        end, length = 0, path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            while True:
                try:
                    info = tar.next()
                except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
                    yield Fault(str(path), f"the tar file is cut off or damaged after byte {end}: {error}")
                    return
                if info is None:
                    break
                tar.members.clear()  # type: ignore[attr-defined]  # it remembers all of them otherwise
                if tar.offset > length:
                    yield Fault(str(path), f"the tar file is cut off in the file at byte {end}: {info.name[:200]!r}")
                    return
                end = tar.offset  # where the next one starts
                if not info.isdir():
                    yield _member(path, info)
        if not _is_end(path, end):
            yield Fault(str(path), f"the tar file is cut off or damaged at byte {end}")
    except tarfile.TarError as error:
        raise DataError(f"{path}: this is no tar file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def read(path: Path, start: int, length: int) -> bytes:
    """Return bytes of a file.

    Raises:
        DataError: They are not there.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(length)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) != length:
        raise DataError(f"{path}: it ends before byte {start + length}", "copy or download it again")
    return content


def _check_plain(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: this is no file")
    with path.open("rb") as stream:
        first = stream.read(2)
    if first in _PACKED:
        raise DataError(
            f"{path}: it is packed, so that pictures cannot be read from the middle of it",
            f"unpack it once, its pictures hardly grow by that: {_PACKED[first]} {path}",
        )


def _is_end(path: Path, offset: int) -> bool:
    """Say whether a block of zeros stands there, as after the last member of a whole tar file."""
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(_BLOCK) == bytes(_BLOCK)


def _member(path: Path, info: tarfile.TarInfo) -> Member | Fault:
    name = PurePosixPath(info.name)
    place = f"{path}: {info.name[:200]!r}"
    if info.issym() or info.islnk():
        return Fault(place, "it is a link, which is not followed")
    if not info.isreg() or info.sparse is not None or info.size < 0:
        return Fault(place, "it is no plain file")
    if name.is_absolute() or ".." in name.parts or "\\" in info.name or "\0" in info.name:
        return Fault(place, "its name leads out of the tar file")
    base, _, ending = name.name.partition(".")
    return Member(str(name.with_name(base)) if base else str(name), ending.lower(), info.offset_data, info.size)
