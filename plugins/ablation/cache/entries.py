"""Entries of the stage cache as files: where they lie, what their head says, and whether they are whole. Torch-free.

An entry is a safetensors file. Its metadata holds the key, what the entry is of, and a BLAKE2b digest of the file's own
bytes, in which the 64 places of the digest count as zeros: whatever byte changes is found before anything is used.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Any, Literal

Precision = Literal["float32", "float16"]

#: What the metadata of every entry says; another number is another layout.
FORMAT = "regionkit stage 1"
#: Bytes that a head may take. Ours take hundreds; a foreign file must not fill the memory.
_HEAD_LIMIT = 16 << 20
#: Where the digest begins. Quotes inside of texts are escaped, so this stands at one place alone.
_DIGEST = b'"blake2b":"'
_BLANK = b"0" * 64
_NAME = re.compile(r"(?P<key>[0-9a-f]{16,128})(?P<half>\.float16)?\.safetensors", re.ASCII)
_PART = re.compile(
    r"\.[0-9a-f]+(?:\.float16)?\.(?P<host>[0-9a-f]{8})\.(?P<pid>\d+)\.\d+\.(?P<size>\d+)\.part", re.ASCII
)


class Damage(Exception):
    """A file at an entry's place is not the entry. Its text is the reason, in a word or two."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the beginning of an entry says.

    Attributes:
        key: The entry's key.
        about: What it is of: stage, component, config, and how it is stored.
        dtypes: Names of the dtypes that tensors had before they were rounded, by tensor.
        digest: Digest of the whole file, 64 hexadecimal digits.
        at: Position of the digest in the file.
    """

    key: str
    about: dict[str, Any]
    dtypes: dict[str, str]
    digest: str
    at: int


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that lies in the folder.

    Attributes:
        path: Its file.
        key: Its key.
        precision: The precision that was asked for when it was made.
        size: Bytes of the file.
        used: When it was last used, in nanoseconds since 1970; the file's time of modification.
    """

    path: Path
    key: str
    precision: Precision
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file that a process is writing, or was writing when it died.

    Attributes:
        path: The file.
        host: Eight digits that stand for the machine.
        pid: The process.
        size: Bytes that it will have.
        since: When it was last written to, in nanoseconds since 1970.
    """

    path: Path
    host: str
    pid: int
    size: int
    since: int


def place_of(folder: Path, key: str, precision: Precision) -> Path:
    """Return the file of an entry.

    Raises:
        ValueError: ``key`` is no digest of 16 to 128 hexadecimal digits.
    """
    name = f"{key}{'.float16' if precision == 'float16' else ''}.safetensors"
    if not _NAME.fullmatch(name):
        raise ValueError(f"a key of the cache is 16 to 128 lower-case hexadecimal digits, and not '{key}'")
    return folder / key[:2] / name


def walk(folder: Path) -> tuple[list[Held], list[Unfinished]]:
    """Return the entries of a folder, and the files that are being written; foreign files are passed over.

    Raises:
        OSError: The folder is there and cannot be listed.
    """
    held: list[Held] = []
    unfinished: list[Unfinished] = []
    for name in sorted(_names(folder)):
        if not re.fullmatch(r"[0-9a-f]{2}", name, re.ASCII):
            continue
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / name) as inner:
            for one in inner:
                with suppress(FileNotFoundError):
                    status = one.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    path = folder / name / one.name
                    if (named := _NAME.fullmatch(one.name)) and named["key"][:2] == name:
                        precision: Precision = "float16" if named["half"] else "float32"
                        held.append(Held(path, named["key"], precision, status.st_size, status.st_mtime_ns))
                    elif part := _PART.fullmatch(one.name):
                        since = status.st_mtime_ns
                        unfinished.append(Unfinished(path, part["host"], int(part["pid"]), int(part["size"]), since))
    return held, unfinished


def _names(folder: Path) -> Iterator[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as inner:
        yield from (one.name for one in inner)


def metadata_of(key: str, about: Mapping[str, Any], dtypes: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of an entry, with zeros for its digest.

    Raises:
        TypeError: ``about`` is no JSON.
    """
    texts = {"about": json.dumps(dict(about)), "dtypes": json.dumps(dict(dtypes))}
    return {"format": FORMAT, "key": key, "blake2b": _BLANK.decode(), **texts}


def sealed(content: bytes) -> tuple[memoryview, bytes, memoryview]:
    """Return the bytes of a safetensors file with that metadata, its digest put in: three pieces to write in a row."""
    at = content.index(_DIGEST) + len(_DIGEST)
    view = memoryview(content)
    return view[:at], blake2b(view, digest_size=32).hexdigest().encode(), view[at + len(_BLANK) :]


def read_head(path: Path) -> tuple[Head, Held]:
    """Return what the beginning of an entry says, unchecked, and what the file system says of it.

    Raises:
        Damage: It is no entry, or not the one of this name, or its length is not what it says.
        OSError: It cannot be read.
    """
    with _opened(path) as stream:
        return _head(stream, path)


def read_entry(path: Path) -> tuple[bytes, Head, Held]:
    """Return the bytes of an entry, all of them checked.

    Raises:
        Damage: They are not what was written, or were written for another key.
        OSError: They cannot be read.
    """
    with _opened(path) as stream:
        head, held = _head(stream, path)
        stream.seek(0)
        content = stream.read()
    view = memoryview(content)
    digest = blake2b(view[: head.at], digest_size=32)
    digest.update(_BLANK)
    digest.update(view[head.at + len(_BLANK) :])
    if digest.hexdigest() != head.digest:
        raise Damage("checksum")
    return content, head, held


def _opened(path: Path) -> FileIO:
    # Opening a pipe that somebody put there must not wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Damage("not a file")
    return open(handle, "rb", buffering=0)  # a buffer would copy what is read from its beginning again


def _head(stream: FileIO, path: Path) -> tuple[Head, Held]:
    """Read the head of an entry; the length of the file must be what its tensors need."""
    status = os.fstat(stream.fileno())
    start = stream.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or status.st_size < 8 + length:
        raise Damage("cut off")
    if length > _HEAD_LIMIT:
        raise Damage("no entry of the cache")
    raw = start + stream.read(length)
    named = _NAME.fullmatch(path.name)
    try:
        fields = json.loads(raw[8:])
        told = fields.pop("__metadata__")
        if told["format"] != FORMAT:
            raise Damage("no entry of the cache")
        end = max((tensor["data_offsets"][1] for tensor in fields.values()), default=0)
        at = raw.index(_DIGEST) + len(_DIGEST)
        head = Head(told["key"], json.loads(told["about"]), json.loads(told["dtypes"]), told["blake2b"], at)
        whole = status.st_size == 8 + length + end
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise Damage("unreadable head") from None
    if not isinstance(head.about, dict) or not isinstance(head.dtypes, dict):
        raise Damage("unreadable head")
    if named is None or named["key"] != head.key:
        raise Damage("another key")
    if not whole:
        raise Damage("cut off")
    precision: Precision = "float16" if named["half"] else "float32"
    return head, Held(path, head.key, precision, status.st_size, status.st_mtime_ns)
