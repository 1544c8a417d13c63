"""What a whole pipeline needs from outside, with a repository of its own or with the releases of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.spec import PARTS
from regionkit.registry.schema import Part, fill
from regionkit.registry.trace import trace_parts
from regionkit.registry.weights.choice import reference_of
from regionkit.registry.weights.fetching import (
    Need,
    need_of,
    needs_of_component,
    needs_of_options,
    needs_of_reference,
)
from regionkit.registry.weights.reading import spec_for
from regionkit.registry.weights.references import is_offline, locate


def repository_of(data: Mapping[str, Any]) -> str:
    """Return the reference of the repository that a pipeline takes the weights of its parts from; empty for none."""
    named = str(data.get("weights") or "")
    return named if named.startswith("hub:") else ""


def is_awaited(data: Mapping[str, Any], out: Path | None = None) -> bool:
    """Say whether what the parts need beside the pipeline's repository shows only when that is here.

    Without a network nothing is waited for: all is listed that would be needed.
    """
    if not repository_of(data) or is_offline():
        return False
    try:
        locate(repository_of(data))
    except WeightsError:
        return True
    return out is not None


def needs_of_repository(data: Mapping[str, Any], out: Path | None = None) -> list[Need]:
    """Return the need that a pipeline's own repository is; none where it names no such."""
    reference = repository_of(data)
    return [replace(need, part="pipeline") for need in needs_of_reference(reference, out)] if reference else []


def needs_of_parts(data: Mapping[str, Any], out: Path | None = None, fetched: bool = False) -> list[Need]:
    """Return what the parts of a pipeline need; one file that several parts use is there once.

    Args:
        data: The pipeline.
        out: A folder that is to hold all that can be fetched.
        fetched: Whether the pipeline's own repository lies in that folder, or in the hub's cache without one.

    Raises:
        ConfigError: A part or an option of the pipeline is wrong.
    """
    if fetched and out is not None:
        data = {**data, "weights": f"file:{out}"}
    needs: list[Need] = []
    folder, parts = str(data.get("weights") or ""), {}
    for kind in PARTS:
        part = fill(kind, data.get(kind))
        assert part is not None  # without a list to take them, mistakes are raised
        parts[kind] = replace(part, folder=folder)
    found = _chosen_already(parts, out)
    for kind, part in parts.items():
        reference = reference_of(part)
        if kind in found:
            needs += found[kind]
        elif reference.startswith("hub:"):
            needs += [
                replace(need, part=f"{kind} {part.name}", kind=kind) for need in needs_of_reference(reference, out)
            ]
        elif reference not in ("", "none"):
            needs += needs_of_component(part, out)
        needs += needs_of_options(part, out)
    return _once(needs)


def _chosen_already(parts: Mapping[str, Part], out: Path | None) -> dict[str, list[Need]]:
    """Return the weights that the parts would take today, by kind, as far as the pipeline can be followed."""
    try:
        trace = trace_parts(parts)
    except RegionkitError:
        return {}
    # What is fitted on the spot needs no weights.
    chosen: dict[str, list[Need]] = {kind: [] for kind in trace.fit_corpus}
    for kind, file in trace.weights.items():
        spec = spec_for(parts[kind])
        if file is not None and file.files:
            entries = [entry for entry in spec.checkpoints if entry.role in file.files]
            chosen[kind] = [need_of(spec, entry, file.files[entry.role], out) for entry in entries]
        elif file is not None:
            need = Need(f"{kind} {spec.name}", kind, "weights", license=file.header.license, path=file.path)
            chosen[kind] = [need]
    return chosen


def _once(needs: Iterable[Need]) -> list[Need]:
    kept: dict[tuple[Any, ...], Need] = {}
    for need in needs:
        key = (need.source, need.names) if need.source else (need.part, need.role)
        known = kept.setdefault(key, need)
        if known.optional and not need.optional:
            kept[key] = replace(known, optional=False)
    return list(kept.values())
