"""Laying one configuration over another, part by part and option by option."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regionkit.core.errors import ConfigError, Problem
from regionkit.core.spec import KINDS
from regionkit.registry.yaml_text import read_value

_Lines = Mapping[str, str]
#: Keys of a dotted path; each is a step of recursion.
_MOST_KEYS = 32


def merge(
    below: Mapping[str, Any], below_lines: _Lines, above: Mapping[str, Any], above_lines: _Lines
) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay ``above`` over ``below`` and keep track of where every value was written.

    Mappings merge key by key; lists and single values are replaced. A part (``bridge: ...``) of the same name merges
    option by option; one of another name replaces the whole part, since its options would mean nothing to it.
    """
    lines = dict(below_lines)
    return _merge(below, above, "", lines, above_lines), lines


def _merge(
    below: Mapping[str, Any], above: Mapping[str, Any], path: str, lines: dict[str, str], new: _Lines
) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        inner = f"{path}.{key}" if path else key
        old = below.get(key)
        if _is_part(key, path.rpartition(".")[2]):
            # The shorthand is written out only where options merge; elsewhere mistakes are told as the user wrote them.
            if _same_part(_as_part(old), _as_part(value)):
                old, value = _as_part(old), _as_part(value)
            else:
                old = None
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = _merge(old, value, inner, lines, new)
            if inner in new:
                lines[inner] = new[inner]
        else:
            result[key] = value
            _replace_lines(lines, inner, new)
    return result


def _is_part(key: str, parent: str) -> bool:
    """Say whether a key holds a part; an option of a part may happen to be called ``corpus`` too, and is none."""
    return key in KINDS and parent not in KINDS


def _as_part(value: Any) -> Any:
    """Write the shorthand ``bridge: noise`` out as ``{name: noise}``."""
    return {"name": value} if isinstance(value, str) else value


def _same_part(old: Any, new: Any) -> bool:
    """Say whether two part mappings merge: one name, or options alone laid over a named part."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    return "name" not in new or new["name"] == old.get("name")


def _replace_lines(lines: dict[str, str], path: str, new: _Lines) -> None:
    """Forget the lines at and below a path and take the new ones."""
    for known in [known for known in lines if known == path or known.startswith(f"{path}.")]:
        del lines[known]
    lines.update({known: line for known, line in new.items() if known == path or known.startswith(f"{path}.")})


def apply_override(data: Mapping[str, Any], lines: dict[str, str], text: str) -> dict[str, Any]:
    """Return the data with one ``a.b=c`` laid over it; ``lines`` learns where the value came from.

    Raises:
        ConfigError: The text is not of that form, or goes through a value that has nothing below it.
    """
    path, equals, value_text = text.partition("=")
    where = f"--set {path.strip() or text}"
    keys = path.strip().split(".")
    if not equals or len(keys) > _MOST_KEYS or not all(re.fullmatch(r"[\w-]+", key) for key in keys):
        raise ConfigError(
            [
                Problem(
                    "--set", "", f"'{text}' is not of the form a.b=c", ("for example: --set bridge.temperature=0.05",)
                )
            ]
        )
    value = _value(value_text, where, path.strip())
    result = copy.deepcopy(dict(data))
    _set(result, keys, value, where, [])
    _replace_lines(lines, ".".join(keys), {})
    lines[".".join(keys)] = where
    return result


def _value(text: str, where: str, path: str) -> Any:
    """Read what follows ``=``; patterns of file names begin with what YAML takes for the start of something else."""
    try:
        return read_value(text, where)
    except ConfigError as error:
        if text[:1] not in ("{", "[", "*", "&", "@", "%"):
            raise
        hint = f"text that begins with {text[0]} is quoted twice: --set '{path}=\"{text}\"'"
        raise ConfigError([replace(problem, hints=(*problem.hints, hint)) for problem in error.problems]) from None


def _set(holder: Any, keys: list[str], value: Any, where: str, done: list[str]) -> None:
    """Set a value inside nested mappings and lists, in place."""
    key, rest = keys[0], keys[1:]
    if isinstance(holder, list):
        if not key.isdecimal() or len(key) > 9 or int(key) >= len(holder):
            raise _no_way(where, done, f"is a list of {len(holder)}, counted from 0")
        if rest:
            _set(holder[int(key)], rest, value, where, [*done, key])
        else:
            holder[int(key)] = value
        return
    if not isinstance(holder, dict):
        raise _no_way(where, done, f"is '{holder}', which has nothing below it")
    if _is_part(key, done[-1] if done else ""):
        held = holder[key] = _as_part(holder.get(key))
        if rest == ["name"] and isinstance(held, Mapping) and held.get("name") != value:
            holder[key] = {}
        elif not rest and _same_part(held, _as_part(value)):
            value = {**held, **_as_part(value)}
    if not rest:
        holder[key] = value
        return
    if holder.get(key) is None:
        holder[key] = {}
    _set(holder[key], rest, value, where, [*done, key])


def _no_way(where: str, done: list[str], what: str) -> ConfigError:
    return ConfigError([Problem(where, "", f"{'.'.join(done)} {what}")])
