"""Fields of records that strangers wrote, checked for what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from regionkit.core.data.records import Unusable

#: Numbers of pictures, questions and frames are smaller.
_MOST = 10**12
#: Characters of a value in a message.
_SHOWN = 60


def record_of(value: Any) -> Mapping[str, Any]:
    """Return a record.

    Raises:
        Unusable: It is no JSON object.
    """
    if not isinstance(value, Mapping):
        raise Unusable(f"a JSON object is expected, not {shown(value)}")
    return value


def text_of(record: Mapping[str, Any], key: str) -> str:
    """Return a text that is not blank.

    Raises:
        KeyError: There is none.
        Unusable: It is blank, or no text.
    """
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"its '{key}' is {shown(value)}, and should be a text")
    return value


def list_of(record: Mapping[str, Any], key: str, length: int | None = None) -> list[Any]:
    """Return a list, of a certain length where that is known.

    Raises:
        KeyError: There is none.
        Unusable: It is no list, or has another length.
    """
    value = record[key]
    if not isinstance(value, list):
        raise Unusable(f"its '{key}' is {shown(value)}, and should be a list")
    if length is not None and len(value) != length:
        raise Unusable(f"its '{key}' has {len(value)} entries, and should have {length}")
    return value


def number_of(record: Mapping[str, Any], key: str, below: int = _MOST) -> int:
    """Return a whole number from 0 to before ``below``.

    Raises:
        KeyError: There is none.
        Unusable: It is another value.
    """
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
        raise Unusable(f"its '{key}' is {shown(value)}, and should be a whole number from 0 to {below - 1}")
    return value


def file_name_of(record: Mapping[str, Any], key: str) -> str:
    """Return the name of a file that lies inside the data set's folder.

    Raises:
        KeyError: There is none.
        Unusable: It is no text, or leads elsewhere.
    """
    name = text_of(record, key)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        raise Unusable(f"its '{key}' is {shown(name)}, which is no file inside the data set's folder")
    return name


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut off where it is long.

    A number of thousands of digits, which Python refuses to spell, is called just that.
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "a value that is too long or too deep to show"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def distinct(answers: Sequence[str]) -> tuple[str, ...]:
    """Return answers without repetition, those that most people gave first, else in their order."""
    return tuple(sorted(dict.fromkeys(answers), key=lambda answer: -answers.count(answer)))
