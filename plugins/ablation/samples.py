"""The data sets and metrics of an ablation, built once so that what is wrong with them shows before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset
from regionkit.core.errors import RegionkitError, did_you_mean
from regionkit.plugins.ablation.mistakes import Mistakes
from regionkit.plugins.ablation.spec import AblationSpec, DataRef, Settings, expand
from regionkit.plugins.ablation.trials import Selection, digest
from regionkit.registry.assembly import build_part
from regionkit.registry.metrics import MetricRef
from regionkit.registry.schema import Part, fill


class SampleReader:
    """Reads metrics and selections of samples from an ablation's specification."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._line = mistakes.document.line
        self._datasets: dict[str, Dataset] = {}

    def metrics(self, spec: AblationSpec) -> list[MetricRef]:
        """Return the metrics, each label once."""
        metrics: list[MetricRef] = []
        for value, path in spec.metrics:
            for ref in self._named(value, path):
                if ref.label in [other.label for other in metrics]:
                    self._mistakes.add(path, f"the metric '{ref.label}' is listed twice")
                metrics.append(ref)
        return metrics

    def selections(self, spec: AblationSpec) -> list[Selection]:
        """Return the samples of every data set under every seed; a data set without samples is a mistake."""
        return [one for ref in spec.data for one in self._of(ref, spec.settings)]

    def _named(self, value: Any, path: str) -> Iterator[MetricRef]:
        values = expand("metric", value, path)
        if not values:
            self._mistakes.add(path, "a list in it is empty, so it names no metric")
        for one in values:
            part = fill("metric", one.value, self._line, path, self._mistakes.found)
            if part is not None:
                yield MetricRef(one.label, part)

    def _of(self, ref: DataRef, settings: Settings) -> list[Selection]:
        part = fill("dataset", dict(ref.dataset), self._line, ref.path, self._mistakes.found)
        if part is None:
            return []
        tasks = part.spec.accepts
        if tasks and ref.task not in tasks:
            hint = did_you_mean(ref.task, tasks)
            self._mistakes.add(ref.path, f"'{part.name}' has no task '{ref.task}'", hint, f"it has: {', '.join(tasks)}")
            return []
        try:
            return self._samples(ref, part, settings)
        except RegionkitError as error:
            self._mistakes.add(ref.path, error.message, *error.hints)
            return []

    def _samples(self, ref: DataRef, part: Part, settings: Settings) -> list[Selection]:
        """Return the selections of a data set, one a seed, that have samples.

        Raises:
            RegionkitError: The data set itself refuses; its files may be missing.
        """
        key = digest(part.to_dict())
        if key not in self._datasets:
            self._datasets[key] = build_part(part, BuildContext())  # type: ignore[assignment]
        dataset = self._datasets[key]
        if settings.split not in dataset.splits:
            splits = ", ".join(dataset.splits)
            self._mistakes.add("split", f"'{part.name}' has no split '{settings.split}'", f"it has: {splits}")
            return []
        selections = [Selection(ref, part, dataset, seed, settings) for seed in settings.seeds]
        for selection in selections:
            if not selection.samples:
                self._mistakes.add(ref.path, f"{ref.label} has no sample in split '{settings.split}'")
        return [selection for selection in selections if selection.samples]

    def columns(self, metrics: Sequence[MetricRef], selections: Sequence[Selection]) -> list[str]:
        """Return what the values of metrics are called; one that cannot be built has one: :meth:`check` tells why."""
        found: list[str] = []
        for ref in metrics:
            try:
                found += ref.columns(selections[0].dataset) if selections else (ref.label,)
            except RegionkitError:
                found.append(ref.label)
        return found

    def check(self, metrics: Sequence[MetricRef], selections: Sequence[Selection]) -> None:
        """Build every metric once, and check that samples carry what it needs, before hours are spent on captions."""
        once = {selection.ref.label: selection for selection in selections}
        for ref in metrics:
            judged = [selection for selection in once.values() if self._judges(ref, selection)]
            for selection in judged:
                self._check_carries(ref, selection)
            if once and not judged and not self._mistakes.found:
                message = f"{ref.label} judges none of the data: it is for another kind of task"
                self._mistakes.add("metrics", message, "leave it out, or add a task that it is for to data")

    def _judges(self, ref: MetricRef, selection: Selection) -> bool:
        try:
            return ref.judges(selection.dataset, selection.samples[0])
        except RegionkitError as error:
            self._mistakes.add("metrics", f"{ref.label} on {selection.ref.label}: {error.message}", *error.hints)
            return False

    def _check_carries(self, ref: MetricRef, selection: Selection) -> None:
        """Note what a metric needs and samples lack."""
        sample = selection.samples[0]
        needs = ref.build(selection.dataset).needs
        lacking = [need.replace("|", " or ") for need in needs if not sample.carries(need)]
        if lacking:
            words = ("image", "references", "candidates", *sorted(sample.info))
            has = ", ".join(word for word in words if sample.carries(word))
            message = f"{ref.label} needs {', '.join(lacking)}, which samples of {selection.ref.label} lack"
            self._mistakes.add("metrics", message, f"they carry: {has}")
