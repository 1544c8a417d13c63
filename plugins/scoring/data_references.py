"""Captions judged against the samples of a data set instead of a file: ``--data TASK@NAME/SPLIT``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset, Sample
from regionkit.core.errors import ConfigError, DataError, Problem, did_you_mean
from regionkit.core.features import Caption
from regionkit.core.regions import WholeImage
from regionkit.core.tasks import Task
from regionkit.plugins.scoring.matching import Matched
from regionkit.plugins.scoring.predictions import Predictions
from regionkit.plugins.scoring.references import TRUTH, References
from regionkit.registry import get_registry
from regionkit.registry.assembly import build_part
from regionkit.registry.merging import apply_override
from regionkit.registry.schema import Part, fill

#: What ``--set`` may begin with beside metrics: options of the data set, and of the task.
OWN = ("data", "task")


@dataclass(frozen=True, slots=True)
class DataReferences:
    """Samples of a data set under a task's protocol.

    Attributes:
        label: ``TASK@NAME/SPLIT``.
        dataset: The data set.
        task: The protocol; one that changes nothing where no plugin brings a task of that name.
        word: Name of the task.
        split: The split.
        made_of: Options of task and data set.
    """

    label: str
    dataset: Dataset
    task: Task
    word: str
    split: str
    made_of: str

    def read(self, predictions: Predictions) -> References:
        """Return what is known of each sample as the task asks it.

        Where predictions are detections, an id is that of a picture, and all that is known of its boxes is asked for.

        Raises:
            DataError: The data cannot be read, or no sample is left.
        """
        found = References(self.label)
        found.made_from = f"{self.made_of} {self.dataset.fingerprint(self.word, self.split)}"
        by_picture = bool(predictions.detections)
        for sample in self._asked():
            if by_picture and TRUTH in sample.info:
                whole = replace(sample, id=sample.image_id, region=WholeImage(), references=())
                found.samples.setdefault(sample.image_id, whole)
            elif sample.references or sample.info:
                found.samples[sample.id] = sample
            else:
                found.refused[sample.id] = "it has no reference"
        if not found.samples and not found.refused:
            raise DataError(f"{self.label} has no sample", f"what is there: toolkit data list {_name_of(self.label)}")
        return found

    def _asked(self) -> Iterator[Sample]:
        for sample in self.dataset.samples(self.word, self.split):
            asked = self.task.prepare(sample)
            if asked is not None:
                yield asked

    def clean(self, matched: Matched) -> None:
        """Put the answer that the task makes of each caption in its place."""
        pairs = zip(matched.samples, matched.captions, strict=True)
        matched.captions = [self.task.answer(sample, Caption(text, 0.0)).text for sample, text in pairs]


def open_data(text: str, overrides: Sequence[str]) -> DataReferences:
    """Build the data set and the task that ``--data`` names.

    Args:
        text: ``TASK@NAME``, or ``TASK@NAME/SPLIT``; without a split ``test`` where there is one, else the first.
        overrides: Those of ``--set`` that begin with ``data.`` or ``task.``.

    Raises:
        RegionkitError: A word is unknown, or an option is wrong.
    """
    word, at, rest = text.partition("@")
    name, slash, split = rest.partition("/")
    if not (word and at and name) or (slash and not split):
        raise DataError(f"--data {text}: this is not of the form TASK@NAME or TASK@NAME/SPLIT", *_examples())
    dataset_part, task_part = _parts(word, name, overrides)
    tasks = dataset_part.spec.accepts
    if tasks and word not in tasks:
        raise DataError(
            f"--data {text}: '{name}' has no task '{word}'", did_you_mean(word, tasks) or f"it has: {', '.join(tasks)}"
        )
    dataset = build_part(dataset_part, BuildContext())
    assert isinstance(dataset, Dataset)
    splits = dataset.splits
    split = split or ("test" if "test" in splits else splits[0])
    if split not in splits:
        raise DataError(
            f"--data {text}: '{name}' has no split '{split}'",
            did_you_mean(split, splits) or f"it has: {', '.join(splits)}",
        )
    task = build_part(task_part, BuildContext()) if task_part is not None else Task()
    assert isinstance(task, Task)
    options = {"data": dataset_part.to_dict(), "task": task_part.to_dict() if task_part is not None else word}
    made_of = json.dumps(options, sort_keys=True, default=str)
    return DataReferences(f"{word}@{name}/{split}", dataset, task, word, split, made_of)


def own_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those that are for data and task, and those that are for metrics."""
    own = [text for text in overrides if text.partition(".")[0].strip() in OWN]
    return own, [text for text in overrides if text not in own]


def _parts(word: str, name: str, overrides: Sequence[str]) -> tuple[Part, Part | None]:
    """Return the data set, and the task where a plugin brings one of that name.

    Raises:
        ConfigError: There are mistakes; all are told.
    """
    has_task = word in get_registry().names("task")
    data: dict[str, Any] = {"data": {"name": name}, "task": {"name": word}}
    lines: dict[str, str] = {}
    problems: list[Problem] = []
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key in ("data", "task", "data.name", "task.name"):
            problems.append(Problem(f"--set {text}", "", "--data says which task and data set it is"))
        elif key.startswith("task.") and not has_task:
            problems.append(Problem(f"--set {text}", "", f"task '{word}' has no options"))
        else:
            data = apply_override(data, lines, text)

    def where(path: str) -> str:
        return next((line for key, line in lines.items() if key == path or key.startswith(f"{path}.")), "--data")

    dataset = fill("dataset", data["data"], where, "data", problems)
    task = fill("task", data["task"], where, "task", problems) if has_task else None
    if problems or dataset is None:
        raise ConfigError(problems)
    return dataset, task


def _examples() -> tuple[str, ...]:
    return ("for example: --data box@mini/val", "data sets and their tasks: toolkit data list")


def _name_of(label: str) -> str:
    return label.partition("@")[2].partition("/")[0]


def facts(data: DataReferences | None) -> Mapping[str, Any]:
    """Return what JSON says of the data beside the scores; nothing for a file of references."""
    if data is None:
        return {}
    return {"data": data.label, "disclaimer": data.dataset.disclaimer}
