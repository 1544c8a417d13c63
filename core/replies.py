"""Replies of judges on disk: one JSON object a line, so that a run asks nothing twice and can be replayed by others."""

from __future__ import annotations

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


class ReplyFile:
    """Replies by the key of their question, appended to a file as they come.

    Each line is ``{"key", "attempt", "question", "reply"}``. A line is written at once, so that a run that is killed
    loses the reply in flight and no other, and several processes may write to one file; a line that was cut off is
    passed over, and the next one begins behind it.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._held = _read(path)

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

    def add(self, key: str, question: Mapping[str, Any], reply: str, attempt: int = 0) -> None:
        """Keep a reply.

        Raises:
            RunFailed: The file cannot be written.
        """
        line = json.dumps({"key": key, "attempt": attempt, "question": dict(question), "reply": reply}) + "\n"
        with self._lock:
            self._held[key] = reply
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                try:
                    end = os.fstat(handle).st_size
                    torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
                    os.write(handle, ("\n" * torn + line).encode())
                finally:
                    os.close(handle)
            except OSError as error:
                raise RunFailed(
                    f"{self.path}: replies cannot be kept: {error.strerror or error}",
                    "make room there, or keep them elsewhere: export REGIONKIT_CACHE=DIR",
                ) from None


def _read(path: Path) -> dict[str, str]:
    held: dict[str, str] = {}
    try:
        with path.open("rb") as stream:
            for line in stream:
                try:
                    record = json.loads(line)
                    key, reply = record["key"], record["reply"]
                except (ValueError, KeyError, TypeError, RecursionError):  # cut off by a kill or a full disk
                    continue
                if isinstance(key, str) and isinstance(reply, str):
                    held[key] = reply
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DataError(f"{path}: kept replies cannot be read: {error.strerror or error}") from None
    return held
