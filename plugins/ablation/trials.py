"""What an ablation consists of: selections of samples, pipelines, trials, and those that cannot run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from regionkit.core.contracts import BuildContext, Component, Dataset, Metric, Sample
from regionkit.core.errors import Problem, RegionkitError
from regionkit.core.spec import ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.plugins.ablation.claims import TrialAxes
from regionkit.plugins.ablation.spec import AblationSpec, DataRef, Settings
from regionkit.registry.assembly import build_part, chosen, place
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.schema import Part
from regionkit.registry.values import plain
from regionkit.registry.weights.index import content_hash


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that depend on a value of plain types alone."""
    canonical = json.dumps(plain(value), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples of a task under a seed, and the data set that they come from.

    Attributes:
        ref: Task and data set as they were asked for.
        part: The data set's filled options.
        dataset: The data set.
        seed: Evaluation seed.
        settings: Split and limit.
    """

    ref: DataRef
    part: Part
    dataset: Dataset
    seed: int
    settings: Settings

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """All samples, in the data set's order."""
        return self.dataset.samples(self.ref.task, self.settings.split, self.seed, self.settings.limit)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a sample or a picture does."""
        return self.dataset.fingerprint(self.ref.task, self.settings.split, self.seed, self.settings.limit)

    @cached_property
    def source(self) -> str:
        """Digest of the data set's options: within one source an image id means one picture."""
        return digest({"dataset": self.part.to_dict()})


@dataclass(frozen=True)
class MetricRef:
    """A metric and the label that tables and claims use."""

    label: str
    part: Part

    @cached_property
    def helpers(self) -> dict[str, tuple[Part, WeightFile | None]]:
        """The components that the metric judges with, by role, and their weights: its options of these names say which.

        Raises:
            RegionkitError: There is no such component, or no weights for it, or the metric has no such option.
        """
        roles, found = self.part.spec.roles, {}
        for role in [role for role in roles if role != "dataset"]:  # that is the one whose samples are judged
            if not hasattr(self.part.config, role):
                raise RegionkitError(
                    f"metric '{self.part.name}' needs a {roles[role]}, and no option says which: {role}"
                )
            found[role] = chosen(roles[role], getattr(self.part.config, role))
        return found

    @cached_property
    def _built(self) -> dict[str, Component]:
        """The helpers, built once for all trials, and on the CPU: scores must not depend on where captions are made."""
        cpu = torch.device("cpu")
        return {
            role: place(build_part(part, BuildContext(weights=file)), cpu)
            for role, (part, file) in self.helpers.items()
        }

    def build(self, dataset: Dataset) -> Metric:
        """Make a fresh metric for samples of a data set.

        Raises:
            RegionkitError: It cannot judge these data, or with what its options name.
        """
        parts = {**self._built, "dataset": dataset}
        metric: Metric = build_part(self.part, BuildContext(parts=parts))  # type: ignore[assignment]
        return metric

    def to_dict(self) -> dict[str, Any]:
        """Return what decides what it says of captions: options, and those of its helpers with weight hashes."""
        helpers = {
            role: {**part.to_dict(), **({"sha256": content_hash(file)} if file else {})}
            for role, (part, file) in self.helpers.items()
        }
        return {**self.part.to_dict(), **helpers}

    @property
    def specs(self) -> list[ComponentSpec]:
        """The metric and its helpers, whose code decides what it says."""
        return [self.part.spec, *(part.spec for part, _ in self.helpers.values())]

    def judges(self, selection: Selection) -> bool:
        """Say whether the metric is about what such samples are asked: for a caption, or for one of some candidates."""
        return ("candidates" in self.build(selection.dataset).needs) == bool(selection.samples[0].candidates)


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
        mistakes: What is wrong with claims and patterns that are laid over the trials; the trials stand without them.
    """

    name: str
    spec: AblationSpec
    axes: list[str]
    metrics: list[MetricRef]
    trials: list[Trial] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    excluded: int = 0
    repeated: int = 0
    mistakes: list[Problem] = field(default_factory=list)

    @property
    def disclaimers(self) -> list[str]:
        """Sentences that reports on these data must print."""
        sentences = dict.fromkeys(trial.selection.dataset.disclaimer for trial in self.trials)
        return [sentence for sentence in sentences if sentence]
