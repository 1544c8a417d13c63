"""Folders of results, and the trials in them as people name them: ``RUN#TRIAL``, by beginnings of their ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError
from regionkit.core.files import is_file, is_folder
from regionkit.core.results import DATABASE, ResultStore
from regionkit.core.spec import PARTS

#: Where an ablation says what its trials are planned from.
ABLATION = "ablation.json"
#: Trials that a message lists.
_SHOWN = 20


@dataclass(frozen=True, slots=True, eq=False)
class RunTrial:
    """A trial of a run that has ended.

    Attributes:
        id: Its id.
        data: ``TASK@NAME``.
        seed: Evaluation seed.
        status: ``done`` or ``failed``.
        labels: What tells it from the other trials of the run: its parts and their options, ``bridge`` -> ``memory``.
    """

    id: str
    data: str
    seed: int
    status: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """What it was run on, and what tells it apart."""
        return ", ".join([self.data, f"seed {self.seed}", *(f"{axis}={label}" for axis, label in self.labels.items())])

    @property
    def described(self) -> str:
        """One line that a reader recognises it by."""
        return f"{self.id}: {self.said}{'' if self.status == 'done' else ' (failed)'}"


def split_trial(text: str) -> tuple[Path, str]:
    """Read ``FOLDER#TRIAL``; a path that is there as a whole has no trial in its name."""
    folder, hash_mark, trial = text.rpartition("#")
    if hash_mark and not Path(text).exists() and is_folder(Path(folder)):
        return Path(folder), trial
    return Path(text), ""


def is_run(text: str) -> bool:
    """Say whether a text names a folder of results, or a trial in one."""
    folder, _ = split_trial(text)
    return is_folder(folder) and is_file(folder / DATABASE)


def open_run(folder: Path) -> ResultStore:
    """Open the results of a run to read them.

    Raises:
        DataError: There are none, or they are damaged.
    """
    if not is_file(folder / DATABASE):
        raise DataError(
            f"{folder}: no results in this folder" if is_folder(folder) else f"{folder}: there is no such folder",
            f"a run folder holds {DATABASE}; `toolkit ablate` writes one, and `toolkit run --out DIR`",
        )
    return ResultStore(folder / DATABASE, read_only=True)


def load_plugins_of(folder: Path) -> None:
    """Load the local plugins that a run was planned with, so that its parts, metrics and data are there again.

    A folder that does not say so, or no longer can, has none: results can be read without.

    Raises:
        ConfigError: The user has not allowed it, or a plugin is missing, broken or brings what is there already.
    """
    from regionkit.registry.discovery.local_plugins import load_local_plugins
    from regionkit.registry.document import Document

    path = folder / ABLATION
    try:
        if not is_file(path):
            return
        content = json.loads(path.read_text(encoding="utf-8"))
        plugins, place = [str(one) for one in content["plugins"]], Path(content["place"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return
    if plugins:
        load_local_plugins(plugins, Document(path, {}, {}, folder.name), place)


def trials_of(store: ResultStore) -> list[RunTrial]:
    """Return all trials of a run that have ended, with what they differ in, by data, seed and labels."""
    labels = labels_of(store.configs())
    found = [RunTrial(one.id, one.data, one.seed, one.status, labels[one.id]) for one in store.trials()]
    return sorted(found, key=lambda one: (one.data, one.seed, [*one.labels.values()], one.id))


def labels_of(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return what tells trials apart: parts by name, and options of parts of one name that differ.

    Args:
        configs: By id, what is stored of trials.

    Returns:
        By id, labels as axes have them: ``{"bridge": "memory", "bridge.temperature": "0.05"}``.
    """
    parts = {trial: _parts(config) for trial, config in configs.items()}
    found: dict[str, dict[str, str]] = {trial: {} for trial in configs}
    for kind in PARTS:
        names = {str(one[kind].get("name", "")) for one in parts.values() if kind in one}
        varied = {name: _differing(one[kind] for one in parts.values() if _named(one, kind, name)) for name in names}
        for trial, one in parts.items():
            if kind not in one:
                continue
            name = str(one[kind].get("name", ""))
            found[trial] |= {kind: name} if len(names) > 1 else {}
            found[trial] |= {f"{kind}.{option}": _brief(one[kind].get(option)) for option in varied[name]}
    return found


def choose_trials(
    folder: Path, trials: Sequence[RunTrial], beginnings: Iterable[str], purpose: str = "choose one"
) -> list[RunTrial]:
    """Return the trials whose ids begin so; each beginning must name one.

    Args:
        folder: The run, for messages.
        trials: Among these.
        beginnings: As the user wrote them.
        purpose: What messages say to do.

    Raises:
        DataError: A beginning names no trial, or several; the message lists those that it may have meant.
    """
    found = []
    for beginning in dict.fromkeys(beginnings):
        fitting = [one for one in trials if one.id.startswith(beginning)]
        exact = [one for one in fitting if one.id == beginning]
        if len(exact or fitting) != 1:
            what = f"{len(fitting)} trials begin with '{beginning}'" if fitting else f"no trial '{beginning}'"
            raise DataError(
                f"{folder}: {what}; {purpose} as {folder}#TRIAL", "trials are:", *listed_trials(fitting or trials)
            )
        found.append((exact or fitting)[0])
    return list(dict.fromkeys(found))


def listed_trials(trials: Sequence[RunTrial], more: str = "") -> list[str]:
    """Return a line a trial, for messages; of many the first ones.

    Args:
        trials: The trials.
        more: Where the others can be seen.
    """
    lines = [f"  {one.described}" for one in trials[:_SHOWN]]
    left = len(trials) - _SHOWN
    return [*lines, f"  and {left:,} more{f', see {more}' if more else ''}"] if left > 0 else lines


def _parts(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    pipeline = config.get("pipeline")
    held = pipeline if isinstance(pipeline, Mapping) else {}
    return {kind: held[kind] for kind in PARTS if isinstance(held.get(kind), Mapping)}


def _named(parts: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> bool:
    return kind in parts and str(parts[kind].get("name", "")) == name


def _differing(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the options in which parts of one name differ, in their order."""
    held = list(parts)
    options = dict.fromkeys(option for one in held for option in one if option != "name")
    return [option for option in options if len({_brief(one.get(option)) for one in held}) > 1]


def _brief(value: Any) -> str:
    """Return a value as labels write it."""
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    return f"{value:g}" if isinstance(value, float) else str(value)
