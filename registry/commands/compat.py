"""``toolkit compat``: which parts fit which, ports and weights considered, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import RegionkitError, UnknownName
from regionkit.core.spec import PARTS
from regionkit.registry.commands.tables import text_table
from regionkit.registry.registry import Registry, get_registry

if TYPE_CHECKING:
    from regionkit.core.errors import Problem
    from regionkit.registry.schema import Part
    from regionkit.registry.weights.shared_choices import Choices

#: Which command says what fits with what is no part of a pipeline.
_RUNS = {
    "task": "data sets that pose it: toolkit data list",
    "dataset": "whether a pipeline runs on it: toolkit run PRESET --data TASK@{name} --limit 1",
}
_HEADER = ("BACKBONE", "REGION ENCODER", "BRIDGE", "DECODER")


@dataclass(frozen=True)
class Row:
    """One pipeline with default options.

    Attributes:
        backbone: Name of the part; the next three are too.
        region_encoder: Names of several where rows were merged.
        bridge: See above.
        decoder: See above.
        fits: Whether the four fit, weights considered.
        reason: Why they do not.
        weights: The files that were chosen, by kind.
        note: With which options of the bridge they would fit, where they do not with its defaults.
        banks: Kinds of the parts that still need a bank to be named, where nothing else is wrong.
    """

    backbone: str
    region_encoder: str
    bridge: str
    decoder: str
    fits: bool
    reason: str
    weights: Mapping[str, str]
    note: str = ""
    banks: tuple[str, ...] = ()


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Also list pairings that do not fit, with the reason.")
@click.option("--untrained", is_flag=True, help="Show what could be trained together: no part has weights yet.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one entry a pairing.")
def compat(name: str | None, everything: bool, untrained: bool, as_json: bool) -> None:
    """Show which backbones, region encoders, bridges and decoders fit together, or what fits in a preset's place.

    NAME is any part of a pipeline, or a preset, of which it shows what could stand in the place of each part; without
    NAME, all pairings are shown. Parts have their default options, and the weights that are here.
    """
    registry = get_registry()
    is_part = name is None or any(name in registry.names(kind) for kind in PARTS)
    is_preset = name in registry.presets
    if name is not None and not is_part and not is_preset:
        raise _unknown(registry, name)
    rows = list(_rows(name, untrained=untrained)) if is_part else []
    if as_json:
        import json
        from dataclasses import asdict

        places = _places(str(name))[0] if is_preset else []
        click.echo(json.dumps([*(asdict(row) for row in rows), *places], indent=2))
        return
    if is_part:
        _show_rows(rows, everything)
    if is_preset:
        _show_preset(str(name))


def _unknown(registry: Registry, name: str) -> RegionkitError:
    """Return the error of a name that is neither a part nor a preset."""
    kinds = [spec.kind for spec in registry.specs() if spec.name == name]
    if kinds:
        return RegionkitError(
            f"'{name}' is a {' and a '.join(kinds)}; compat takes a part of a pipeline or a preset",
            f"all about it: toolkit show {name}",
            *[_RUNS[kind].format(name=name) for kind in dict.fromkeys(kinds) if kind in _RUNS],
            f"parts are: {', '.join(PARTS)}; see: toolkit list-components",
        )
    known = [*(part for kind in PARTS for part in registry.names(kind)), *registry.presets]
    brought, close, skipped = registry.about_missing(name, known)
    hint = close or f"there is: {', '.join(dict.fromkeys(known))}"
    return UnknownName(f"no part of a pipeline or preset named '{name}'", *brought, hint, *skipped)


def _show_rows(rows: list[Row], everything: bool) -> None:
    merged = _merged(rows)
    fit = [(*_names(row), ", ".join(row.weights.values())) for row in merged if row.fits]
    click.echo(text_table((*_HEADER, "WEIGHTS"), fit))
    for line in dict.fromkeys(f"{row.bridge}: {row.note}" for row in merged if row.note):
        click.echo(line)
    for name, kind in sorted({(getattr(row, kind), kind) for row in merged for kind in row.banks}):
        click.echo(f"{name}: name its bank, {kind}: {{name: {name}, bank: NAME}}; one is made with: toolkit bank build")
    bad = [(*_names(row), row.reason) for row in merged if not row.fits]
    if bad and everything:
        click.echo()
        click.echo(text_table((*_HEADER, "DOES NOT FIT"), bad))
    elif bad:
        click.echo(f"{sum(not row.fits for row in rows)} of {len(rows)} pairings do not fit; see: toolkit compat --all")
        click.echo("for parts that fit once they are trained together, see: toolkit compat --untrained")


def _names(row: Row) -> tuple[str, str, str, str]:
    return row.backbone, row.region_encoder, row.bridge, row.decoder


def _rows(name: str | None, *, untrained: bool = False) -> Iterator[Row]:
    """Try every combination of parts, each with its default options; with a name, those that hold such a part."""
    from itertools import product

    from regionkit.registry.variants import trained_variants
    from regionkit.registry.weights.shared_choices import Choices

    candidates = {kind: _defaults(kind, untrained=untrained) for kind in PARTS}
    variants = {spec.name: trained_variants(spec) for spec in get_registry().specs("bridge")}
    choices = Choices()
    for names in product(*(candidates[kind] for kind in PARTS)):
        if name is None or name in names:
            parts = {kind: candidates[kind][part] for kind, part in zip(PARTS, names, strict=True)}
            row = _row(names, parts, variants, choices)
            yield replace(row, fits=True, reason="") if untrained and row.banks else row


def _row(
    names: tuple[str, ...],
    parts: Mapping[str, Part | Problem],
    variants: Mapping[str, list[Part]],
    choices: Choices,
) -> Row:
    """Judge one combination; a part that could not be filled is there as what is wrong with it."""
    from regionkit.registry.schema import Part
    from regionkit.registry.trace import trace_parts
    from regionkit.registry.variants import fitting_variants, note

    good = {kind: part for kind, part in parts.items() if isinstance(part, Part)}
    broken = next((f"{kind}: {part.message}" for kind, part in parts.items() if not isinstance(part, Part)), "")
    trace = trace_parts(good, choices)
    reason = broken or (trace.faults[0].error.message if trace.faults else "")
    weights = {kind: file.label for kind, file in trace.weights.items() if file and not reason}
    backbone, encoder, bridge, decoder = names
    text = ""
    if reason and set(PARTS) - set(good) <= {"bridge"}:
        text = note(fitting_variants(good, variants[bridge], choices))
    unnamed = all(fault.option == "bank" for fault in trace.faults) and not broken
    banks = tuple(dict.fromkeys(fault.kind for fault in trace.faults)) if unnamed else ()
    return Row(backbone, encoder, bridge, decoder, not reason, reason, weights, text, banks)


def _defaults(kind: str, *, untrained: bool) -> dict[str, Part | Problem]:
    """Return the parts of a kind with default options; in the place of one that has none, what is wrong with it."""
    from regionkit.registry.schema import fill

    found: dict[str, Part | Problem] = {}
    for spec in get_registry().specs(kind):
        problems: list[Problem] = []
        # A bank is no matter of training: it is fitted to the corpus that it names.
        fresh = untrained and spec.weights and "corpus" not in spec.needs
        value = {"name": spec.name, "weights": "none"} if fresh else spec.name
        found[spec.name] = fill(kind, value, problems=problems) or problems[0]
    return found


def _merged(rows: list[Row]) -> list[Row]:
    """Join rows that differ in the region encoder alone."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row.backbone, row.bridge, row.decoder, row.reason, tuple(row.weights.values()), row.note, row.banks)
        groups.setdefault(key, []).append(row)
    return [replace(same[0], region_encoder=", ".join(row.region_encoder for row in same)) for same in groups.values()]


def _places(preset: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what could stand in the place of each part of a preset, the others unchanged, and notes on bridges."""
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.plan import fitting, plan_pipeline
    from regionkit.registry.variants import bridge_notes

    document = read_pipeline(preset)
    plan = plan_pipeline(document.data, document.line)
    fits = {kind: fitting(plan, kind) for kind in PARTS}
    notes = bridge_notes(plan.parts, fits["bridge"])
    rows = [
        {"kind": kind, "part": plan.parts[kind].name, "fits": names, "notes": notes if kind == "bridge" else []}
        for kind, names in fits.items()
    ]
    return rows, notes


def _show_preset(name: str) -> None:
    rows, notes = _places(name)
    cells = [(row["kind"], row["part"], ", ".join(row["fits"])) for row in rows]
    click.echo(text_table(("PART", "IS", "FITS AS WELL"), cells))
    for line in notes:
        click.echo(line)
