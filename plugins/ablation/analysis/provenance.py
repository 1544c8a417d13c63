"""What an ablation was made with, and a file that makes it again."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from regionkit.core.errors import RegionkitError
from regionkit.core.spec import ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.registry import get_registry
from regionkit.registry.discovery.local_plugins import FLAG
from regionkit.registry.discovery.owners import installed_version
from regionkit.registry.document import VERSION, Document
from regionkit.registry.provenance import component_record
from regionkit.registry.weights.bank_choice import memory_of
from regionkit.registry.yaml_text import read_value

#: Distributions whose versions results depend on.
_PACKAGES = ("regionkit", "torch", "transformers", "timm", "numpy", "pillow")
#: What the command line calls the file that :func:`resolved` writes.
RESOLVED = "resolved.yaml"
#: What marks a value that came from the command line, in the lines of a document.
_SET = "--set "


def provenance_of(plan: AblationPlan) -> dict[str, Any]:
    """Return the file that leads to the same trials, and who made what they consist of, in plain values."""
    return {
        "resolved": resolved(plan.document) if plan.document is not None else "",
        "versions": versions(),
        "code": sorted({str(trial.config["code"]) for trial in plan.trials}),
        "components": components(plan),
        "weights": weights(plan),
        "data": data_sets(plan),
    }


def versions() -> dict[str, str]:
    """Return the versions of packages, Python and the system, and the name of the accelerator where there is one."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found |= {name: version for name in _PACKAGES if (version := installed_version(name))}
    torch = sys.modules.get("torch")  # what was not loaded did not run
    if torch is not None and torch.cuda.is_available():
        found["device"] = str(torch.cuda.get_device_name())
    return dict(sorted(found.items()))


class _Dumper(yaml.SafeDumper):
    """Writes texts in quotes where a reader of YAML 1.2 might take them for numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = read_value(text, "") == text
    except RegionkitError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def resolved(document: Document) -> str:
    """Write an ablation as one file that extends nothing: presets and overrides are in it.

    Paths of weights stand as they were read: relative ones are relative to where the command ran.
    """
    files = [str(path) for path in get_registry().local_files]
    plain = {"version": VERSION, **({"plugins": files} if files else {}), **document.data}
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def command_of(plan: AblationPlan, folder: Path | None) -> str:
    """Return the command that makes a run again; one that was no file of its own is run from what it resolved to."""
    document = plan.document
    if document is None or document.path is None:
        words = ["toolkit", "ablate", RESOLVED]
    elif document.lines.get("data", "").startswith(("--data", "--task")):
        words = _run_words(document)
    else:
        words = ["toolkit", "ablate", str(document.path)]
        for path in _overridden(document):
            words += ["--set", f"{path}={_flow(_value_at(document.data, path))}"]
    words += [FLAG] if get_registry().local_files else []
    words += ["--out", str(folder)] if folder is not None else []
    return shlex.join(words)


def _run_words(document: Document) -> list[str]:
    """Return the words of ``toolkit run``; changed options have no words of their own, and need the whole file."""
    data, metrics = document.data.get("data") or [], document.data.get("metrics") or []
    if (
        document.data.get("robustness")
        or _overridden(document)
        or not all(isinstance(x, str) for x in (*data, *metrics))
    ):
        return ["toolkit", "ablate", RESOLVED]
    known = get_registry().presets.get(document.name) == document.path
    words = ["toolkit", "run", document.name if known else str(document.path), "--data", ",".join(data)]
    words += ["--metrics", ",".join(metrics)] if metrics else []
    for seed in document.data["seeds"]:
        words += ["--seed", str(seed)]
    for flag in ("split", "limit"):
        value = document.data.get(flag)
        words += [f"--{flag}", str(value)] if value is not None else []
    return words


def _overridden(document: Document) -> list[str]:
    """Return the dotted paths that the command line changed."""
    return [path for path, line in document.lines.items() if line.startswith(_SET)]


def _value_at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else data.get(key) if isinstance(data, Mapping) else None
    return data


def _flow(value: Any) -> str:
    """Write a value on one line, as ``--set`` reads it."""
    written = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**9)
    return written.removesuffix("\n").removesuffix("\n...")


def components(plan: AblationPlan) -> list[dict[str, Any]]:
    """Return the record of every component that had a part in a trial, with its kind and licence."""
    found: dict[tuple[str, str], ComponentSpec] = {}
    for trial in plan.trials:
        for spec in _specs_of(trial, plan):
            found.setdefault((spec.kind, spec.name), spec)
    records = []
    for spec in found.values():
        record = component_record(spec)
        del record["weights"]  # they stand by themselves: one component may have been run with several
        records.append({"kind": spec.kind, **record, "license": spec.license})
    order = list(dict.fromkeys(kind for kind, _ in found))
    return sorted(records, key=lambda record: order.index(record["kind"]))


def _specs_of(trial: Trial, plan: AblationPlan) -> Iterator[ComponentSpec]:
    pipeline, selection = trial.combination.plan, trial.selection
    yield from (part.spec for part in pipeline.parts.values())
    yield from (get_registry().find("corpus", name) for name in pipeline.fit_corpus.values())
    yield selection.part.spec
    if selection.task_part is not None:
        yield selection.task_part.spec
    for metric in plan.metrics if plan.own is None else plan.metrics_of(selection):
        yield metric.part.spec
        yield from (part.spec for part, _ in metric.helpers.values())


def weights(plan: AblationPlan) -> list[dict[str, Any]]:
    """Return every weight file, or file of an official release, with the beginning of its hash and its licence."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    pipelines = {id(trial.combination): trial.combination.plan for trial in plan.trials}
    held = [
        (part.spec, pipeline.weights[kind]) for pipeline in pipelines.values() for kind, part in pipeline.parts.items()
    ]
    held += [
        (memory_of(pipeline.parts[kind]).spec, file)
        for pipeline in pipelines.values()
        for kind, file in pipeline.banks.items()
    ]
    held += [(part.spec, file) for metric in plan.metrics for part, file in metric.helpers.values()]
    seen: set[tuple[str, int]] = set()
    for spec, file in held:
        if file is None or (spec.name, id(file)) in seen:
            continue
        seen.add((spec.name, id(file)))
        for record in _files_of(spec, file):
            found.setdefault((record["component"], record["sha256"]), record)
    return list(found.values())


def _files_of(spec: ComponentSpec, file: WeightFile) -> Iterable[dict[str, Any]]:
    record = component_record(spec, file)["weights"]
    if "files" not in record:
        return [{"component": spec.name, **record, "license": file.header.license}]
    licenses = {one.role: one.license for one in spec.checkpoints}
    return [
        {"component": spec.name, **one, "license": licenses.get(role) or spec.license}
        for role, one in record["files"].items()
    ]


def data_sets(plan: AblationPlan) -> list[dict[str, Any]]:
    """Return every data set with its split, licence, and a fingerprint of its samples and pictures by seed."""
    found: dict[str, dict[str, Any]] = {}
    for trial in plan.trials:
        selection = trial.selection
        record = found.setdefault(
            selection.ref.clean,
            {
                "label": selection.ref.clean,
                "dataset": selection.part.spec.name,
                "split": selection.split,
                "fingerprints": {},
                "license": selection.part.spec.license,
            },
        )
        record["fingerprints"][str(selection.seed)] = selection.fingerprint
    return list(found.values())
