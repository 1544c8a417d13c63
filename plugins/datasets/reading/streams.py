"""Records of files one at a time: JSON lines, JSON lists of any length, tables; plain or packed with gzip.

A line that cannot be read is a :class:`Fault` among the records; a file that cannot be read raises.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.json_files import load
from regionkit.plugins.datasets.reading.records import Entry, Fault

#: Bytes of one line: a narrative of minutes takes a megabyte.
_LONGEST_LINE = 1 << 26
#: JSON documents larger than this are read piece by piece, which takes the package ijson and longer.
_WHOLE = 1 << 28
_GZIP = b"\x1f\x8b"


def json_lines(path: Path) -> Iterator[Entry | Fault]:
    """Yield the value of every line that is not empty.

    Raises:
        DataError: The file cannot be read to its end.
    """
    for number, line in text_lines(path):
        place = f"{path}:{number}"
        try:
            yield Entry(place, json.loads(line))
        except json.JSONDecodeError as error:
            yield Fault(place, f"no JSON, at column {error.colno}: {error.msg}")
        except RecursionError:
            yield Fault(place, "brackets are nested too deeply to be read")
        except ValueError as error:
            yield Fault(place, f"no JSON: {error}")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of every line of a UTF-8 file that is not blank.

    Raises:
        DataError: The file cannot be read to its end, or a line is no UTF-8 or endless.
    """
    number = 0
    try:
        with path.open("rb") as raw, _unpacked(raw) as stream:
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                if len(line) >= _LONGEST_LINE:
                    raise DataError(f"{path}:{number}: this line is longer than {_LONGEST_LINE >> 20} MiB")
                if not line.isspace():
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except EOFError:
        raise DataError(f"{path}: the gzip file is cut off after line {number}", "copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: the gzip file is damaged after line {number}: {error}", "copy or download it again"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of this line is not UTF-8",
            f"convert the file: iconv -f latin1 -t utf-8 {path}",
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def json_list(path: Path, key: str = "") -> Iterator[Entry]:
    """Yield the elements of a JSON list, or of the list under a key of the file's object.

    A file of more than 256 MiB is read piece by piece.

    Raises:
        DataError: The file cannot be read, is no JSON, or holds no such list.
        MissingExtra: The file is large, and the package that reads it piece by piece is not installed.
    """
    if _size(path) > _WHOLE:
        yield from _pieces(path, key)
        return
    value = load(path).value
    rows = value.get(key) if key and isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise _no_list(path, key)
    name = f"{key}[{{}}]" if key else "record {}"
    for number, row in enumerate(rows):
        yield Entry(f"{path}: {name.format(number if key else number + 1)}", row)


def json_object(path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the keys and values of a JSON object of moderate size.

    Raises:
        DataError: The file cannot be read, or is no JSON object.
    """
    value = load(path).value
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected, with one record a key")
    for key, held in value.items():
        yield key, Entry(f"{path}: '{key}'", held)


def table(path: Path, columns: Sequence[str] = (), delimiter: str = ",") -> Iterator[Entry | Fault]:
    """Yield the rows of a CSV or TSV file as mappings by column.

    Args:
        path: The file.
        columns: Names of its columns where the file has no head; empty takes the first line.
        delimiter: What stands between columns.

    Raises:
        DataError: The file cannot be read to its end.
    """
    names = list(columns)
    for number, line in text_lines(path):
        if delimiter == "\t":  # quotes are plain characters there
            cells = line.rstrip("\r\n").split("\t")
        else:
            cells = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter))
        if not names:
            names = cells
        elif len(cells) != len(names):
            yield Fault(f"{path}:{number}", f"{len(cells)} columns, {len(names)} are expected")
        else:
            yield Entry(f"{path}:{number}", dict(zip(names, cells, strict=True)))


def _pieces(path: Path, key: str) -> Iterator[Entry]:
    try:
        import ijson
    except ImportError:
        raise MissingExtra(f"{path}, of {_size(path) >> 20} MiB,", "ijson", "data") from None
    found, number = False, 0
    try:
        with path.open("rb") as raw, _unpacked(raw) as stream:
            for number, row in enumerate(ijson.items(stream, f"{key}.item" if key else "item", use_float=True)):
                found = True
                yield Entry(f"{path}: {key}[{number}]" if key else f"{path}: record {number + 1}", row)
    except (ijson.JSONError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: no JSON after record {number + 1}: {error}", "copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not found:
        raise _no_list(path, key)


def _no_list(path: Path, key: str) -> DataError:
    return DataError(f"{path}: {f'there is no list {key!r} in it' if key else 'a JSON list is expected'}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _unpacked(raw: IO[bytes]) -> Any:
    """Return a stream of the content, recognised as gzip by its first bytes."""
    first = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if first == _GZIP else raw
