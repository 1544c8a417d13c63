"""How labels, claims and messages write what stands in a file."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """Write a value as it stands in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is and anything else as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 trial``, ``2 trials``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
