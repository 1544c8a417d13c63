"""Who and what made a result: for each part its plugin, the distribution and version, and the weights by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.spec import ComponentSpec
from regionkit.registry.discovery.owners import installed_version
from regionkit.registry.registry import get_registry
from regionkit.registry.weights.bank_choice import memory_of
from regionkit.registry.weights.index import content_hash

if TYPE_CHECKING:
    from regionkit.core.weights import WeightFile
    from regionkit.registry.plan import PipelinePlan


def component_record(spec: ComponentSpec, file: WeightFile | None = None) -> dict[str, Any]:
    """Return what a result says of one component.

    Args:
        spec: The component.
        file: Its weights.

    Returns:
        ``name``, ``plugin``, ``distribution``, ``version`` (the digest of a local file), and ``weights``: None, or the
        ``file`` and ``sha256``, the beginning of its hash, for official checkpoints with ``files`` by role.
    """
    owner = get_registry().owner(spec)
    weights: dict[str, Any] | None = None
    if file is not None:
        weights = {"file": file.path.name, "sha256": content_hash(file)}
        if file.files:
            weights["files"] = {
                role: {"file": path.name, "sha256": content_hash(replace(file, path=path, files=_inner(role, path)))}
                for role, path in sorted(file.files.items())
            }
    return {
        "name": spec.name,
        "plugin": owner.plugin,
        "distribution": owner.distribution,
        "version": owner.version,
        "weights": weights,
    }


def _inner(role: str, path: Path) -> dict[str, Path]:
    """Return what is to be hashed for one role: nothing but the file itself, or all that a folder holds."""
    return {role: path} if path.is_dir() else {}


def pipeline_record(plan: PipelinePlan) -> dict[str, Any]:
    """Return the record of every part of a pipeline by its kind, with banks and the corpus that a part is fitted to."""
    records = {kind: component_record(part.spec, plan.weights[kind]) for kind, part in plan.parts.items()}
    for kind, file in plan.banks.items():
        records[f"{kind} bank"] = component_record(memory_of(plan.parts[kind]).spec, file)
    for corpus in plan.fit_corpus.values():
        records["corpus"] = component_record(get_registry().find("corpus", corpus))
    return records


def provenance(plan: PipelinePlan) -> dict[str, Any]:
    """Return who and what a pipeline is made of.

    Returns:
        ``regionkit``, its version (empty where it is not installed), the records of all parts by kind, and ``notes``,
        what whoever reads it has to know.
    """
    return {"regionkit": installed_version("regionkit"), **pipeline_record(plan), "notes": plan.notes()}
