"""From an ablation file to its trials: what runs, what cannot run and why, before any weight is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.errors import ConfigError
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.claims import ClaimCheck, check_names
from regionkit.plugins.ablation.exclusion import Exclusion
from regionkit.plugins.ablation.mistakes import Mistakes
from regionkit.plugins.ablation.pipelines import PipelinePlanner
from regionkit.plugins.ablation.samples import SampleReader
from regionkit.plugins.ablation.spec import AblationSpec, SpecReader
from regionkit.plugins.ablation.stage_keys import texts_digest
from regionkit.plugins.ablation.trials import (
    AblationPlan,
    Combination,
    Refused,
    Selection,
    Trial,
    digest,
)
from regionkit.plugins.ablation.words import counted
from regionkit.registry import get_registry
from regionkit.registry.document import Document, check_reader, read_document
from regionkit.registry.metrics import MetricRef
from regionkit.registry.plan import PipelinePlan

#: Modules of this plugin that decide what a trial gives.
_DECIDING = (
    "answering", "asking", "batches", "cache.rounding", "encoding", "memory", "referring", "samples", "stages",
    "trial_runner", "trials",
)  # fmt: skip
#: Packages beside core and those of a trial's parts whose code decides what a trial gives.
#: How results are shown, judged against claims and analysed has no say in them: a finished run stays finished.
RUNNER_PACKAGES = (
    "regionkit.registry",
    *(f"regionkit.plugins.ablation.{module}" for module in _DECIDING),
)
#: Keys of an ablation that have no say in what its pipelines are.
_KEYS_BESIDE_PIPELINES = (
    "data",
    "robustness",
    "metrics",
    "seeds",
    "claims",
    "correction",
    "limit",
    "split",
    "on_error",
    "precision",
    "cache_precision",
    "launcher",
)


def plan_ablation(
    source: str | Path | Document, overrides: Sequence[str] = (), *, to_show: bool = False
) -> AblationPlan:
    """Read an ablation file, check all of it, and lay out its trials.

    Args:
        source: The file.
        overrides: Changes of single values, ``a.b=c``.
        to_show: Leave mistakes of claims and of patterns in the plan's ``mistakes``: who mends them needs to see the
            trials that they are about.

    Raises:
        ConfigError: The file has mistakes, or no trial can run; all that is known is named.
    """
    if not isinstance(source, Document):
        source = read_document(source, overrides)
        check_reader(source, "ablate")
    plan = Planner(source).plan()
    if plan.mistakes and not to_show:
        raise ConfigError(plan.mistakes)
    return plan


def check_file(document: Document) -> str:
    """Say on one line what an ablation comes to, for ``toolkit validate``; raises as :func:`plan_ablation`."""
    plan = plan_ablation(document)
    pipelines = len({id(trial.combination) for trial in plan.trials})
    data = len({trial.selection.ref.clean for trial in plan.trials})
    perturbed = {one.label for trial in plan.trials if (one := trial.selection.ref.perturbation) is not None}
    sizes = (
        (pipelines, "pipeline"),
        (data, "data set"),
        *([(len(perturbed), "perturbation")] if perturbed else []),
        (len(plan.spec.settings.seeds), "seed"),
        (len(plan.metrics), "metric"),
        (len(plan.spec.claims), "claim"),
    )
    text = f"ablation: {counted(len(plan.trials), 'trial')} of {', '.join(counted(*size) for size in sizes)}"
    refused = sum(one.count for one in plan.refused)
    return f"{text}; {counted(refused, 'trial')} cannot run, see toolkit ablate --plan" if refused else text


class Planner:
    """Lays out the trials of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.mistakes = Mistakes(document)
        self._exclusion = Exclusion(())
        self._codes: dict[tuple[str, ...], str] = {}
        self._texts: dict[str, str] = {}
        self._digests: dict[tuple[str, int], tuple[Any, str]] = {}
        self._judges: dict[tuple[str, ...], dict[str, Any]] = {}
        self._ids: set[str] = set()

    def plan(self) -> AblationPlan:
        """Return the plan, with what is wrong with its claims and patterns.

        Raises:
            ConfigError: Something else is wrong, or no trial can run.
        """
        spec = SpecReader(self.document.data, self.document.line, self.mistakes.found).read()
        self._exclusion = Exclusion(spec.exclude)
        reader = SampleReader(self.mistakes)
        metrics = reader.metrics(spec)
        selections = reader.selections(spec)
        clean = [one for one in selections if one.clean is None]
        tasks = reader.own_metrics(clean) if not spec.metrics else None
        if tasks is not None:
            metrics = tasks.metrics
        columns = reader.columns(metrics, clean, tasks.own if tasks is not None else None)
        self._check_names(spec, columns)
        if tasks is None:
            reader.check(metrics, clean)
        plan = AblationPlan(self.document.name, spec, spec.axes or list(PARTS), metrics, columns)
        plan.document = self.document
        if tasks is not None:
            plan.own, plan.left_out = tasks.own, tasks.left_out
        pipelines = PipelinePlanner(self.mistakes).plan(plan, selections, self._exclusion)
        if any(problem.path.partition(".")[0] != "claims" for problem in self.mistakes.found):
            # That no pipeline can be assembled is news unless it may follow from another mistake.
            aside = all(problem.path.partition(".")[0] in _KEYS_BESIDE_PIPELINES for problem in self.mistakes.found)
            if aside and plan.refused and not (pipelines or plan.excluded):
                self._none_can_run(plan)
            self.mistakes.tell()
        for combination in pipelines:
            for selection in selections:
                self._place(combination, selection, plan)
        if not plan.trials:
            self._none_can_run(plan)
            self.mistakes.tell()
        self._check_claims(plan)
        for index in self._exclusion.unused():
            self.mistakes.add(
                f"exclude.{index}", "this pattern takes out no trial", "see the trials with --plan, or remove it"
            )
        plan.mistakes = self.mistakes.told()
        return plan

    def _check_names(self, spec: AblationSpec, columns: Sequence[str]) -> None:
        """Check the data sets and metrics that claims name, unless a mistake in their own list may be to blame."""
        data = [ref.label for ref in spec.data]
        known = (None if self.mistakes.about("data") else data, None if self.mistakes.about("metrics") else columns)
        for claim in spec.claims:
            check_names(claim, *known, self.mistakes.add)

    def _check_claims(self, plan: AblationPlan) -> None:
        trials = [trial.axes for trial in plan.trials]
        refused = [(one.axes, one.reason) for one in plan.refused]
        for claim in plan.spec.claims:
            if not self.mistakes.about(claim.path):
                ClaimCheck(claim, trials, refused, self.mistakes.add).check(plan.spec.mates(claim.axis))

    def _none_can_run(self, plan: AblationPlan) -> None:
        reasons = list(dict.fromkeys(refused.reason for refused in plan.refused))[:5]
        excluded = f"exclude takes out {counted(plan.excluded, 'trial')}" if plan.excluded else ""
        self.mistakes.add("", f"no trial of {self.document.name} can run", *reasons, excluded)

    def _place(self, combination: Combination, selection: Selection, plan: AblationPlan) -> None:
        """Add a trial, or note why it does not run."""
        label = selection.ref.label
        if self._exclusion.takes_out(combination.labels, combination.names, selection):
            plan.excluded += 1
            return
        encoder = combination.plan.parts["region_encoder"]
        kinds = selection.kinds - set(encoder.spec.accepts)
        if encoder.spec.accepts and kinds:
            reason = (
                f"{encoder.name} does not take {', '.join(sorted(kinds))} regions; "
                f"it takes: {', '.join(encoder.spec.accepts)}"
            )
            plan.refused.append(Refused(combination.labels, combination.names, label, reason, 1))
            return
        if selection.untouched:
            plan.refused.append(Refused(combination.labels, combination.names, label, selection.untouched, 1))
            return
        judges = plan.metrics if plan.own is None else plan.metrics_of(selection)
        config = self._config(combination, selection, judges)
        trial = Trial(self._id(config, combination.plan), combination, selection, config)
        if trial.id in self._ids:
            plan.repeated += 1
        else:
            self._ids.add(trial.id)
            plan.trials.append(trial)

    def _id(self, config: Mapping[str, Any], plan: PipelinePlan) -> str:
        """Return a digest of a trial's configuration; what trials share of it is digested once."""
        parts = {"pipeline": plan.identity}
        for name, value in config.items():
            key = (name, id(value))
            if name not in parts and key not in self._digests:
                self._digests[key] = (value, digest(value))  # held, so that its place in memory stays its own
            parts.setdefault(name, self._digests[key][1] if key in self._digests else "")
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _config(self, combination: Combination, selection: Selection, metrics: Sequence[MetricRef]) -> dict[str, Any]:
        texts = [self._texts_of(name) for name in combination.plan.fit_corpus.values()]
        precision, computed = selection.settings.precision, selection.settings.computed
        return {
            "pipeline": combination.plan.to_dict(),
            "data": selection.record,
            "metrics": self._judging(metrics),
            "code": self._code(combination.plan, selection, metrics),
            **({"texts": texts} if any(texts) else {}),
            **({"cache_precision": precision} if precision != "float32" else {}),
            **({"precision": computed} if computed != "float32" else {}),
        }

    def _code(self, plan: PipelinePlan, selection: Selection, metrics: Sequence[MetricRef]) -> str:
        """Return the version of the code that a trial runs."""
        used = (*(part.name for part in plan.parts.values()), *plan.fit_corpus.values())
        key = (*used, str(id(selection)), *(metric.label for metric in metrics))
        if key not in self._codes:
            registry = get_registry()
            specs = [part.spec for part in (*plan.parts.values(), selection.part, selection.task_part) if part]
            specs += [registry.find("corpus", name) for name in plan.fit_corpus.values()]
            specs += [spec for metric in metrics for spec in metric.specs]
            every = {(spec.kind, spec.name): spec for spec in specs}
            self._codes[key] = registry.code_version(every.values(), RUNNER_PACKAGES)
        return self._codes[key]

    def _judging(self, metrics: Sequence[MetricRef]) -> dict[str, Any]:
        key = tuple(metric.label for metric in metrics)
        if key not in self._judges:
            self._judges[key] = {metric.label: metric.to_dict() for metric in metrics}
        return self._judges[key]

    def _texts_of(self, corpus: str) -> str:
        if corpus not in self._texts:
            self._texts[corpus] = texts_digest(corpus)
        return self._texts[corpus]
