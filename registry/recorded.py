"""Trials that were recorded, made again: the pipeline and the samples of a stored configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.errors import DataError
from regionkit.core.perturbing import perturbed
from regionkit.core.spec import PARTS
from regionkit.core.tasks import Task
from regionkit.registry.assembly import build
from regionkit.registry.plan import PipelinePlan, plan_pipeline


@dataclass(frozen=True)
class RecordedData:
    """What a trial looked at.

    Attributes:
        dataset: The data set.
        task: The protocol.
        samples: The samples as the task asks them and as the pipeline was given them: perturbed, where the trial says
            so. In the order in which they were stored.
        split: The split.
        seed: Evaluation seed.
        fingerprint: What the data were when the trial ran.
    """

    dataset: Dataset
    task: Task
    samples: Sequence[Sample]
    split: str
    seed: int
    fingerprint: str

    @property
    def by_id(self) -> dict[str, Sample]:
        """The samples by their ids."""
        return {sample.id: sample for sample in self.samples}


def recorded_plan(config: Mapping[str, Any]) -> PipelinePlan:
    """Plan the pipeline of a trial again, from the ``config`` that is stored with its result.

    Weights are looked for as they were; whether they are still the same files, ``config["pipeline"]["weights"]`` tells.

    Raises:
        DataError: The trial was stored without a pipeline.
        ConfigError: Its parts or their weights are not there any more, or do not fit each other.
    """
    stored = config.get("pipeline")
    if not isinstance(stored, Mapping) or any(kind not in stored for kind in PARTS):
        raise DataError("this trial was stored without its pipeline", "run the ablation again into another folder")
    folder = {"weights": stored["folder"]} if "folder" in stored else {}
    return plan_pipeline({**{kind: stored[kind] for kind in PARTS}, **folder})


def recorded_data(config: Mapping[str, Any]) -> RecordedData:
    """Make the samples of a trial again.

    Raises:
        DataError: The trial was stored without its data, or the data are not there any more.
        ConfigError: The data set is not installed any more, or has other options.
    """
    stored = config.get("data")
    if not isinstance(stored, Mapping) or "dataset" not in stored:
        raise DataError("this trial was stored without its data", "run the ablation again into another folder")
    dataset = build("dataset", stored["dataset"])
    assert isinstance(dataset, Dataset)
    task = _task(stored["task"])
    words = stored["task"]["name"], stored["split"], stored["seed"], stored["limit"]
    found = dataset.samples(*words)
    asked = [made for sample in found if (made := task.prepare(sample)) is not None]
    given = perturbed(asked, stored.get("perturbation"), dataset)
    return RecordedData(dataset, task, given, stored["split"], stored["seed"], stored["fingerprint"])


def _task(stored: Mapping[str, Any]) -> Task:
    """Build the task; a word that only its data set knows is a task without a protocol of its own."""
    from regionkit.registry.registry import get_registry

    if stored["name"] not in [spec.name for spec in get_registry().specs("task")]:
        return Task()
    found = build("task", stored)
    assert isinstance(found, Task)
    return found
