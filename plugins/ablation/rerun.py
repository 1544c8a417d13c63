"""Recorded trials run again, with the machinery of ablations, and what came out held against what was stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset
from regionkit.core.errors import RegionkitError
from regionkit.core.perturbing import Perturbation
from regionkit.core.results import ResultStore, SampleRow, TrialResult
from regionkit.core.spec import PARTS
from regionkit.core.tasks import Task
from regionkit.plugins.ablation.data_refs import DataRef
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.spec import AblationSpec, Settings
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.plugins.ablation.trials import AblationPlan, Combination, Selection, Trial, digest
from regionkit.registry import get_registry
from regionkit.registry.assembly import build_part
from regionkit.registry.metrics import MetricRef
from regionkit.registry.recorded import recorded_plan
from regionkit.registry.recorded_changes import recorded_changes, recorded_metrics
from regionkit.registry.run_folders import RunTrial
from regionkit.registry.schema import fill

#: Captions that differ, of which both texts are kept.
_KEPT = 10


@dataclass(frozen=True, slots=True)
class OtherCaption:
    """A sample whose caption is not what it was: both texts, or the reasons why there is none."""

    sample: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class OtherScore:
    """A column whose value is not what it was; None where there is none."""

    column: str
    then: float | None
    now: float | None


@dataclass
class Rerun:
    """What running a trial again came to.

    Attributes:
        trial: The trial.
        samples: Samples that were stored.
        same: How many of them have the caption, or the lack of one, that they had.
        captions: The first of those that have not.
        columns: Columns of scores that were compared.
        scores: Those that differ.
        unscored: Columns, or metrics, that could not be compared, and why.
        changes: What is not as it was when the trial ran.
        notes: What was noted when it ran.
        error: Why it could not be run again at all.
    """

    trial: RunTrial
    samples: int = 0
    same: int = 0
    captions: list[OtherCaption] = field(default_factory=list)
    columns: int = 0
    scores: list[OtherScore] = field(default_factory=list)
    unscored: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def identical(self) -> bool:
        """Whether every caption is what it was, and every score that could be compared."""
        return not self.error and self.same == self.samples and not self.scores


class Rerunner:
    """Runs recorded trials again; trials that share data, models and stages share them here, too.

    Nothing is taken from the cache of stages: what it holds may come from the very run that is checked.

    Args:
        store: The results, which are only read.
        options: How to run.
        scores: Whether to judge the captions again.
    """

    def __init__(self, store: ResultStore, options: RunOptions, *, scores: bool = True) -> None:
        self._store, self._options, self._scores = store, options, scores
        self._selections: dict[str, Selection] = {}

    def run(self, trials: Sequence[RunTrial]) -> Iterator[Rerun]:
        """Run trials again, those with the same metrics and precision together; one that cannot be run says why."""
        groups: dict[str, list[tuple[RunTrial, TrialResult]]] = {}
        for trial in trials:
            recorded = self._store.recorded(trial.id)
            assert recorded is not None
            words = recorded.config.get("metrics", {}), asdict(_settings(recorded))
            groups.setdefault(json.dumps(words, sort_keys=True), []).append((trial, recorded))
        for group in groups.values():
            yield from self._group(group)

    def _group(self, group: Sequence[tuple[RunTrial, TrialResult]]) -> Iterator[Rerun]:
        metrics, lost = recorded_metrics(group[0][1].config) if self._scores else ([], {})
        planned: list[tuple[RunTrial, TrialResult, Trial | Rerun]] = []
        for trial, recorded in group:
            try:
                planned.append((trial, recorded, self._planned(recorded)))
            except RegionkitError as error:
                planned.append((trial, recorded, Rerun(trial, len(recorded.samples), error=str(error))))
        todo = [made for _, _, made in planned if isinstance(made, Trial)]
        runner = TrialRunner(_ablation(metrics, todo, _settings(group[0][1])), self._options)
        try:
            runner.expect(todo)
            for trial, recorded, made in planned:
                if isinstance(made, Rerun):
                    yield made
                    continue
                found = compared(trial, recorded, runner.run(made), self._store, judged=self._scores)
                found.unscored |= lost
                found.changes = recorded_changes(recorded.config, made.combination.plan, made.selection.dataset)
                yield found
        finally:
            runner.close()

    def _planned(self, recorded: TrialResult) -> Trial:
        """Return a trial as it would run now.

        Raises:
            RegionkitError: A part, its weights or its data are not there any more.
        """
        plan = recorded_plan(recorded.config)
        names = {kind: plan.parts[kind].name for kind in PARTS}
        # Weights that are others by now are told of, and are no reason not to run.
        config = {**recorded.config, "pipeline": plan.to_dict()}
        return Trial(recorded.id, Combination(names, names, plan), self._selection(recorded.config["data"]), config)

    def _selection(self, stored: Mapping[str, Any]) -> Selection:
        """Return the samples of a trial; trials that look at the same share them."""
        key = digest(stored)
        if key not in self._selections:
            perturbation = stored.get("perturbation")
            if perturbation is None:
                self._selections[key] = _selection(stored)
            else:
                clean = self._selection({name: value for name, value in stored.items() if name != "perturbation"})
                self._selections[key] = _perturbed(clean, Perturbation.from_dict(perturbation))
        return self._selections[key]


def _settings(recorded: TrialResult) -> Settings:
    """Return in which precision outputs of stages were handed on, and models computed."""
    halved = recorded.config.get("cache_precision") == "float16"
    return Settings(
        precision="float16" if halved else "float32",
        computed="bfloat16" if recorded.config.get("precision") == "bfloat16" else "float32",
    )


def _ablation(metrics: Sequence[MetricRef], trials: Sequence[Trial], settings: Settings) -> AblationPlan:
    """Return the plan of trials that one set of metrics judges."""
    spec = AblationSpec(settings=settings)
    return AblationPlan("rerun", spec, list(PARTS), list(metrics), trials=list(trials))


def _selection(stored: Mapping[str, Any]) -> Selection:
    """Build the data set and the task of a trial.

    Raises:
        RegionkitError: One of them is not installed any more, or has other options, or the data are gone.
    """
    part = fill("dataset", stored["dataset"])
    assert part is not None
    dataset = build_part(part, BuildContext())
    assert isinstance(dataset, Dataset)
    name = stored["task"]["name"]
    options = {key: value for key, value in stored["task"].items() if key != "name"}
    task, task_part = Task(), None
    if name in [spec.name for spec in get_registry().specs("task")]:
        task_part = fill("task", stored["task"])
        assert task_part is not None
        task = build_part(task_part, BuildContext())  # type: ignore[assignment]
    ref = DataRef(name, stored["dataset"], "data", options, stored["split"])
    settings = Settings((stored["seed"],), stored["limit"], stored["split"])
    return Selection(ref, part, dataset, stored["seed"], settings, stored["split"], task, task_part)


def _perturbed(clean: Selection, perturbation: Perturbation) -> Selection:
    return replace(clean, ref=replace(clean.ref, perturbation=perturbation), clean=clean)


def compared(trial: RunTrial, then: TrialResult, now: TrialResult, store: ResultStore, *, judged: bool) -> Rerun:
    """Hold what came out of a trial now against what is stored.

    Args:
        trial: The trial.
        then: What is stored; its scores are read from ``store``.
        now: What came out.
        store: The results.
        judged: Whether scores were made again.
    """
    found = Rerun(trial, len(then.samples), notes=then.notes)
    if not now.samples:
        if then.samples or then.reason != now.reason:
            found.error = now.reason
        else:
            found.notes = (*then.notes, f"it failed, and fails again for the same reason: {now.reason}")
        return found
    again = {row.sample: row for row in now.samples}
    for row in then.samples:
        if row.sample in again and _told(row) == _told(again[row.sample]):
            found.same += 1
        elif len(found.captions) < _KEPT:
            made = again.get(row.sample)
            words = "(the data have no such sample any more)" if made is None else _told(made)
            found.captions.append(OtherCaption(row.sample, _told(row), words))
    known = {row.sample for row in then.samples}
    added = [row for row in now.samples if row.sample not in known]
    if added:
        found.samples += len(added)
        found.captions += [OtherCaption(row.sample, "(was not there)", _told(row)) for row in added[:_KEPT]]
    if judged:
        _compare_scores(found, now, store)
    return found


def _compare_scores(found: Rerun, now: TrialResult, store: ResultStore) -> None:
    made = {row.metric: row for row in now.metrics}
    for column, (value, signature, _) in store.scores(found.trial.id).items():
        if column not in made:
            found.unscored[column] = now.reason or "its metric could not be made again"
            continue
        found.columns += 1
        if made[column].value != value or made[column].signature != signature:
            found.scores.append(OtherScore(column, value, made[column].value))


def _told(row: SampleRow) -> str:
    """Return the caption of a sample, or why it has none."""
    return f"(no caption: {row.error})" if row.caption is None else row.caption
