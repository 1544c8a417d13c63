"""What an ablation consists of: selections of samples, pipelines, trials, and those that cannot run."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.errors import Problem
from regionkit.core.perturbing import KINDS, perturbed
from regionkit.core.samples import LazySamples
from regionkit.core.tasks import Task, regions_of
from regionkit.plugins.ablation.claims import TrialAxes
from regionkit.plugins.ablation.data_refs import DataRef
from regionkit.plugins.ablation.spec import AblationSpec, Settings
from regionkit.registry.document import Document
from regionkit.registry.metrics import MetricRef
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.schema import Part
from regionkit.registry.values import plain


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that depend on a value of plain types alone."""
    canonical = json.dumps(plain(value), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Prepared(LazySamples):
    """Samples as a task asks them, each made when it is looked at: those of a large data set fill the memory.

    Attributes:
        kinds: Kinds of the regions that a pipeline encodes for them.
    """

    def __init__(self, samples: Sequence[Sample], task: Task) -> None:
        """Look at all samples once: which does the task leave out, and what regions do the others have?"""
        self._samples, self._task = samples, task
        kept = array("q")
        kinds: set[str] = set()
        for at, sample in enumerate(samples):
            made = task.prepare(sample)
            if made is not None:
                kept.append(at)
                kinds.update(region.kind for region in regions_of(made))
        self._kept: Sequence[int] = kept if len(kept) < len(samples) else range(len(samples))
        self.kinds = frozenset(kinds)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._samples:
            made = self._task.prepare(sample)
            if made is not None:
                yield made

    def __len__(self) -> int:
        return len(self._kept)

    def sample(self, place: int) -> Sample:
        """Return the sample at a place as it is asked."""
        made = self._task.prepare(self._samples[self._kept[place]])
        assert made is not None
        return made


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples of a task under a seed, and the data set that they come from.

    Attributes:
        ref: Task and data set as they were asked for.
        part: The data set's filled options.
        dataset: The data set.
        seed: Evaluation seed.
        settings: Limit, and what else holds for all trials.
        split: The split of this data set.
        task: The protocol.
        task_part: Its filled options; None for a task that only the data set knows.
        clean: The same samples as they are, where the regions of these are perturbed.
    """

    ref: DataRef
    part: Part
    dataset: Dataset
    seed: int
    settings: Settings
    split: str
    task: Task
    task_part: Part | None
    clean: Selection | None = None

    @property
    def truth(self) -> Sequence[Sample]:
        """The samples that metrics judge by: those of :attr:`samples`, with their regions as they are."""
        return self.samples if self.clean is None else self.clean.samples

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """All samples, in the data set's order, as the task asks them and as a pipeline is given them."""
        if self.clean is not None:
            return perturbed(self.clean.samples, self.ref.perturbation, self.dataset)
        found = self.dataset.samples(self.ref.task, self.split, self.seed, self.settings.limit)
        return found if type(self.task).prepare is Task.prepare else Prepared(found, self.task)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a sample or a picture of the data does; a perturbation is told of beside it."""
        if self.clean is not None:
            return self.clean.fingerprint
        return self.dataset.fingerprint(self.ref.task, self.split, self.seed, self.settings.limit)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Kinds of the regions that a pipeline encodes for these samples; no perturbation changes them."""
        if self.clean is not None:
            return self.clean.kinds
        if isinstance(self.samples, Prepared):
            return self.samples.kinds
        return frozenset(region.kind for sample in self.samples for region in regions_of(sample))

    @cached_property
    def untouched(self) -> str:
        """Why the perturbation would change nothing here; empty where it changes a region, and without one."""
        asked = self.ref.perturbation
        if asked is None:
            return ""
        takes = KINDS[asked.kind].takes
        known = self.kinds.intersection(takes)
        if known and any(asked.touches(region) for sample in self.truth for region in regions_of(sample)):
            return ""
        hint = " of more than one point" if known else ""
        has = ", ".join(sorted(self.kinds))
        return f"{asked.kind} changes {', '.join(takes)} regions{hint}, and {self.ref.clean} has {has}"

    @property
    def asked(self) -> dict[str, Any]:
        """The task with its filled options, in plain values."""
        return {"name": self.ref.task} if self.task_part is None else self.task_part.to_dict()

    @cached_property
    def record(self) -> dict[str, Any]:
        """What is stored of the samples with every trial, in plain values."""
        asked = self.ref.perturbation
        return {
            "task": self.asked,
            "dataset": self.part.to_dict(),
            "split": self.split,
            "seed": self.seed,
            "limit": self.settings.limit,
            "fingerprint": self.fingerprint,
            # Only where there is one: trials of clean data keep the ids that they always had.
            **({"perturbation": asked.to_dict()} if asked is not None else {}),
        }

    @cached_property
    def key(self) -> str:
        """Digest of what the samples are."""
        return digest(self.record)

    @cached_property
    def source(self) -> str:
        """Digest of the data set's options: within one source an image id means one picture."""
        return digest({"dataset": self.part.to_dict()})


@dataclass(frozen=True)
class Combination:
    """A pipeline of the ablation: its plan, and its values on the axes (see :class:`TrialAxes`)."""

    labels: Mapping[str, str]
    names: Mapping[str, str]
    plan: PipelinePlan


@dataclass(frozen=True, eq=False)
class Trial:
    """One pipeline on one data set under one evaluation seed.

    Attributes:
        id: Hash of ``config``: equal trials have one id, in any file and any folder.
        combination: The pipeline.
        selection: The samples.
        config: Filled options with weight hashes, metrics, data fingerprint and code version.
    """

    id: str
    combination: Combination
    selection: Selection
    config: Mapping[str, Any]

    @property
    def axes(self) -> TrialAxes:
        """What claims look at."""
        data = self.selection.ref.label
        return TrialAxes(self.id, data, self.selection.seed, self.combination.labels, self.combination.names)


@dataclass(frozen=True, slots=True)
class Refused:
    """Trials that cannot run, with the reason. ``data`` is empty where it holds for all data sets."""

    labels: Mapping[str, str]
    names: Mapping[str, str]
    data: str
    reason: str
    count: int

    @property
    def axes(self) -> TrialAxes:
        """What claims look at."""
        return TrialAxes("", self.data, 0, self.labels, self.names)


@dataclass
class AblationPlan:
    """All trials of an ablation, in the order of the file.

    Attributes:
        metrics: All metrics, those that the file names or the union of what its tasks name.
        columns: What the values of the metrics are called: one a metric, or several where it has parts.
        own: Labels of the metrics of each task by ``TASK@NAME``, where the file names none; None where it does.
        left_out: Metrics of tasks that cannot judge here: ``TASK@NAME``, metric and reason.
        mistakes: What is wrong with claims and patterns that are laid over the trials; the trials stand without them.
        document: The file that was planned.
    """

    name: str
    spec: AblationSpec
    axes: list[str]
    metrics: list[MetricRef]
    columns: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    excluded: int = 0
    repeated: int = 0
    mistakes: list[Problem] = field(default_factory=list)
    own: Mapping[str, Sequence[str]] | None = None
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    document: Document | None = None

    @property
    def varied(self) -> list[str]:
        """The axes on which the trials differ; none where there is one pipeline."""
        labels = [trial.combination.labels for trial in self.trials]
        return [axis for axis in self.axes if len({one[axis] for one in labels}) > 1]

    def metrics_of(self, selection: Selection) -> list[MetricRef]:
        """Return the metrics that judge a selection."""
        if self.own is not None:
            return [ref for ref in self.metrics if ref.label in self.own.get(selection.ref.clean, ())]
        return [ref for ref in self.metrics if ref.judges(selection.dataset, selection.truth[0])]

    @property
    def disclaimers(self) -> list[str]:
        """Sentences that reports on these data must print."""
        sentences = dict.fromkeys(trial.selection.dataset.disclaimer for trial in self.trials)
        return [sentence for sentence in sentences if sentence]
