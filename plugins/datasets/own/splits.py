"""The splits that a file of the user's own names: found by one look at its lines, and remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from regionkit.core.cache import cache_folder
from regionkit.core.data.records import Entry
from regionkit.core.data.streams import json_line, text_lines
from regionkit.core.files import write_text

#: The split of records that name none.
DEFAULT = "test"


def splits_of(path: Path) -> tuple[str, ...]:
    """Return the splits of a file's records, ``test`` first where it is one, the others in their order.

    The answer is kept in the toolkit's cache for as long as the file stays what it is.

    Raises:
        DataError: The file cannot be read to its end.
    """
    status = path.stat()
    state = [str(path.absolute()), status.st_size, status.st_mtime_ns]
    digest = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    cache = cache_folder() / "data" / f"splits-{digest}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["of"] == state and kept["splits"] and all(isinstance(word, str) for word in kept["splits"]):
            return tuple(kept["splits"])
    found = _found(path)
    with suppress(OSError, UnicodeEncodeError):  # a full disk, or one that may not be written to: looked up once more
        write_text(cache, json.dumps({"of": state, "splits": found}) + "\n")
    return found


def _found(path: Path) -> tuple[str, ...]:
    words: dict[str, None] = {}
    for number, line in text_lines(path):
        # Most files name no split, or the same ones on every line: only lines that may name one are read.
        if '"split"' not in line and "\\" not in line:
            words.setdefault(DEFAULT)
            continue
        entry = json_line(f"{path}:{number}", line)
        if isinstance(entry, Entry) and isinstance(entry.value, Mapping):
            word = entry.value.get("split", DEFAULT)
            if isinstance(word, str) and word.strip():
                words.setdefault(word)
    return tuple(sorted(words or [DEFAULT], key=lambda word: word != DEFAULT))
