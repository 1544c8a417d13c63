"""``toolkit data list``: the data sets, and where each can be had. Torch-free, and it needs no data."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import click

from regionkit.core.spec import ComponentSpec
from regionkit.registry.commands.data_files import (
    DATA_VARIABLE,
    FileState,
    about,
    archive_of,
    folder_of,
    here,
    release_facts,
    states,
)
from regionkit.registry.commands.tables import markdown_table, text_table
from regionkit.registry.registry import get_registry

#: Numbers of a count, and what they are of.
_HELD = (("samples", "sample"), ("images", "picture"))
_COLUMNS = ("NAME", "TASKS", "SPLITS", "HERE", "LICENSE", "SUMMARY")
_LAST = len(_COLUMNS) - 1
#: Columns that a narrow terminal goes without, the first first; how much of the others it shows at most and at least.
_DROPPED, _WIDEST, _SUMMARY = ("LICENSE", "SPLITS", "TASKS"), 30, 36


@click.command("list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or one object for NAME.")
@click.option("--format", "style", type=click.Choice(["table", "md"]), default="table", show_default=True)
def list_data(name: str | None, as_json: bool, style: str) -> None:
    """List the data sets, or all that is known of data set NAME: its files, where to get them, how much they hold.

    TASK@NAME is how YAML files call a data set.
    """
    registry = get_registry()
    if name is not None:
        spec = registry.find("dataset", name)
        click.echo(json.dumps(release_facts(spec), indent=2) if as_json else describe(spec))
        return
    specs = registry.specs("dataset")
    if as_json:
        click.echo(json.dumps([release_facts(spec) for spec in specs], indent=2))
    elif style == "md":
        click.echo(as_markdown(specs))
    else:
        click.echo(as_table(specs, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def as_table(specs: list[ComponentSpec], limit: int | None) -> str:
    """Return a table for people, all of it or what a terminal of ``limit`` characters has room for."""
    rows: list[tuple[str, ...]] = [
        (one.name, ", ".join(one.accepts), _splits(one), here(states(one, folder_of(one))), one.license, one.summary)
        for one in specs
    ]
    if limit is None:
        return text_table(_COLUMNS, rows)
    rows = [tuple(cell if at == _LAST else _cut(cell, _WIDEST) for at, cell in enumerate(row)) for row in rows]
    widths = [max(len(row[at]) for row in (_COLUMNS, *rows)) + 2 for at in range(len(_COLUMNS))]
    widths[_LAST] = _SUMMARY
    left_out: list[str] = []
    for name in _DROPPED:
        if sum(widths[at] for at, column in enumerate(_COLUMNS) if column not in left_out) <= limit:
            break
        left_out.append(name)
    kept = [at for at, column in enumerate(_COLUMNS) if column not in left_out]
    table = text_table([_COLUMNS[at] for at in kept], [[row[at] for at in kept] for row in rows])
    if not left_out:
        return table
    return f"{table}\nThis terminal is too narrow for: {', '.join(left_out)}. All of one set: toolkit data list NAME"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def as_markdown(specs: list[ComponentSpec]) -> str:
    """Return a table that says the same on every machine."""
    rows = []
    for spec in specs:
        home = spec.release.homepage if spec.release else ""
        name = f"[`{spec.name}`]({home})" if home else f"`{spec.name}`"
        folder = f"`{spec.release.folder}`" if spec.release else ""
        rows.append((name, spec.summary, ", ".join(spec.accepts), _splits(spec), folder, spec.license))
    return markdown_table(("data set", "what it is", "tasks", "splits", "folder", "licence"), rows, aligned=False)


def _splits(spec: ComponentSpec) -> str:
    return ", ".join(spec.release.splits) if spec.release and spec.release.splits else "-"


def describe(spec: ComponentSpec) -> str:
    """Return all that is known of a data set's files as text."""
    facts, release = release_facts(spec), spec.release
    rows = {"tasks": ", ".join(spec.accepts), "splits": ", ".join(facts["splits"]), "licence": spec.license}
    rows |= {"homepage": facts["homepage"], "folder": _folder(facts) if release else ""}
    lines = [f"{spec.name}: {spec.summary}"]
    lines += [f"  {label + ':':<11}{text}" for label, text in rows.items() if text]
    if release is None:
        lines.append(f"  files:     none of its own; its options say what it reads: toolkit show {spec.name}")
        return "\n".join(lines)
    lines.append("  files:")
    for one in states(spec, folder_of(spec)):
        lines += _file_lines(one, spec)
    counts = counts_of(facts["counts"])
    if counts:
        lines += ["  holds:", *(f"    {line}" for line in counts)]
    lines.append(f"  hand over what you downloaded with: toolkit data import {spec.name} --from PATH")
    return "\n".join(lines)


def _folder(facts: dict[str, Any]) -> str:
    if not facts["folder"]:
        return f"below ${DATA_VARIABLE}, which is not set: export {DATA_VARIABLE}=DIR"
    return str(facts["folder"])


def _file_lines(one: FileState, spec: ComponentSpec) -> list[str]:
    file = one.file
    what = about(file)
    lines = [f"    {file.path}: {'here' if one.found else 'not here'}{f'; {what}' if what else ''}"]
    rows = {
        "get it from": file.source,
        "released in": archive_of(file),
        "licence": file.license if file.license != spec.license else "",
        "sha256": file.sha256,
    }
    return lines + [f"        {label}: {text}" for label, text in rows.items() if text]


def counts_of(counts: list[dict[str, Any]]) -> list[str]:
    """Write down how much a release holds, a line for each task and split."""
    lines = []
    for one in counts:
        words = [f"{one[key]:,} {what}{'s' * (one[key] > 1)}" if one[key] else "" for key, what in _HELD]
        with_options = f" with {', '.join(one['options'])}" if one["options"] else ""
        held = " of ".join(word for word in words if word)
        if held:
            lines.append(f"{one['task']}/{one['split']}{with_options}: {held}")
    return lines
