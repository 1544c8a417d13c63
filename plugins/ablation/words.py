"""How labels, claims and messages write what stands in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(value: Any) -> str:
    """Write a value as it stands in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def brief(value: Any) -> str:
    """Write a value for a label: of a part with options its name and the model, ``http:MODEL``, else as it stands."""
    if not (isinstance(value, Mapping) and value.get("name")):
        return text(value)
    model = value.get("model") or value.get("file")
    return f"{value['name']}:{model}" if model else text(value["name"])


def as_list(value: Any) -> list[Any]:
    """Return a list as it is and anything else as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def as_mapping(part: Any) -> dict[str, Any]:
    """Return a part that was written as a bare name, or as a mapping, as a mapping with ``name``."""
    return {str(key): value for key, value in part.items()} if isinstance(part, Mapping) else {"name": part}


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 trial``, ``2 trials``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
