"""What a run folder says of itself: ``ablation.json``, from which any worker plans the same trials."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.files import write_text
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.trials import AblationPlan, digest
from regionkit.registry import get_registry, run_folders
from regionkit.registry.document import Document
from regionkit.registry.values import plain

#: Name of the file.
ABLATION = run_folders.ABLATION
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """An ablation as its run folder has it.

    Attributes:
        document: The composed file.
        options: How its trials run, the device aside.
        launcher: Name and options of its launcher.
        place: The working folder that relative paths start from.
        plugins: Files of plugins that the file brought.
        facts: What the ids of its trials are made of, see :func:`facts_of`.
    """

    document: Document
    options: Mapping[str, Any]
    launcher: Mapping[str, Any]
    place: str
    plugins: tuple[str, ...]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, document: Document, plan: AblationPlan, options: RunOptions, launcher: Mapping[str, Any]) -> Recorded:
        """Record a plan."""
        kept = {key: plain(value) for key, value in asdict(options).items() if key != "device"}
        plugins = tuple(map(str, get_registry().local_files))
        return cls(document, kept, launcher, os.getcwd(), plugins, facts_of(plan))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        document = self.document
        path = str(document.path) if document.path else None
        return {
            "version": _VERSION,
            "document": {
                "path": path,
                "name": document.name,
                "data": _in_words(document.data),
                "lines": dict(document.lines),
            },
            "options": dict(self.options),
            "launcher": plain(self.launcher),
            "place": self.place,
            "plugins": list(self.plugins),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, content: Any) -> Recorded:
        """Read what :meth:`to_dict` returned.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        if content["version"] != _VERSION:
            raise ValueError(f"it is of format {content['version']}, this regionkit has {_VERSION}")
        told = content["document"]
        document = Document(
            Path(told["path"]) if told["path"] else None,
            dict(told["data"]),
            {str(key): str(line) for key, line in told["lines"].items()},
            str(told["name"]),
        )
        where = str(content["place"]), tuple(map(str, content["plugins"]))
        return cls(document, dict(content["options"]), dict(content["launcher"]), *where, dict(content["facts"]))

    def run_options(self, device: str) -> RunOptions:
        """Return how trials run on a device; what another version knew and this one does not is left out."""
        known = {field.name for field in fields(RunOptions)} - {"device"}
        options = {key: value for key, value in self.options.items() if key in known}
        if options.get("cache") is not None:
            options["cache"] = Path(options["cache"])
        return RunOptions(device, **options)


def facts_of(plan: AblationPlan) -> dict[str, Any]:
    """Return what the ids of trials are made of, in groups that a sentence can name."""
    weights: dict[str, str] = {}
    data: dict[str, str] = {}
    for trial in plan.trials:
        for kind, file in trial.config["pipeline"]["weights"].items():
            if file is not None:
                weights[f"{kind} {trial.config['pipeline'][kind]['name']} {file['sha256'][:16]}"] = file["sha256"]
        data[f"{trial.selection.ref.label}, seed {trial.selection.seed}"] = str(trial.config["data"]["fingerprint"])
    return {
        "trials": digest(sorted(trial.id for trial in plan.trials)),
        "code": sorted({str(trial.config["code"]) for trial in plan.trials}),
        "weights": weights,
        "data": data,
    }


def check_same(recorded: Mapping[str, Any], plan: AblationPlan, who: str) -> None:
    """Check that a plan has the trials that a run folder speaks of.

    Raises:
        RunFailed: It has others; the message says in what they differ.
    """
    here = facts_of(plan)
    if here["trials"] == recorded.get("trials"):
        return
    differ = []
    if here["code"] != recorded.get("code"):
        differ.append("the code (another version of regionkit or of a plugin, or it was edited since)")
    for what in ("weights", "data"):
        there = recorded.get(what)
        held = there if isinstance(there, Mapping) else {}
        names = sorted(name for name in {*here[what], *held} if here[what].get(name) != held.get(name))
        if names:
            differ.append(f"{what} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})")
    raise RunFailed(
        f"{who} would run other trials than this run has: what differs is {', '.join(differ) or 'their options'}",
        "give it the same code, weights and data; or start the ablation again, which then plans with what is there now",
    )


def write_ablation(folder: Path, recorded: Recorded) -> None:
    """Write the file.

    Raises:
        RunFailed: It cannot be written.
    """
    try:
        write_text(folder / ABLATION, json.dumps(recorded.to_dict(), indent=1, default=str) + "\n")
    except OSError as error:
        reason = error.strerror or error
        raise RunFailed(f"{folder / ABLATION} cannot be written: {reason}", "make room, or choose --out") from None


def read_ablation(folder: Path) -> Recorded:
    """Read the file.

    Raises:
        DataError: It is not there, or no such file.
    """
    path = folder / ABLATION
    try:
        return Recorded.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        hint = "start the run first, or give the folder that it was started with: --out, or runs/NAME"
        raise DataError(f"{folder} is no folder of a run: it has no {ABLATION}", hint) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} cannot be read: {reason}", "start the run again with `toolkit ablate`, which writes it anew"
        ) from None


def _in_words(value: Any) -> Any:
    """Return plain values for JSON, whose keys are words: YAML reads the bare word ``on`` of a claim as true."""
    if isinstance(value, Mapping):
        return {"on" if key is True else str(key): _in_words(item) for key, item in value.items()}
    return [_in_words(item) for item in value] if isinstance(value, list | tuple) else plain(value)
