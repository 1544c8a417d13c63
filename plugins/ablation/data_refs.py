"""What an entry of ``data:`` says: a task on a data set, with the options of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from regionkit.core.errors import did_you_mean
from regionkit.core.perturbing import Perturbation
from regionkit.plugins.ablation.words import as_mapping, brief

_FORMS = "write TASK@NAME, TASK@NAME/SPLIT, or {task: TASK, name: NAME, split: SPLIT, OPTION: ...}"


@dataclass(frozen=True)
class DataRef:
    """A task on a data set: ``task@name`` or ``task@name/split``, and the options of both.

    Attributes:
        task: Name of the task.
        dataset: Name and options of the data set.
        path: Dotted path in the file.
        task_options: Options of the task.
        split: Split; empty where nobody named one here.
        perturbation: What happens to regions before a pipeline sees them; None for nothing.
    """

    task: str
    dataset: Mapping[str, Any]
    path: str
    task_options: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""
    perturbation: Perturbation | None = None

    @cached_property
    def label(self) -> str:
        """The form ``TASK@NAME/SPLIT`` of tables and claims, ``TASK@NAME~jitter=0.1`` where regions are perturbed."""
        return f"{self.clean}~{self.perturbation.label}" if self.perturbation is not None else self.clean

    @cached_property
    def clean(self) -> str:
        """The form ``TASK@NAME/SPLIT``, with the split and the options that were given, whatever happens to regions."""
        split = f"/{self.split}" if self.split else ""
        options = {key: value for key, value in self.dataset.items() if key != "name"}
        return f"{self.task}{_shown(self.task_options)}@{self.dataset['name']}{split}{_shown(options)}"


def _shown(options: Mapping[str, Any]) -> str:
    told = ", ".join(f"{key}={brief(value)}" for key, value in options.items())
    return f"({told})" if told else ""


def read_data(entry: Any, path: str, problem: Callable[..., None]) -> DataRef | None:
    """Read one entry of ``data``; mistakes go to ``problem(path, message, *hints)``."""
    if isinstance(entry, str) and entry.count("@") == 1 and all(entry.split("@")):
        task, name = entry.split("@")
        name, slash, split = name.partition("/")
        if name and (split or not slash):
            return DataRef(task, {"name": name}, path, {}, split)
    if isinstance(entry, Mapping):
        return _read_mapping(entry, path, problem)
    problem(path, f"'{entry}' is no data set", _FORMS)
    return None


def _read_mapping(entry: Mapping[Any, Any], path: str, problem: Callable[..., None]) -> DataRef | None:
    asked, split = as_mapping(entry.get("task") or {}), entry.get("split") or ""
    lost = next((key for key in ("task", "name") if not entry.get(key)), "")
    if lost or not asked.get("name"):
        told = f"it says no `{lost}`" if lost else "its task has no `name`"
        meant = [str(key) for key in entry if lost and did_you_mean(str(key), [lost]) and key != lost]
        place = f"{path}.{meant[0]}" if meant else path
        problem(place, f"this is no data set: {told}", did_you_mean(meant[0], [lost]) if meant else "", _FORMS)
        return None
    if not isinstance(split, str | int):
        problem(f"{path}.split", f"'{split}' is no name of a split", "for several splits write an entry for each")
        return None
    dataset = {str(key): entry[key] for key in entry if key not in ("task", "split")}
    options = {key: value for key, value in asked.items() if key != "name"}
    return DataRef(str(asked["name"]), dataset, path, options, str(split))
