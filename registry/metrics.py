"""Metrics from their names and options: with the components that they judge with, for every command that judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset, Metric, Sample, column
from regionkit.core.spec import ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.assembly import build_part
from regionkit.registry.helpers import Helpers
from regionkit.registry.schema import Part
from regionkit.registry.weights.choice import Wanted, choose_weights
from regionkit.registry.weights.index import content_hash


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
        return self._helpers.chosen

    @cached_property
    def _helpers(self) -> Helpers:
        return Helpers(self.part)

    @cached_property
    def weights(self) -> WeightFile | None:
        """The metric's own weights, None for one that has none; raises as for any other component."""
        return choose_weights(self.part, Wanted())

    @property
    def hashes(self) -> dict[str, str]:
        """The content hash of the weights of each helper that has some, by role."""
        return self._helpers.hashes

    def build(self, dataset: Dataset | None) -> Metric:
        """Make a fresh metric for samples of a data set, or for samples of no data set at all.

        Raises:
            RegionkitError: It cannot judge these data, or with what its options name.
        """
        parts: dict[str, Any] = dict(self._helpers.built)
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
        own = {"sha256": content_hash(self.weights)} if self.weights is not None else {}
        return {**self.part.to_dict(), **own, **self._helpers.to_dict()}

    @property
    def specs(self) -> list[ComponentSpec]:
        """The metric and its helpers, whose code decides what it says."""
        return [self.part.spec, *self._helpers.specs]

    def judges(self, dataset: Dataset | None, sample: Sample) -> bool:
        """Say whether the metric is about what such a sample is asked: for a caption, or for one of some candidates."""
        return ("candidates" in self.build(dataset).needs) == bool(sample.candidates)
