"""Sections of a pipeline file under a misspelt key, checked as what they were meant to be."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from regionkit.core.spec import PARTS
from regionkit.registry.merging import merge
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Where


def as_meant(data: Mapping[str, Any], known: tuple[str, ...], where: Where) -> tuple[dict[str, Any], Where]:
    """Put every section whose key is a misspelt part where it belongs, so that one run tells its other mistakes too.

    The misspelt key itself stays, for it is a mistake. A section that the file has under its right key as well, as one
    that it takes over from ``base``, is overlaid as it would have been.

    Args:
        data: A pipeline.
        known: Keys that a pipeline may have.
        where: Tells where a dotted path of it was written.

    Returns:
        The pipeline as it was meant, and ``where`` for it.
    """
    meant = dict(data)
    moved: dict[str, tuple[str, Any]] = {}
    for key, value in data.items():
        kind = "" if key in known else _guess(str(key), value)
        if kind and kind not in moved and (kind not in data or isinstance(value, Mapping)):
            written = {kind: data[kind]} if kind in data else {}
            meant[kind] = merge(written, {}, {kind: value}, {})[0][kind]
            replaces = kind not in data or meant[kind] == value
            moved[kind] = (str(key), None if replaces else value)

    def where_meant(path: str) -> str:
        kind, dot, rest = path.partition(".")
        if kind not in moved:
            return where(path)
        key, overlaid = moved[kind]
        return where(f"{key}{dot}{rest}" if overlaid is None or rest.partition(".")[0] in overlaid else path)

    return meant, where_meant


def _guess(key: str, value: Any) -> str:
    """Return the part that a key was meant to be: a close one that has the named component, else a very close one."""
    name = value.get("name") if isinstance(value, Mapping) else value
    for kind in get_close_matches(key, PARTS, n=len(PARTS), cutoff=0.6):
        if name in get_registry().names(kind):
            return kind
    # Further off than this a word may mean anything, and mistakes found in it would be no help.
    return next(iter(get_close_matches(key, PARTS, n=1, cutoff=0.8)), "")
