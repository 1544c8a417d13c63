"""The data sets and metrics of an ablation, built once so that what is wrong with them shows before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset
from regionkit.core.errors import Problem, RegionkitError, did_you_mean
from regionkit.core.tasks import Task
from regionkit.plugins.ablation.data_refs import DataRef
from regionkit.plugins.ablation.mistakes import Mistakes
from regionkit.plugins.ablation.spec import AblationSpec, Settings, expand
from regionkit.plugins.ablation.trials import Selection, digest
from regionkit.plugins.ablation.words import text
from regionkit.registry import get_registry
from regionkit.registry.assembly import build_part
from regionkit.registry.metrics import MetricRef
from regionkit.registry.schema import Part, fill

#: Words of papers and of people for tasks that are called otherwise here.
_ALSO_CALLED = {
    "region-set": "box-set", "set": "box-set", "region": "box", "caption": "image", "captioning": "image",
    "referring": "ris", "segmentation": "ris", "refer": "ris", "category": "keyword", "detailed": "detail",
}  # fmt: skip


class SampleReader:
    """Reads metrics and selections of samples from an ablation's specification."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._line = mistakes.document.line
        self._datasets: dict[str, Dataset] = {}

    def metrics(self, spec: AblationSpec) -> list[MetricRef]:
        """Return the metrics that the file names, each label once."""
        metrics: list[MetricRef] = []
        for value, path in spec.metrics:
            for ref in self._named(value, path):
                held = {other.label: other.part.to_dict() for other in metrics}
                if held.get(ref.label, ref.part.to_dict()) != ref.part.to_dict():
                    # A label leaves out much of what a judge is; two metrics that it would make one are told apart.
                    ref = MetricRef(in_full(ref.part), ref.part)
                if ref.label in held:
                    self._mistakes.add(path, f"the metric '{ref.label}' is listed twice")
                metrics.append(ref)
        return metrics

    def own_metrics(self, selections: Sequence[Selection]) -> OwnMetrics:
        """Return the metrics that tasks report where nobody names any: those of them that can judge here."""
        found = OwnMetrics()
        for selection in {one.ref.label: one for one in reversed(selections)}.values():
            label, task = selection.ref.label, selection.ref.task
            for name in selection.task.metrics:
                reason = found.add(label, name, selection)
                if reason:
                    found.left_out.append((label, name, reason))
            if not found.own.setdefault(label, []):
                why = [f"{name}: {reason}" for data, name, reason in found.left_out if data == label]
                message = f"no metric is named, and task '{task}' has none of its own that can judge {label}"
                self._mistakes.add(selection.ref.path, message, *why, "name some: metrics: [bleu, cider-d]")
        order = list(dict.fromkeys(one.ref.label for one in selections))
        found.own = {label: found.own[label] for label in order}
        found.left_out.sort(key=lambda one: order.index(one[0]))
        ranks = [name for one in selections for name in one.task.metrics]
        found.metrics.sort(key=lambda ref: ranks.index(ref.label))
        return found

    def selections(self, spec: AblationSpec) -> list[Selection]:
        """Return the samples of every data set under every seed; a data set without samples is a mistake.

        Those whose regions are perturbed follow the ones that they are made of.
        """
        found: list[Selection] = []
        clean: list[Selection] = []
        for ref in spec.data:
            if ref.perturbation is None:
                clean = self._of(ref, spec.settings)
                found += clean
            else:
                found += [replace(one, ref=ref, clean=one) for one in clean]
        return found

    def _named(self, value: Any, path: str) -> Iterator[MetricRef]:
        values = expand("metric", value, path)
        if not values:
            self._mistakes.add(path, "a list in it is empty, so it names no metric")
        for one in values:
            part = fill("metric", one.value, self._line, path, self._mistakes.found)
            if part is not None:
                yield MetricRef(one.label, part)

    def _of(self, ref: DataRef, settings: Settings) -> list[Selection]:
        part, known = self._dataset(ref), self._task(ref)
        if part is None:
            return []
        tasks = part.spec.accepts
        if tasks and ref.task not in tasks:
            message = f"'{part.name}' has no task '{ref.task}'"
            self._mistakes.add(ref.path, message, *_other_tasks(ref.task, tasks))
            return []
        if known is None:
            return []
        try:
            return self._samples(ref, part, settings, *known)
        except RegionkitError as error:
            self._mistakes.add(ref.path, error.message, *error.hints)
            return []

    def _dataset(self, ref: DataRef) -> Part | None:
        """Return the data set with its options filled; keys of the entry itself may be misspelt, too."""
        found: list[Problem] = []
        part = fill("dataset", dict(ref.dataset), self._line, ref.path, found)
        for problem in found:
            key = problem.path.rpartition(".")[2]
            close = did_you_mean(key, ("split", "task")) if key in ref.dataset else ""
            hints = (close, *problem.hints) if close and not problem.hints[0].startswith("did") else problem.hints
            self._mistakes.found.append(replace(problem, hints=hints))
        return part

    def _task(self, ref: DataRef) -> tuple[Task, Part | None] | None:
        """Build the task; a word that only the data set knows is a task without a protocol of its own."""
        if ref.task not in [spec.name for spec in get_registry().specs("task")]:
            if ref.task_options:
                self._mistakes.add(ref.path, f"task '{ref.task}' has no options: no plugin brings a task of that name")
                return None
            return Task(), None
        options = {"name": ref.task, **ref.task_options}
        part = fill("task", options, self._line, f"{ref.path}.task", self._mistakes.found)
        if part is None:
            return None
        try:
            return build_part(part, BuildContext()), part  # type: ignore[return-value]
        except RegionkitError as error:
            self._mistakes.add(ref.path, error.message, *error.hints)
            return None

    def _samples(
        self, ref: DataRef, part: Part, settings: Settings, task: Task, task_part: Part | None
    ) -> list[Selection]:
        """Return the selections of a data set, one a seed, that have samples.

        Raises:
            RegionkitError: The data set itself refuses; its files may be missing.
        """
        key = digest(part.to_dict())
        if key not in self._datasets:
            self._datasets[key] = build_part(part, BuildContext())  # type: ignore[assignment]
        dataset = self._datasets[key]
        split = ref.split or settings.split or ("test" if "test" in dataset.splits else dataset.splits[0])
        if split not in dataset.splits:
            splits = ", ".join(dataset.splits)
            where = ref.path if ref.split else "split"
            hints = did_you_mean(split, dataset.splits), f"it has: {splits}"
            self._mistakes.add(where, f"'{part.name}' has no split '{split}'", *hints)
            return []
        selections = [Selection(ref, part, dataset, seed, settings, split, task, task_part) for seed in settings.seeds]
        for selection in selections:
            if not selection.samples:
                self._mistakes.add(ref.path, f"{ref.label} has no sample in split '{split}'")
        return [selection for selection in selections if selection.samples]

    def columns(
        self,
        metrics: Sequence[MetricRef],
        selections: Sequence[Selection],
        own: Mapping[str, Sequence[str]] | None = None,
    ) -> list[str]:
        """Return what the values of metrics are called; one that cannot be built has one: :meth:`check` tells why.

        Args:
            metrics: The metrics.
            selections: What they judge.
            own: Which of them judge which data, where that is up to the tasks.
        """
        found: list[str] = []
        for ref in metrics:
            judged = [one for one in selections if own is None or ref.label in own[one.ref.label]]
            try:
                found += ref.columns(judged[0].dataset) if judged else (ref.label,)
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
        lacks = lacking(ref, selection)
        if lacks:
            self._mistakes.add("metrics", *lacks)


def in_full(part: Part) -> str:
    """Return a label that says every option that was given."""
    options = part.to_dict()
    return f"{part.name}({', '.join(f'{key}={text(options[key])}' for key in options if key in part.given)})"


def _other_tasks(word: str, tasks: Sequence[str]) -> tuple[str, str, str]:
    """Return hints for a task that a data set lacks: what may be meant, what it has, which data sets have that task."""
    also = _ALSO_CALLED.get(word, "")
    meant = f"did you mean: {also}" if also in tasks else did_you_mean(word, tasks)
    others = [spec.name for spec in get_registry().specs("dataset") if word in spec.accepts]
    return meant, f"it has: {', '.join(tasks)}", f"data sets that have it: {', '.join(others)}" if others else ""


def lacking(ref: MetricRef, selection: Selection) -> tuple[str, ...]:
    """Say what a metric needs and samples lack, and what they carry; empty where they carry it all."""
    sample = selection.samples[0]
    lost = [need.replace("|", " or ") for need in ref.build(selection.dataset).needs if not sample.carries(need)]
    if not lost:
        return ()
    words = ("image", "references", "candidates", *sorted(sample.info))
    has = ", ".join(word for word in words if sample.carries(word))
    message = f"{ref.label} needs {', '.join(lost)}, which samples of {selection.ref.label} lack"
    return message, f"they carry: {has}"


@dataclass
class OwnMetrics:
    """The metrics of tasks.

    Attributes:
        metrics: All of them, each once.
        own: Their labels by ``TASK@NAME``.
        left_out: Those that cannot judge here: ``TASK@NAME``, metric and reason.
    """

    metrics: list[MetricRef] = field(default_factory=list)
    own: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, label: str, name: str, selection: Selection) -> str:
        """Take in a metric, or say why it cannot judge a selection."""
        ref = next((one for one in self.metrics if one.label == name), None)
        try:
            if ref is None:
                part = fill("metric", {"name": name})
                assert part is not None  # without a list to take them, mistakes are raised
                ref = MetricRef(name, part)
            reason = "".join(lacking(ref, selection)[:1])
            if not reason and not ref.judges(selection.dataset, selection.samples[0]):
                reason = "it is for another kind of task"
        except RegionkitError as error:
            reason = " - ".join([error.message, *error.hints[:1]])
        if reason:
            return reason
        assert ref is not None
        if ref not in self.metrics:
            self.metrics.append(ref)
        self.own.setdefault(label, []).append(name)
        return ""
