"""What a config class says of its options: the ``Attributes:`` section of its docstring."""

from __future__ import annotations

import inspect
import re

_ENTRY = re.compile(r"    (?P<name>\w+)(?: \([^)]*\))?: (?P<text>.*)")


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the text of every attribute, joined to one line; base classes speak for what a class leaves out."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs |= _section(inspect.cleandoc(base.__doc__ or "")) if base is not object else {}
    return docs


def _section(text: str) -> dict[str, str]:
    _, found, section = text.partition("Attributes:\n")
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines() if found else []:
        if line and not line.startswith("    "):
            break
        entry = _ENTRY.fullmatch(line)
        if entry:
            name = entry["name"]
            docs[name] = entry["text"].strip()
        elif name and line.strip():
            docs[name] += f" {line.strip()}"
    return docs
