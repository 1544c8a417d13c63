"""Plugins that are not used: where their source lies and what they would bring, told without running any of it."""

from __future__ import annotations

import functools
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from regionkit.core.errors import closest

#: Files of a package that are read, and bytes of a file: specs are short, and an error message must not take seconds.
_MOST_FILES = 50
_MOST_BYTES = 500_000


def source_file(module: str) -> str:
    """Return the file of a module, which is not imported, nor are the packages that it lies in.

    Returns:
        The path; empty where there is no such module, or it has no source.
    """
    spec: importlib.machinery.ModuleSpec | None = None
    words = module.split(".")
    for count in range(1, len(words) + 1):
        name = ".".join(words[:count])
        folders = spec.submodule_search_locations if spec else None
        if count > 1 and folders is None:
            return ""
        found = (finder.find_spec(name, folders) for finder in sys.meta_path)
        try:
            spec = next((one for one in found if one is not None), None)
        except Exception:  # a finder is a stranger's code too; what it would have found only decorates messages
            return ""
        if spec is None:
            return ""
    return str(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else ""


def place(file: str) -> str:
    """Return the folder of a package, the file of a module; empty where there is none."""
    if not file:
        return ""
    path = Path(file).resolve()  # ours are imported through links, and the folder itself is what one renames
    return str(path.parent if path.name == "__init__.py" else path)


@functools.cache
def offers_of_source(file: str) -> tuple[tuple[str, str], ...]:
    """Return kind and name of every component that is written out in a plugin's module or, for a package, beside it.

    Specs that are put together by the plugin's own code are not found: that code is not run.
    """
    path = Path(file)
    if not file:
        return ()
    beside = sorted(path.parent.glob("*.py"))[:_MOST_FILES] if path.name == "__init__.py" else []
    found: dict[tuple[str, str], None] = {}
    for source in dict.fromkeys([path, *beside]):
        found.update(dict.fromkeys(_offers_of_file(source)))
    return tuple(found)


def _offers_of_file(path: Path) -> Iterator[tuple[str, str]]:
    import ast

    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    # Names that the module gives to strings, as in NAME = "border".
    named = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called != "ComponentSpec":
            continue
        given: dict[str | None, ast.expr] = dict(zip(("kind", "name"), node.args, strict=False))
        given.update({keyword.arg: keyword.value for keyword in node.keywords})
        texts = []
        for field in ("kind", "name"):
            value = given.get(field)
            text = value.value if isinstance(value, ast.Constant) else named.get(getattr(value, "id", ""))
            texts.append(text if isinstance(text, str) else "")
        if all(texts):
            yield texts[0], texts[1]


def close_names(name: str, known: Iterable[str], skipped: Mapping[str, str]) -> str:
    """Return ``did you mean: a, b (of plugin 'p', which was skipped)``, or an empty string.

    Args:
        name: What was asked for.
        known: Names that can be used.
        skipped: Names that plugins out of use would bring, and the plugin of each.
    """
    usable = set(known)
    close = closest(name, {*usable, *skipped} - {name})
    marked = [one if one in usable else f"{one} (of plugin '{skipped[one]}', which was skipped)" for one in close]
    return f"did you mean: {', '.join(marked)}" if marked else ""
