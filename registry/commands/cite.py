"""``toolkit cite``: BibTeX of the papers that components come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from regionkit.core.errors import UnknownName
from regionkit.core.spec import KINDS, PaperSpec
from regionkit.registry.registry import get_registry


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of {key, title, bibtex}.")
def cite(names: tuple[str, ...], as_json: bool) -> None:
    """Print BibTeX of what NAMEs are made of: components, presets, papers or YAML files; without NAME, all of it."""
    registry = get_registry()
    keys = [key for name in names for key in _keys(name)] if names else sorted(registry.papers)
    papers = [registry.papers[key] for key in dict.fromkeys(keys) if key in registry.papers]
    if as_json:
        import json

        rows = [{"key": paper.key, "title": paper.title, "bibtex": paper.bibtex} for paper in papers]
        click.echo(json.dumps(rows, indent=2))
    elif papers:
        click.echo("\n\n".join(_entry(paper) for paper in papers))
    else:
        click.echo(f"{', '.join(names)}: no paper to cite beside regionkit itself")


def _entry(paper: PaperSpec) -> str:
    return paper.bibtex.strip()


def _keys(name: str) -> list[str]:
    """Return the paper keys of all that has a name (components, preset, paper), or of a file, in the order of parts."""
    from regionkit.registry.document import read_document, read_pipeline

    registry = get_registry()
    if "/" in name or name.endswith((".yaml", ".yml")):
        return list(_keys_in(read_document(name).data))
    specs = [spec for spec in registry.specs() if spec.name == name]
    if specs or name in registry.presets or name in registry.papers:
        keys = [key for spec in specs for key in (spec.paper, *(key for _, key in spec.papers)) if key]
        keys += _keys_in(read_pipeline(name).data) if name in registry.presets else []
        return [*keys, *([name] if name in registry.papers else [])]
    known = {spec.name for spec in registry.specs()} | set(registry.presets) | set(registry.papers)
    brought, close, skipped = registry.about_missing(name, known)
    hint = "" if brought else close or "see: toolkit list-components"
    raise UnknownName(f"no component, preset or paper named '{name}'", *brought, hint, *skipped)


def _keys_in(value: Any, kind: str = "") -> Iterator[str]:
    """Walk a file and yield the paper of every component that it names, in grids and lists too."""
    if isinstance(value, Mapping):
        if kind and isinstance(value.get("name"), str):
            yield from _paper_of(kind, value["name"], value)
        for key, inner in value.items():
            word = "metric" if key == "metrics" else str(key)
            yield from _keys_in(inner, word if word in KINDS else "")
    elif isinstance(value, list):
        for item in value:
            yield from _keys_in(item, kind)
    elif kind and isinstance(value, str):
        yield from _paper_of(kind, value)


def _paper_of(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Iterator[str]:
    try:
        spec = get_registry().find(kind, name)
    except UnknownName:  # `toolkit validate` is the command that tells
        return
    chosen = {f"{option}={value}" for option, value in (options or {}).items()}
    key = next((key for choice, key in spec.papers if choice in chosen), spec.paper)
    if key:
        yield key
