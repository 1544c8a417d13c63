"""Metrics from their names and options: with the components that they judge with, for every command that judges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import torch

from regionkit.core.contracts import BuildContext, Component, Dataset, Metric, Sample, column
from regionkit.core.errors import RegionkitError
from regionkit.core.spec import ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.assembly import build_part, chosen, place
from regionkit.registry.schema import Part
from regionkit.registry.weights.choice import Wanted, choose_weights
from regionkit.registry.weights.index import content_hash

#: Helpers that are in use, by what they are: metrics that judge with the same model hold it once.
_IN_USE: WeakValueDictionary[str, Component] = WeakValueDictionary()


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
    def weights(self) -> WeightFile | None:
        """The metric's own weights, None for one that has none; raises as for any other component."""
        return choose_weights(self.part, Wanted())

    @cached_property
    def _built(self) -> dict[str, Component]:
        """The helpers, built once for all runs, and on the CPU: scores must not depend on where captions are made."""
        found = {}
        for role, (part, file) in self.helpers.items():
            key = json.dumps([part.to_dict(), self.hashes.get(role)], sort_keys=True, default=str)
            made = _IN_USE.get(key) or place(build_part(part, BuildContext(weights=file)), torch.device("cpu"))
            found[role] = _IN_USE[key] = made
        return found

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The content hash of the weights of each helper that has some, by role."""
        return {role: content_hash(file) for role, (_, file) in self.helpers.items() if file is not None}

    def build(self, dataset: Dataset | None) -> Metric:
        """Make a fresh metric for samples of a data set, or for samples of no data set at all.

        Raises:
            RegionkitError: It cannot judge these data, or with what its options name.
        """
        parts = dict(self._built)
        if dataset is not None:
            parts["dataset"] = dataset
        context = BuildContext(weights=self.weights, parts=parts, hashes=self.hashes)
        metric: Metric = build_part(self.part, context)  # type: ignore[assignment]
        return metric

    def columns(self, dataset: Dataset | None) -> tuple[str, ...]:
        """Return what its values are called in tables and claims; raises as :meth:`build`."""
        return tuple(column(self.label, part) for part in self.build(dataset).parts) or (self.label,)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides what it says of captions: options, and those of its helpers with weight hashes."""
        helpers = {
            role: {**part.to_dict(), **({"sha256": self.hashes[role]} if role in self.hashes else {})}
            for role, (part, _) in self.helpers.items()
        }
        own = {"sha256": content_hash(self.weights)} if self.weights is not None else {}
        return {**self.part.to_dict(), **own, **helpers}

    @property
    def specs(self) -> list[ComponentSpec]:
        """The metric and its helpers, whose code decides what it says."""
        return [self.part.spec, *(part.spec for part, _ in self.helpers.values())]

    def judges(self, dataset: Dataset | None, sample: Sample) -> bool:
        """Say whether the metric is about what such a sample is asked: for a caption, or for one of some candidates."""
        return ("candidates" in self.build(dataset).needs) == bool(sample.candidates)
