"""Records of files one at a time: JSON lines, JSON lists of any length, tables; plain or packed with gzip.

A line that cannot be read is a :class:`Fault` among the records; a file that cannot be read raises. An object that has
a key twice is refused everywhere, since nobody knows which value was meant, and so are NaN and Infinity.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from regionkit.core.data.records import Entry, Fault
from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.json_files import Refused, load, loads, twice

#: Bytes of one line: a narrative of minutes takes a megabyte.
_LONGEST_LINE = 1 << 26
#: JSON documents larger than the first are read piece by piece where the package ijson is there, which takes longer and
#: a twentieth of the memory; without it, up to the second they are read whole.
_SMALL, _WHOLE = 1 << 25, 1 << 28
#: Rows of a Parquet file that are held together.
_ROWS = 1_024
_GZIP = b"\x1f\x8b"
#: What some editors begin files with.
_MARK = b"\xef\xbb\xbf"


def json_lines(path: Path) -> Iterator[Entry | Fault]:
    """Yield the value of every line that is not empty.

    Raises:
        DataError: The file cannot be read to its end.
    """
    name = str(path)
    for number, line in text_lines(path):
        yield json_line(f"{name}:{number}", line)


def json_line(place: str, line: str) -> Entry | Fault:
    """Read one line of JSON that stands at a place."""
    try:
        return Entry(place, loads(line))
    except json.JSONDecodeError as error:
        return Fault(place, f"no JSON, at column {error.colno}: {error.msg}")
    except RecursionError:
        return Fault(place, "brackets are nested too deeply to be read")
    except Refused as error:
        return Fault(place, str(error))
    except ValueError:  # Python refuses whole numbers of more than 4300 digits, which take minutes to convert
        return Fault(place, "it holds a number of too many digits")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of every line of a UTF-8 file that is not blank, without its end.

    Raises:
        DataError: The file cannot be read to its end, or a line is no UTF-8 or endless.
    """
    number = 0
    try:
        with _opened(path) as stream:
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                if len(line) >= _LONGEST_LINE:
                    raise DataError(f"{path}:{number}: this line is longer than {_LONGEST_LINE >> 20} MiB")
                if number == 1:
                    line = line.removeprefix(_MARK)
                if line and not line.isspace():
                    yield number, line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of this line is not UTF-8",
            f"convert the file: iconv -f latin1 -t utf-8 {path}",
        ) from None
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(path, f"after line {number}", error) from None


def json_list(path: Path, key: str = "") -> Iterator[Entry]:
    """Yield the elements of a JSON list, or of the list under a key of the file's object.

    A file of more than 32 MiB is read piece by piece; of up to 256 MiB, whole where the package ijson is not there.

    Raises:
        DataError: The file cannot be read, is no JSON, or holds no such list.
        MissingExtra: The file is large, and the package that reads it piece by piece is not installed.
    """
    if _is_large(path):
        yield from _pieces(path, key)
        return
    value = load(path).value
    rows = value.get(key) if key and isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise _no_list(path, key)
    for number, row in enumerate(rows):
        yield Entry(_place(path, key, number), row)


def json_object(path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the keys and values of a JSON object; a large file is read piece by piece, as in :func:`json_list`.

    Raises:
        DataError: The file cannot be read, or is no JSON object.
        MissingExtra: As in :func:`json_list`.
    """
    if _is_large(path):
        yield from _members(path)
        return
    value = load(path).value
    if not isinstance(value, dict):
        raise _no_object(path)
    for key, held in value.items():
        yield key, Entry(f"{path}: '{key}'", held)


def table(path: Path, columns: Sequence[str] = (), delimiter: str = ",") -> Iterator[Entry | Fault]:
    """Yield the rows of a CSV or TSV file as mappings by column; a cell is text of one line.

    Args:
        path: The file.
        columns: Names of its columns where the file has no head; empty takes the first line.
        delimiter: What stands between columns.

    Raises:
        DataError: The file cannot be read to its end, or its head names a column twice.
    """
    names = list(columns)
    for number, line in text_lines(path):
        try:
            # Quotes are plain characters between tabs.
            cells = line.split("\t") if delimiter == "\t" else next(csv.reader([line], delimiter=delimiter))
        except csv.Error as error:
            yield Fault(f"{path}:{number}", f"no row of a table: {error}")
            continue
        if not names:
            names = cells
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{path}:{number}: two columns are called '{twice}'")
        elif len(cells) != len(names):
            yield Fault(f"{path}:{number}", f"{len(cells)} columns, {len(names)} are expected")
        else:
            yield Entry(f"{path}:{number}", dict(zip(names, cells, strict=True)))


def parquet_rows(path: Path) -> Iterator[Entry]:
    """Yield the rows of a Parquet file as mappings by column; memory holds a thousand of them.

    Raises:
        DataError: The file cannot be read to its end.
        MissingExtra: The package that reads such files is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtra(f"{path}, a Parquet file,", "pyarrow", "parquet") from None
    _size(path)  # says better than the package that there is no such file
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    yield Entry(_place(path, "", number), row)
                    number += 1
    except (ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no Parquet after record {number}: {reason}", "copy or download it again") from None


def _is_large(path: Path) -> bool:
    size = _size(path)
    return size > _WHOLE or (size > _SMALL and find_spec("ijson") is not None)


def _pieces(path: Path, key: str) -> Iterator[Entry]:
    """Yield the elements of a list in a large file; memory holds one of them."""
    number = 0
    with _parsing(path, lambda: f"after record {number}") as (ijson, events):
        checked = _checked(path, events, key, "start_array", _no_list(path, key))
        for row in ijson.items(checked, f"{key}.item" if key else "item"):
            yield Entry(_place(path, key, number), row)
            number += 1


def _members(path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the keys and values of the object of a large file; memory holds one of them."""
    key: str | None = None
    with _parsing(path, lambda: "at its beginning" if key is None else f"behind '{key}'") as (ijson, events):
        for name, value in ijson.kvitems(_checked(path, events, "", "start_map", _no_object(path)), ""):
            key = name
            yield name, Entry(f"{path}: '{name}'", value)


@contextmanager
def _parsing(path: Path, after: Callable[[], str]) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Open a large file; ``after`` says how far it was read when it turns out to be damaged.

    Returns:
        The package that reads it, and its events.
    """
    try:
        import ijson
    except ImportError:
        raise MissingExtra(f"{path}, of {_size(path) >> 20} MiB,", "ijson", "data") from None
    try:
        with _opened(path) as stream:
            _skip_mark(stream)
            yield ijson, ijson.parse(stream, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no JSON {after()}: {reason}", "copy or download it again") from None
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(path, after(), error) from None


def _checked(path: Path, events: Iterator[Any], key: str, begins: str, otherwise: DataError) -> Iterator[Any]:
    """Pass the events of a file on; raise where nothing of the wanted kind begins, or an object has a key twice.

    Args:
        path: The file.
        events: Its events.
        key: Where the list or object stands; empty for the file's own value.
        begins: The event that it begins with.
        otherwise: Raised where it never comes.
    """
    found = False
    open_objects: list[set[str]] = []
    for prefix, event, value in events:
        if event == begins and prefix == key:
            found = True
        if event == "start_map":
            open_objects.append(set())
        elif event == "end_map":
            open_objects.pop()
        elif event == "map_key":
            if value in open_objects[-1]:
                raise DataError(f"{path}: {twice(value)}")
            open_objects[-1].add(value)
        yield prefix, event, value
    if not found:
        raise otherwise


def _place(path: Path, key: str, number: int) -> str:
    return f"{path}: {key}[{number}]" if key else f"{path}: record {number + 1}"


def _no_object(path: Path) -> DataError:
    return DataError(f"{path}: a JSON object is expected, with one record a key")


def _no_list(path: Path, key: str) -> DataError:
    return DataError(f"{path}: {f'there is no list {key!r} in it' if key else 'a JSON list is expected'}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _opened(path: Path) -> IO[bytes]:
    """Open a file for reading what it holds; gzip is recognised by its first bytes.

    Raises:
        DataError: It is a pipe or a device, which might never end.
        OSError: It cannot be opened.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: this is a pipe or a device, not a file")
    raw = path.open("rb")
    if raw.peek(2)[:2] != _GZIP:
        return raw
    return _Unpacked(raw)


class _Unpacked(io.BufferedReader):
    """The content of a gzip file; closing it closes the file beneath as well."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(gzip.GzipFile(fileobj=raw), 1 << 17)
        self._packed = raw

    def close(self) -> None:
        super().close()
        self._packed.close()


def _skip_mark(stream: IO[bytes]) -> None:
    if isinstance(stream, io.BufferedReader) and stream.peek(3)[:3] == _MARK:
        stream.read(3)


def _unreadable(path: Path, after: str, error: Exception) -> DataError:
    if isinstance(error, EOFError):
        return DataError(f"{path}: the gzip file is cut off {after}", "copy or download it again")
    if isinstance(error, (gzip.BadGzipFile, zlib.error)):
        return DataError(f"{path}: the gzip file is damaged {after}: {error}", "copy or download it again")
    return DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")
