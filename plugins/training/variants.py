"""Variants of a recipe file: options that are laid over it, one training run each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from regionkit.core.errors import ConfigError, Problem
from regionkit.registry.document import Document
from regionkit.registry.merging import apply_override

#: A variant's name is that of its weights.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
#: An option as ``--set`` takes it.
_OPTION = re.compile(r"[\w-]+(\.[\w-]+)*")
#: How a document says that a value came from the command line.
_SET = "--set "


def variants_of(document: Document) -> dict[str, Mapping[str, Any]]:
    """Return the options of each variant by its name.

    Raises:
        ConfigError: ``variants`` is no mapping of names to options.
    """
    value = document.data.get("variants") or {}
    named = isinstance(value, Mapping) and all(isinstance(laid, Mapping) for laid in value.values())
    bad = [] if named else ["variants"]
    for name, laid in value.items() if named else ():
        bad += [f"variants.{name}"] if not _NAME.fullmatch(str(name)) else []
        bad += [f"variants.{name}.{option}" for option in laid if not _OPTION.fullmatch(str(option))]
    if bad:
        hint = "write NAME: {part.option: value}, for example small: {decoder.hidden: 64}"
        raise ConfigError([Problem(document.line(at), at, "is no variant", (hint,)) for at in bad])
    return {str(name): laid for name, laid in value.items()}


def check_out(document: Document, variants: Mapping[str, Any]) -> None:
    """Refuse one name for the weights of several variants: each would find those of the one before in its place.

    Raises:
        ConfigError: ``--set out=`` was given.
    """
    if len(variants) > 1 and document.lines.get("out", "").startswith(_SET):
        message = f"the weights of {len(variants)} variants cannot have one name: each is called after its variant"
        hints = ("for another folder write --out DIR", "for one of them add --only VARIANT")
        raise ConfigError([Problem(document.lines["out"], "out", message, hints)])


def varied(document: Document, name: str, options: Mapping[str, Any]) -> Document:
    """Return the file with a variant laid over it, and over that what the command line says.

    Every value knows where it was written, so that mistakes in a variant are told at its own lines.

    Args:
        document: The file with what the command line says laid over it.
        name: Of the variant; its weights are called so unless it says another ``out``.
        options: Of the variant, ``part.option`` or whole parts.

    Raises:
        ConfigError: An option goes through a value that has nothing below it.
    """
    data, lines = document.data, dict(document.lines)
    problems: list[Problem] = []
    for option, value in {"out": f"{name}.safetensors", **options}.items():
        written = f"variants.{name}.{option}"
        try:
            data = apply_override(data, lines, f"{option}={json.dumps(value)}")
        except ConfigError as error:
            problems += [Problem(document.line(written), written, one.message, one.hints) for one in error.problems]
            continue
        below = {path[len(written) :]: line for path, line in document.lines.items() if path.startswith(f"{written}.")}
        lines[option] = document.line(written)
        lines |= {f"{option}{path}": line for path, line in below.items()}
    if problems:
        raise ConfigError(problems)
    for path, line in document.lines.items():  # in the order in which they were given
        if line == f"{_SET}{path}" and path.partition(".")[0] != "variants" and _holds(document.data, path):
            data = apply_override(data, lines, f"{path}={json.dumps(_at(document.data, path))}")
    return Document(document.path, data, lines, document.name)


def _at(data: Any, path: str) -> Any:
    """Return the value at a dotted path."""
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def _holds(data: Any, path: str) -> bool:
    """Say whether a path is still there: a later override may have put another part in the place of the whole."""
    try:
        _at(data, path)
    except (LookupError, TypeError, ValueError):
        return False
    return True
