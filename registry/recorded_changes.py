"""What has changed since a trial was recorded: its code, its weights, its data, the packages that it ran with."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regionkit.core.contracts import Dataset
from regionkit.core.errors import RegionkitError
from regionkit.core.files import is_file
from regionkit.core.spec import PARTS, ComponentSpec
from regionkit.registry.discovery.owners import installed_version
from regionkit.registry.metrics import MetricRef
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import fill
from regionkit.registry.weights.index import content_hash

#: What the analysis of a run says of the versions that it was made with.
ANALYSIS = "analysis.json"
#: What metrics record beside their options.
_NO_OPTIONS = ("sha256",)


def recorded_changes(config: Mapping[str, Any], plan: PipelinePlan, dataset: Dataset | None = None) -> list[str]:
    """Return a sentence for everything that a trial was recorded with and that is not so any more.

    Args:
        config: What is stored of the trial.
        plan: Its pipeline as it would be built now.
        dataset: Its data set as it is now; None to leave the data alone, whose every picture may have to be read.
    """
    found = [*_weights(config, plan)]
    if dataset is not None:
        found += _data(config["data"], dataset)
    now = code_now(config, plan)
    if now and now != config.get("code"):
        found.append(f"the code has changed: it was {config.get('code')}, it is {now}")
    return found


def code_now(config: Mapping[str, Any], plan: PipelinePlan) -> str:
    """Return the digest of the code that would run a trial now; empty where a part of it is not there any more."""
    registry = get_registry()
    try:
        specs = [*_specs(config, plan)]
        # The command that runs trials plans them in the module that checks its files, and says there what counts.
        planner = importlib.import_module(registry.commands["ablate"].check.partition(":")[0])
        packages = planner.RUNNER_PACKAGES
        return registry.code_version({f"{one.kind}/{one.name}": one for one in specs}.values(), packages)
    except (RegionkitError, KeyError, ImportError, AttributeError):
        return ""


def recorded_metrics(config: Mapping[str, Any]) -> tuple[list[MetricRef], dict[str, str]]:
    """Return the metrics of a trial as they would judge now, and why others cannot be made again.

    Of a judge that was asked, what is recorded is who answered, and not how it is reached.
    """
    found, lost = [], {}
    for label, stored in config.get("metrics", {}).items():
        try:
            part = fill("metric", {key: value for key, value in stored.items() if key not in _NO_OPTIONS})
            assert part is not None
            ref = MetricRef(label, part)
            if ref.to_dict() != stored:
                lost[label] = "it is not the metric that was recorded: its weights or its judge are others"
            found.append(ref)
        except RegionkitError as error:
            lost[label] = error.message
    return [ref for ref in found if ref.label not in lost], lost


def version_changes(folder: Path) -> list[str]:
    """Return a sentence for every package whose version is not that of the run, as far as the run says."""
    try:
        if not is_file(folder / ANALYSIS):
            return []
        stored = json.loads((folder / ANALYSIS).read_text(encoding="utf-8"))["provenance"]["versions"]
        versions = {str(name): str(version) for name, version in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # what the analysis says is no part of the results
    now = {"python": platform.python_version(), "platform": platform.platform()}
    changes = []
    for name, version in versions.items():
        here = now.get(name) or installed_version(name)
        if here and here != version:
            changes.append(f"{name} was {version}, it is {here}")
    return changes


def _weights(config: Mapping[str, Any], plan: PipelinePlan) -> Iterator[str]:
    stored = config["pipeline"].get("weights", {})
    for kind in PARTS:
        file, then = plan.weights[kind], stored.get(kind)
        now = None if file is None else content_hash(file)
        if (then or {}).get("sha256") == now:
            continue
        was = f"{then['name']} ({then['sha256']})" if then else "none"
        here = "none" if file is None else f"{file.label} ({now})"
        yield f"the weights of the {kind} are others: they were {was}, they are {here}"
    then, now = config["pipeline"].get("banks", {}), plan.to_dict().get("banks", {})
    for kind in sorted({*then, *now}):
        if then.get(kind) != now.get(kind):
            was, here = (
                f"{one['name']} ({one['sha256']})" if one else "none" for one in (then.get(kind), now.get(kind))
            )
            yield f"the bank of the {kind} is another: it was {was}, it is {here}"


def _data(stored: Mapping[str, Any], dataset: Dataset) -> Iterator[str]:
    words = stored["task"]["name"], stored["split"], stored["seed"], stored["limit"]
    now = dataset.fingerprint(*words)
    if now != stored["fingerprint"]:
        yield f"the data are others: their fingerprint was {stored['fingerprint']}, it is {now}"


def _specs(config: Mapping[str, Any], plan: PipelinePlan) -> Iterator[ComponentSpec]:
    """Yield the components whose code decides what a trial gives."""
    registry = get_registry()
    yield from (part.spec for part in plan.parts.values())
    yield registry.find("dataset", config["data"]["dataset"]["name"])
    task = config["data"]["task"]["name"]
    yield from (spec for spec in registry.specs("task") if spec.name == task)
    metrics, lost = recorded_metrics(config)
    yield from (spec for ref in metrics for spec in ref.specs)
    yield from (registry.find("metric", config["metrics"][label]["name"]) for label in lost)
    yield from (registry.find("corpus", name) for name in plan.fit_corpus.values())
