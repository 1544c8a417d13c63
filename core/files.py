"""Files and folders that are either whole or not there, what they hold by its hash, and the endings that say what."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Endings of the files that torch writes.
TORCH_FILES = (".pt", ".pth", ".bin", ".ckpt")
#: Endings of plain pickles, which no reader of a component opens.
PICKLE_FILES = (".pkl", ".pickle")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success its content is synced and takes the name ``path`` at once.

    A crash, a full disk or ``kill -9`` at any moment leaves the old file, or none, never half a file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files private to their owner; give the result the permissions any new file would have.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success all that it holds is synced and takes the name at once.

    A crash, a full disk or ``kill -9`` at any moment leaves no folder of that name, never half of one.

    Args:
        path: There must be nothing of that name, or an empty folder, as :func:`is_free` says.

    Raises:
        OSError: Something has taken the name in the meantime, or the disk refuses.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield temporary
        for inner in temporary.rglob("*"):
            _sync(inner)
        # mkdtemp makes folders private to their owner; give the result the permissions any new folder would have.
        temporary.chmod(0o777 & ~_umask())
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_free(path: Path) -> bool:
    """Say whether a folder can be made: there is nothing of that name, or an empty folder."""
    return not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir()))


def _sync(path: Path) -> None:
    """Wait until the disk has what was written; systems that cannot open a folder keep its entries by themselves."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; each version of a file is read once.

    Raises:
        OSError: It cannot be read.
    """
    status = path.stat()
    # A file is known by its place on the disk: resolving links takes longer than all else of a plan.
    version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if version not in _HASHES:
        if len(_HASHES) >= _MOST_HASHES:
            _HASHES.clear()
        with path.open("rb") as stream:
            _HASHES[version] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _HASHES[version]


#: Hashes of files by device, inode, size and times.
_HASHES: dict[tuple[int, ...], str] = {}
_MOST_HASHES = 4096


def is_file(path: Path) -> bool:
    """Say whether a path is a regular file, or a link to one.

    What the system cannot look up at all is none: a name longer than names can be, or one that holds a NUL.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder, or a link to one; what cannot be looked up is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
