"""How messages, tables and lists write numbers, ids and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Ids that a list shows before it says how many more there are.
SHOWN = 10
#: Characters of an id or of a value in a message.
_LONGEST = 60


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 caption``, ``5,000 captions``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(short(name) for name in names[:shown]) + more


def printable(text: str) -> str:
    """Return a text that any terminal takes: what cannot be seen, such as U+2028, is written as an escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def short(text: str, longest: int = _LONGEST) -> str:
    """Return a printable text, cut where it is too long."""
    seen = printable(text[: longest + 1])
    return seen if len(seen) <= longest else f"{seen[: longest - 1]}…"


def described(value: Any) -> str:
    """Say what a value of a JSON file is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the text '{short(value)}'"
    if isinstance(value, Mapping):
        return f"an object with {listed(list(map(str, value)), 5)}" if value else "an empty object"
    return f"a list of {len(value):,}" if value else "an empty list"
