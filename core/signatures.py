"""Signatures: one line that says what a score depends on, so that only like is compared with like."""

from __future__ import annotations


def signature(name: str, **fields: object) -> str:
    """Return ``name|key=value|...`` in the order of the fields.

    Args:
        name: Of the metric and its part, such as ``bleu-4``.
        **fields: What the value depends on: variant, tokeniser, source of document frequencies, model and the first
            digits of its weights' hash, ``n``. An underscore in a key becomes a hyphen; a field that is None or empty
            is left out.
    """
    told = {key.replace("_", "-"): _plain(value) for key, value in fields.items() if value not in (None, "")}
    return "|".join([_plain(name), *(f"{key}={value}" for key, value in told.items())])


def differences(one: str, other: str) -> list[str]:
    """Return in which fields two signatures differ, as ``tokeniser: ptb against words``; empty for equal ones."""
    if one == other:
        return []
    (name, first), (name_of_other, second) = _read(one), _read(other)
    found = [f"metric: {name} against {name_of_other}"] if name != name_of_other else []
    for key in dict.fromkeys([*first, *second]):
        here, there = first.get(key, "nothing"), second.get(key, "nothing")
        found += [f"{key}: {here} against {there}"] if here != there else []
    return found or [f"order of fields: {one} against {other}"]


def _plain(value: object) -> str:
    """Write a value so that it cannot be taken for the next field."""
    return " ".join(str(value).replace("|", "/").split())


def _read(text: str) -> tuple[str, dict[str, str]]:
    name, *fields = text.split("|")
    pairs = [field.partition("=") for field in fields]
    return name, {key: value if equals else "yes" for key, equals, value in pairs}
