"""Fields of caption records, checked where they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regionkit.core.data.records import Entry, Fault, Unusable
from regionkit.core.data.streams import json_list
from regionkit.core.errors import DataError

#: Ids that become part of a file's name.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")


def one_line(text: Any, what: str = "caption") -> str:
    """Return a caption on one line; released ones have line ends and double spaces.

    Raises:
        Unusable: It is no text, or an empty one.
    """
    if not isinstance(text, str):
        raise Unusable(f"its {what} is no text")
    line = " ".join(text.split())
    if not line:
        raise Unusable(f"its {what} is empty")
    return line


def number(value: Any, what: str) -> int:
    """Return a whole number that is not negative and has at most twelve digits.

    Raises:
        Unusable: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**12:
        raise Unusable(f"its {what} is no whole number")
    return value


def plain_name(value: Any, what: str) -> str:
    """Return a name that stands in a path without leading anywhere else.

    Raises:
        Unusable: It has other letters than ASCII ones, digits, ``-`` and ``_``.
    """
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise Unusable(f"its {what} is no plain name: letters, digits, - and _")
    return value


def stem(value: Any, what: str) -> str:
    """Return the plain name of a picture file without its ending.

    Raises:
        Unusable: It is none.
    """
    if not isinstance(value, str):
        raise Unusable(f"its {what} is no text")
    return plain_name(value.rpartition(".")[0] or value, what)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        Unusable: It is none.
    """
    if not isinstance(value, Mapping):
        raise Unusable("it is no JSON object")
    return value


class CaptionTable:
    """Captions of COCO's form by picture: ``annotations`` with ``image_id`` and ``caption``.

    Attributes:
        faults: Annotations that cannot be used.
    """

    def __init__(self, paths: Iterable[Path], wanted: Iterable[int]) -> None:
        """Read the captions of the pictures that are wanted.

        Raises:
            DataError: A file cannot be read, or has no annotations.
        """
        self.faults: list[Fault] = []
        self._captions: dict[int, list[str]] = {key: [] for key in wanted}
        for path in paths:
            for entry in json_list(path, "annotations"):
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        try:
            record = mapping(entry.value)
            captions = self._captions.get(number(record["image_id"], "image_id"))
            if captions is not None:
                captions.append(one_line(record["caption"]))
        except KeyError as error:
            self.faults.append(Fault(entry.place, f"it has no '{error.args[0]}'"))
        except DataError as error:
            self.faults.append(Fault(entry.place, error.message))

    def take(self, key: int) -> tuple[str, ...]:
        """Return the captions of a picture in the order of the files, and forget them."""
        return tuple(self._captions.pop(key, ()))


def known_ids(entries: Iterable[Entry]) -> list[int]:
    """Return the ids of image records; those without a sound one are named when they are read."""
    ids = []
    for entry in entries:
        value = entry.value.get("id") if isinstance(entry.value, Mapping) else None
        if isinstance(value, int) and not isinstance(value, bool):
            ids.append(value)
    return ids
