"""Turning plain YAML values into the types that config dataclasses ask for."""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from regionkit.core.errors import did_you_mean


class Mismatch(Exception):
    """A value is not of the type that an option takes."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hint for hint in hints if hint)


_SEQUENCES = (list, tuple, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)


def convert(value: Any, kind: Any) -> Any:
    """Return the value as the type ``kind``: a scalar, Literal, union, tuple, list, mapping or dataclass.

    Nothing is guessed: a number is no text, a text no number, and ``true`` is no number.

    Raises:
        Mismatch: The value is not of that type.
    """
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _choice(value, arguments)
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, kind)
    if (origin or kind) in _SEQUENCES:
        return _sequence(value, origin or kind, arguments, kind)
    if (origin or kind) in _MAPPINGS:
        return _mapping(value, arguments, kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(value, kind)
    return _scalar(value, kind)


def _scalar(value: Any, kind: Any) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value, kind)
    if kind is str and isinstance(value, str):
        return value
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    if kind is type(None) and value is None:
        return None
    raise _wrong(value, kind)


def _number(value: float, kind: Any) -> float:
    """Return a number as ``int`` or ``float``; Python's whole numbers have no end, and others do."""
    if kind is int:
        if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
            return int(value)
        raise _wrong(value, kind)
    try:
        number = float(value)
    except OverflowError:
        raise Mismatch(f"expected a number, got one of {int(value).bit_length()} bits") from None
    if math.isnan(number):
        raise Mismatch("expected a number, got nan")
    return number


def _choice(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return value
    close = did_you_mean(value, [str(choice) for choice in choices]) if isinstance(value, str) else ""
    hint = "YAML reads on, off, yes and no as true and false: put the word in quotes" if isinstance(value, bool) else ""
    raise Mismatch(f"expected {' or '.join(str(choice) for choice in choices)}, got {shown(value)}", close, hint)


def _one_of(value: Any, kinds: tuple[Any, ...], whole: Any) -> Any:
    failures = []
    for kind in kinds:
        try:
            return convert(value, kind)
        except Mismatch as error:
            failures.append((kind, error))
    real = [error for kind, error in failures if kind is not type(None)]
    if len(real) == 1:
        raise real[0]
    raise _wrong(value, whole)


def _sequence(value: Any, origin: Any, arguments: tuple[Any, ...], whole: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, whole)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise Mismatch(f"expected {len(arguments)} values, got {len(value)}: {shown(value)}")
        kinds = list(arguments)
    else:
        kinds = [arguments[0] if arguments else Any] * len(value)
    items = []
    for index, (item, kind) in enumerate(zip(value, kinds, strict=True)):
        try:
            items.append(convert(item, kind))
        except Mismatch as error:
            raise Mismatch(f"item {index}: {error.message}", *error.hints) from None
    return items if origin is list else tuple(items)


def _mapping(value: Any, arguments: tuple[Any, ...], whole: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, whole)
    key_kind, value_kind = arguments or (Any, Any)
    result = {}
    for key, item in value.items():
        try:
            result[convert(key, key_kind)] = convert(item, value_kind)
        except Mismatch as error:
            raise Mismatch(f"'{key}': {error.message}", *error.hints) from None
    return result


def _dataclass(value: Any, kind: type[Any]) -> Any:
    """Fill a nested dataclass; its first mistake is reported."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(value, kind)
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    filled = {}
    for key, item in value.items():
        if key not in known:
            raise Mismatch(f"unknown option '{key}'", did_you_mean(str(key), known) or f"takes: {', '.join(known)}")
        try:
            filled[key] = convert(item, known[key])
        except Mismatch as error:
            raise Mismatch(f"'{key}': {error.message}", *error.hints) from None
    try:
        return kind(**filled)
    except (TypeError, ValueError) as error:
        raise Mismatch(str(error)) from None


def _wrong(value: Any, kind: Any) -> Mismatch:
    hint = ""
    if kind is str and not isinstance(value, (Mapping, list, tuple)) and value is not None:
        hint = f'put it in quotes if it is meant as text: "{value}"'
    return Mismatch(f"expected {type_text(kind)}, got {shown(value)}", hint)


def shown(value: Any) -> str:
    """Write a value as a message shows it: as YAML would, with its type where that is the point."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, Mapping):
        return f"a mapping ({', '.join(map(str, value))})"
    if isinstance(value, (list, tuple)):
        return f"the list {plain(value)}"
    return f"{value}"


def type_text(kind: Any) -> str:
    """Write a type as messages and listings show it: ``int``, ``paper|reference``, ``[float, float]``."""
    if kind is type(None):
        return "null"
    if kind is Any:
        return "any"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "|".join(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return "|".join(type_text(argument) for argument in arguments)
    if (origin or kind) in _SEQUENCES:
        many = not arguments or origin is not tuple or arguments[-1] is Ellipsis
        return f"[{type_text(arguments[0] if arguments else Any)}, ...]" if many else _listed(arguments)
    if (origin or kind) in _MAPPINGS:
        return "{" + ": ".join(type_text(argument) for argument in (arguments or (Any, Any))) + "}"
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return "{" + ", ".join(field.name for field in dataclasses.fields(kind)) + "}"
    return {Path: "path"}.get(kind, getattr(kind, "__name__", str(kind)))


def _listed(arguments: tuple[Any, ...]) -> str:
    return f"[{', '.join(type_text(argument) for argument in arguments)}]"


_SCALARS = frozenset({str, int, float, bool})


def plain(value: Any) -> Any:
    """Return a value in plain dicts, lists and scalars, as JSON and YAML hold it."""
    if value is None or type(value) in _SCALARS:  # most are, and a plan of thousands of trials asks millions of times
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
