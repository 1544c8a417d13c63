"""``toolkit compat``: which parts fit which, ports and weights considered, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import UnknownName, did_you_mean
from regionkit.core.spec import PARTS
from regionkit.registry.commands.tables import text_table
from regionkit.registry.registry import get_registry

if TYPE_CHECKING:
    from regionkit.registry.schema import Part


@dataclass(frozen=True)
class Row:
    """One pipeline with default options; ``reason`` says why it does not fit, and ``weights`` what was chosen."""

    backbone: str
    region_encoder: str
    bridge: str
    decoder: str
    fits: bool
    reason: str
    weights: Mapping[str, str]


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Also list pairings that do not fit, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one entry a pairing.")
def compat(name: str | None, everything: bool, as_json: bool) -> None:
    """Show which region encoders, bridges and decoders fit a backbone, or what fits in the place of a preset's parts.

    NAME is a backbone or a preset; without it, all backbones are shown.
    """
    registry = get_registry()
    backbones = registry.names("backbone")
    if name is not None and name in registry.presets and name not in backbones:
        _show_preset(name, as_json)
        return
    if name is not None and name not in backbones:
        known = [*backbones, *registry.presets]
        hint = did_you_mean(name, known) or f"there is: {', '.join(known)}"
        raise UnknownName(f"no backbone or preset named '{name}'", hint, *registry.skipped())
    rows = list(_rows([name] if name else backbones))
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    fit = [(*_names(row), ", ".join(row.weights.values())) for row in _merged(rows) if row.fits]
    click.echo(text_table(("BACKBONE", "REGION ENCODER", "BRIDGE", "DECODER", "WEIGHTS"), fit))
    bad = [(*_names(row), row.reason) for row in _merged(rows) if not row.fits]
    if bad and everything:
        click.echo()
        click.echo(text_table(("BACKBONE", "REGION ENCODER", "BRIDGE", "DECODER", "DOES NOT FIT"), bad))
    elif bad:
        click.echo(f"{sum(not row.fits for row in rows)} of {len(rows)} pairings do not fit; see: toolkit compat --all")


def _names(row: Row) -> tuple[str, str, str, str]:
    return row.backbone, row.region_encoder, row.bridge, row.decoder


def _rows(backbones: list[str]) -> Iterator[Row]:
    """Try every combination of parts, each with its default options."""
    from itertools import product

    from regionkit.registry.trace import trace_parts

    candidates = {kind: _defaults(kind) for kind in PARTS}
    chosen = [name for name in backbones if name in candidates["backbone"]]
    for names in product(chosen, *(candidates[kind] for kind in PARTS[1:])):
        parts = {kind: candidates[kind][name] for kind, name in zip(PARTS, names, strict=True)}
        trace = trace_parts(parts)
        reason = trace.faults[0].error.message if trace.faults else ""
        weights = {kind: file.path.stem for kind, file in trace.weights.items() if file and not trace.faults}
        backbone, encoder, bridge, decoder = names
        yield Row(backbone, encoder, bridge, decoder, not trace.faults, reason, weights)


def _defaults(kind: str) -> dict[str, Part]:
    """Return the parts of a kind with default options; one that has a required option cannot be judged without it."""
    from regionkit.registry.schema import fill

    filled = {spec.name: fill(kind, spec.name, problems=[]) for spec in get_registry().specs(kind)}
    return {name: part for name, part in filled.items() if part is not None}


def _merged(rows: list[Row]) -> list[Row]:
    """Join rows that differ in the region encoder alone."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row.backbone, row.bridge, row.decoder, row.reason, tuple(row.weights.values()))
        groups.setdefault(key, []).append(row)
    return [replace(same[0], region_encoder=", ".join(row.region_encoder for row in same)) for same in groups.values()]


def _show_preset(name: str, as_json: bool) -> None:
    """Show what could stand in the place of each part of a preset, the others unchanged."""
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.plan import fitting, plan_pipeline

    document = read_pipeline(name)
    plan = plan_pipeline(document.data, document.line)
    fits = {kind: fitting(plan, kind) for kind in PARTS}
    if as_json:
        import json

        rows = [{"kind": kind, "part": plan.parts[kind].name, "fits": names} for kind, names in fits.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    rows_text = [(kind, plan.parts[kind].name, ", ".join(names)) for kind, names in fits.items()]
    click.echo(text_table(("PART", "IS", "FITS AS WELL"), rows_text))
