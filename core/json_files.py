"""JSON files that strangers made: plain or gzip, one value or one a line, and messages that say where one is broken.

And how values are written so that any file holds them, :func:`dumps`.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from regionkit.core.errors import DataError, did_you_mean
from regionkit.core.files import is_folder

#: Bytes of a file, after unpacking: as Python objects they take several times as many.
MOST_BYTES = 2 << 30
#: Bytes that are unpacked at a time.
_STEP = 1 << 24
_GZIP = b"\x1f\x8b"
#: Characters of a file's name, or of a key, in a message.
_LONGEST = 200
#: Half characters, which is what Python makes of the bytes of file names that are no UTF-8.
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds.

    Attributes:
        name: How messages call the file.
        value: Its value; for JSON lines the list of the values.
        lines: For JSON lines, the line of each value, counted from 1; None for a file of one value.
    """

    name: str
    value: Any
    lines: Sequence[int] | None = None

    def place(self, index: int) -> str:
        """Say where the value at an index of the file's list stands."""
        return f"{self.name}: record {index + 1}" if self.lines is None else f"{self.name}:{self.lines[index]}"


def load(path: Path) -> Loaded:
    """Read a JSON file, or JSON lines; ``-`` is standard input. gzip is recognised by its content.

    Raises:
        DataError: It cannot be read, or is no JSON; the line and column are named. A key that an object has twice is
            refused: nobody knows which value was meant.
    """
    name = "standard input" if str(path) == "-" else str(path)
    content = _content(path, name)
    if content.startswith(_GZIP):
        content = _unpacked(content, name)
    text = _decoded(content, name)
    del content
    if not text or text.isspace():
        raise DataError(f"{name}: the file is empty")
    try:
        return Loaded(name, loads(text))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" not in text[: error.pos].strip() and "\n" in text[: error.pos]:
            return _json_lines(text, name)
        _broken(error, f"{name}:{error.lineno}")
    except (ValueError, RecursionError) as error:
        _broken(error, name)


def _content(path: Path, name: str) -> bytes:
    if str(path) == "-":
        piped = sys.stdin.buffer.read(MOST_BYTES + 1)
        _check_size(len(piped), name)
        return piped
    if is_folder(path):
        raise DataError(f"{path}: this is a folder, not a file", "give a .json or .jsonl file, or one packed as .gz")
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: this is a pipe or a device, not a file", "predictions can be piped in with -")
        _check_size(path.stat().st_size, name)
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file", _nearby(path)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{_short(name)}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _nearby(path: Path) -> str:
    try:
        return did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""


def _check_size(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise DataError(f"{name}: longer than {MOST_BYTES >> 30} GiB, the most that is read", "split it by ids")


def _unpacked(content: bytes, name: str) -> bytes:
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while part := stream.read(_STEP):
                parts.append(part)
                size += len(part)
                _check_size(size, name)
    except EOFError:
        raise DataError(f"{name}: the gzip file is cut off", "copy or download it again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{name}: the gzip file is damaged: {error}", "copy or download it again") from None
    return b"".join(parts)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")  # some editors begin files with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8", "save the file again with the encoding UTF-8") from None


def _json_lines(text: str, name: str) -> Loaded:
    values, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: captions may hold U+2028
        if not line or line.isspace():
            continue
        try:
            values.append(loads(line))
        except (ValueError, RecursionError) as error:
            _broken(error, f"{name}:{number}")
        lines.append(number)
    return Loaded(name, values, lines)


class Refused(ValueError):
    """JSON as Python reads it, and nobody else: an object with a key twice, NaN, Infinity."""


def loads(text: str) -> Any:
    """Read JSON as the standard has it.

    Raises:
        Refused: It is JSON to Python alone; the message says in what.
        ValueError: It is none, or holds a number of too many digits.
        RecursionError: Brackets are nested too deeply.
    """
    try:
        value, end = _DECODER.scan_once(text, 0)  # type: ignore[attr-defined]
    except StopIteration:  # no value begins there, and decode says where
        return _DECODER.decode(text)
    # With anything behind it, and be it a blank, the text is read once more by what knows about that.
    return value if end == len(text) else _DECODER.decode(text)


def dumps(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON with its characters as they are; half ones become escapes, which UTF-8 can hold.

    Raises:
        ValueError: A number is not finite: JSON has no such numbers.
    """
    written = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", written)


def twice(key: str) -> str:
    """Say that an object has a key twice."""
    return f"the key '{_short(key)}' stands twice in one object, so what it means is not known"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise Refused(twice(next(key for key, _ in pairs if key in seen or seen.add(key))))  # type: ignore[func-returns-value]
    return found


def _constant(text: str) -> NoReturn:
    raise Refused(f"{text} is no number that JSON has")


#: Made once: making it takes longer than most lines do.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _broken(error: Exception, where: str) -> NoReturn:
    """Say what is wrong with a file.

    Raises:
        DataError: Always.
    """
    if isinstance(error, json.JSONDecodeError):
        raise DataError(f"{where}:{error.colno}: not JSON: {error.msg}") from None
    if isinstance(error, RecursionError):
        raise DataError(f"{where}: brackets are nested too deeply to be read") from None
    if isinstance(error, Refused):
        raise DataError(f"{where}: {error}") from None
    raise DataError(f"{where}: holds a number of too many digits") from None


def _short(text: str) -> str:
    """Return a text that any terminal takes: what cannot be seen is written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_LONGEST])
