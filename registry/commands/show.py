"""``toolkit show``: all that is known of a component or preset before it is built."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import ConfigError, RegionkitError, UnknownName, did_you_mean
from regionkit.core.spec import KINDS, RELEASED, Checkpoint, ComponentSpec
from regionkit.registry.commands.list_components import PRESET
from regionkit.registry.registry import Registry, get_registry

if TYPE_CHECKING:
    from regionkit.core.spec import Ports
    from regionkit.core.weights import WeightFile


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice([*KINDS, PRESET]), help="Which one, where several kinds have the name.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one entry a component or preset.")
def show(name: str, kind: str | None, as_json: bool) -> None:
    """Show a component with its options, ports, weights and paper, or a preset with its plan.

    All that has the name is shown: a data set and a preset may share one.
    """
    registry = get_registry()
    specs = [spec for spec in registry.specs() if spec.name == name and kind in (None, spec.kind)]
    is_preset = kind in (None, PRESET) and name in registry.presets
    if not specs and not is_preset:
        raise _unknown(registry, name, kind)
    if as_json:
        import json

        facts = [component_facts(spec) for spec in specs]
        click.echo(json.dumps([*facts, *([_preset_facts(name)] if is_preset else [])], indent=2))
        return
    for spec in specs:
        click.echo(_component_text(spec))
    if is_preset:
        click.echo(_preset_text(name))


def _unknown(registry: Registry, name: str, kind: str | None) -> RegionkitError:
    if kind == PRESET:
        presets = sorted(registry.presets)
        return UnknownName(
            f"no preset named '{name}'",
            did_you_mean(name, presets) or ("see: toolkit list-components --kind preset" if presets else ""),
            *registry.skipped(),
        )
    if kind is not None:
        try:
            registry.find(kind, name)
        except UnknownName as error:
            return error
    known = {spec.name for spec in registry.specs()} | set(registry.presets)
    brought, close, skipped = registry.about_missing(name, known)
    listed = f"see: toolkit list-components, or toolkit list-components --kind {PRESET}"
    return UnknownName(f"no component or preset named '{name}'", *brought, close, *skipped, listed)


def component_facts(spec: ComponentSpec) -> dict[str, Any]:
    """Return everything about a component in plain values."""
    from regionkit.registry.schema import options
    from regionkit.registry.weights.index import get_index

    registry = get_registry()
    owner, paper = registry.owner(spec), registry.papers.get(spec.paper)
    own = _ports(spec)
    return {
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
        "plugin": owner.plugin,
        "distribution": owner.distribution,
        "version": owner.version,
        "license": spec.license,
        "paper": paper.title if paper else spec.paper,
        "reads": str(own.reads or ""),
        "writes": str(own.writes or ""),
        "text": own.text,
        "blocks": own.blocks,
        "masked": own.masked,
        "accepts": list(spec.accepts),
        "needs": list(spec.needs),
        "trains": list(spec.trains),
        "requires": list(spec.requires),
        "target": spec.target,
        "options": [
            {"name": o.name, "type": o.type, "default": o.default, "required": o.required, "doc": o.doc}
            for o in options(spec)
        ],
        "weights": [_weights_facts(file) for file in get_index().find(spec.kind, spec.name)],
        "checkpoints": [asdict(entry) for entry in spec.checkpoints],
        "option_files": [asdict(entry) for entry in spec.option_files],
        "release": asdict(spec.release) if spec.release else None,
    }


def _ports(spec: ComponentSpec) -> Ports:
    """Return what a component reads and writes with its default options."""
    from regionkit.core.spec import Ports
    from regionkit.registry.ports import ends
    from regionkit.registry.schema import fill_options, nowhere

    part = fill_options(spec, {}, nowhere, spec.kind, []) if spec.ports else None
    return ends(part) if part else Ports(spec.reads, spec.writes, spec.text, spec.blocks, spec.masked)


def _weights_facts(file: WeightFile) -> dict[str, Any]:
    header = file.header
    return {
        "name": file.label,
        "space": header.space,
        "corruption": header.corruption,
        "corpus": header.corpus,
        "recipe": header.recipe,
        "license": header.license,
        "path": str(file.path),
    }


def _released(entry: Checkpoint) -> str:
    """Describe one file of a release: its role, its names, and where it is had."""
    from regionkit.registry.weights.option_files import described

    words = [*(["optional"] if entry.optional else []), *([f"for {entry.when}"] if entry.when else [])]
    note = f" ({', '.join(words)})" if words else ""
    return f"{entry.role}{note}: {described(entry.files, entry.source, entry.license, entry.size)}"


def _component_text(spec: ComponentSpec) -> str:
    facts = component_facts(spec)
    lines = [f"{spec.kind} {spec.name}: {spec.summary}"]
    source = (
        f"{facts['plugin']} ({facts['distribution']} {facts['version']})" if facts["distribution"] else facts["plugin"]
    )
    rows = {"from": f"{source}, {spec.license}", "paper": facts["paper"], "reads": facts["reads"]}
    rows |= {
        "writes": facts["writes"],
        "sentences": facts["text"],
        "blocks": facts["blocks"],
        "masked": facts["masked"],
    }
    rows["tasks" if spec.kind == "dataset" else "regions"] = ", ".join(spec.accepts)
    rows |= {"trains": ", ".join(spec.trains), "needs": ", ".join(spec.needs), "packages": ", ".join(spec.requires)}
    lines += [f"  {label + ':':<11}{text}" for label, text in rows.items() if text]
    lines.append("  options:" if facts["options"] else "  options:   none")
    for option in facts["options"]:
        default = "required" if option["required"] else f"default {_yaml(option['default'])}"
        lines.append(f"    {option['name']}: {option['type']} ({default})")
        lines += textwrap.wrap(option["doc"], 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
    if spec.weights:
        lines.append("  weights:" if facts["weights"] else "  weights:   none installed")
        for file in facts["weights"]:
            lines.append(f"    {file['name']}: {_trained_for(file)}")
    if spec.checkpoints or spec.option_files:
        lines.append(f"  released:  (toolkit weights pull {spec.name})")
        lines += [f"    {_released(entry)}" for entry in spec.checkpoints]
        asked = [replace(entry, when=f"{entry.role}={RELEASED}") for entry in spec.option_files]
        lines += [f"    {_released(entry)}" for entry in asked]
    if spec.release:
        lines += _data_lines(spec)
    return "\n".join(lines)


def _data_lines(spec: ComponentSpec) -> list[str]:
    """Describe the files of a data set and how much they hold."""
    from regionkit.registry.commands.data_files import folder_of, here, states, where_to_get
    from regionkit.registry.commands.data_list import counts_of

    assert spec.release is not None
    held = states(spec, folder_of(spec))
    lines = [f"  files:     (here: {here(held)}; toolkit data list {spec.name})"]
    lines += [f"    {where_to_get(one.file, spec)}" for one in held]
    counts = counts_of([asdict(one) for one in spec.release.counts])
    return lines + (["  holds:", *(f"    {line}" for line in counts)] if counts else [])


def _trained_for(file: dict[str, Any]) -> str:
    words = [file["space"], f"corruption {file['corruption']}" if file["corruption"] != "none" else ""]
    words += [
        f"corpus {file['corpus']}" if file["corpus"] else "",
        f"made by {file['recipe']}" if file["recipe"] else "",
    ]
    return ", ".join(word for word in words if word)


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if value == "" else str(value)


def _preset_facts(name: str) -> dict[str, Any]:
    from regionkit.registry.commands.published import rows_json
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.published.tables import rows_of
    from regionkit.registry.weights.absent import plan_or_tell

    document = read_pipeline(name)
    facts: dict[str, Any] = {"kind": PRESET, "preset": name, "path": str(document.path), "pipeline": document.data}
    facts["published"] = rows_json(rows_of(name), name)
    try:
        plan = plan_or_tell(document, name)
    except ConfigError as error:
        return facts | {"plan": None, "problems": [str(problem) for problem in error.problems]}
    return facts | {"plan": plan.to_dict(), "lines": plan.describe(), "problems": []}


def _preset_text(name: str) -> str:
    from regionkit.registry.commands.published import row_lines
    from regionkit.registry.published.tables import rows_of

    facts = _preset_facts(name)
    lines = [f"preset {name}: {facts['pipeline'].get('summary', '')}".rstrip(": "), f"  file: {facts['path']}"]
    lines += [f"  {line}" for line in facts.get("lines", [])]
    # What is not here says by itself that the preset cannot run.
    lines += [f"  {one}" if f"{name} cannot run: " in one else f"  cannot run: {one}" for one in facts["problems"]]
    lines += [f"  {line}" for line in row_lines(rows_of(name), name)]
    return "\n".join(lines)
