"""Checks that plain values have the shape that a reader expects, and says where they do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from regionkit.core.errors import DataError

#: Returns a value as it is used, with what was left out filled in; the text says where the value stands.
Shape = Callable[[Any, str], Any]


def text(value: Any, where: str) -> str:
    """A text."""
    return value if isinstance(value, str) else _wrong(value, where, "a text")


def flag(value: Any, where: str) -> bool:
    """True or false."""
    return value if isinstance(value, bool) else _wrong(value, where, "true or false")


def count(value: Any, where: str) -> int:
    """A whole number, not negative."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 60:
        _wrong(value, where, "a whole number from 0 on")
    return int(value)


def number(value: Any, where: str) -> float | None:
    """A number, or null where it is not known."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or math.isnan(value):
        _wrong(value, where, "a number or null")
    return float(value)


def known(value: Any, where: str) -> float:
    """A number that is there."""
    found = number(value, where)
    return _wrong(value, where, "a number") if found is None else found


def anything(value: Any, where: str) -> Any:
    """Whatever is there."""
    return value


def list_of(shape: Shape) -> Shape:
    """A list whose entries all have one shape."""

    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            _wrong(value, where, "a list")
        return [shape(one, f"{where}[{at}]") for at, one in enumerate(value)]

    return check


def map_of(shape: Shape) -> Shape:
    """An object whose values all have one shape."""

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            _wrong(value, where, "an object")
        return {key: shape(one, f"{where}.{key}") for key, one in value.items()}

    return check


def record(needed: Mapping[str, Shape], optional: Mapping[str, tuple[Shape, Any]] | None = None) -> Shape:
    """An object with these keys; ``optional`` says shape and default of those that may be missing. Others stay."""

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            _wrong(value, where, "an object")
        missing = [key for key in needed if key not in value]
        if missing:
            raise DataError(f"{where}: '{missing[0]}' is missing")
        found = dict(value)
        for key, shape in needed.items():
            found[key] = shape(value[key], f"{where}.{key}")
        for key, (shape, default) in (optional or {}).items():
            found[key] = shape(value[key], f"{where}.{key}") if key in value else default
        return found

    return check


def _wrong(value: Any, where: str, wanted: str) -> Any:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
    raise DataError(f"{where}: {shown} stands where {wanted} should")
