"""Replies of judges on disk: one JSON object a line, so that a run asks nothing twice and can be replayed by others."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Self

from regionkit.core.cache import cache_folder
from regionkit.core.errors import DataError, RunFailed

#: How every line of ours begins; a line that was cut off begins with as much of it as there is.
_BEGINS = b'{"key": "'


class ReplyFile:
    """Replies by the key of their question, appended to a file as they come.

    Each line is ``{"key", "model", "attempt", "question", "reply"}``. A line is written at once, so that a run that is
    killed loses the reply in flight and no other, and several processes may write to one file; a line that was cut off
    is passed over, and the next one begins behind it.

    Args:
        path: The file; it need not be there.

    Raises:
        DataError: It cannot be read, or is another kind of file, to which nothing is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._held = {record["key"]: record["reply"] for record in read_replies(path)}

    @classmethod
    def of_cache(cls, identity: str) -> Self:
        """Return the file of the toolkit's cache for a model."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", identity).strip("-.")[:60]
        digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return cls(cache_folder() / "judges" / f"{plain}-{digest}.jsonl")

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> str | None:
        """Return the reply to a question, None where there is none."""
        return self._held.get(key)

    def add(self, key: str, question: Mapping[str, Any], reply: str, attempt: int = 0, model: str = "") -> None:
        """Keep a reply.

        Raises:
            RunFailed: The file cannot be written.
        """
        record = {"key": key, "model": model, "attempt": attempt, "question": dict(question), "reply": reply}
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            self._held[key] = reply
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                _append(self.path, line)
            except OSError as error:
                raise RunFailed(
                    f"{self.path}: replies cannot be kept: {error.strerror or error}",
                    "make room there, or keep them elsewhere: export REGIONKIT_CACHE=DIR",
                ) from None


def _append(path: Path, line: bytes) -> None:
    """Append a line in one write, which other processes' writes do not come between.

    A line that another process is writing at this moment looks torn; an empty line then stands between the two.

    Raises:
        OSError: It cannot be written, or only in part; the next line then begins on a line of its own.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        end = os.fstat(handle).st_size
        torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
        content = b"\n" * torn + line
        if os.write(handle, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)


def read_replies(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of kept replies, in order; none where there is no file.

    Lines that were cut off by a kill or a full disk are passed over.

    Raises:
        DataError: The file cannot be read, or its first line is not one of ours.
    """
    found: list[dict[str, Any]] = []
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream):
                if number == 0 and not is_kept(line):
                    raise DataError(
                        f"{path}: this is no file of kept replies, and nothing is added to it",
                        "name another file, which need not be there; other people's replies are read by judge recorded",
                    )
                record = _record(line)
                if record is not None:
                    found.append(record)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: kept replies cannot be read: {reason}") from None
    return found


def is_kept(line: bytes) -> bool:
    """Say whether a line, or the part of it that was written, is of a file of kept replies."""
    told = line.strip()
    return not told or (told.startswith(_BEGINS) if len(told) >= len(_BEGINS) else _BEGINS.startswith(told))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    forms = {"key": str, "model": str, "attempt": int, "question": dict, "reply": str}
    return record if all(isinstance(record.get(name), form) for name, form in forms.items()) else None
