"""From an ablation file to its trials: what runs, what cannot run and why, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from regionkit.core.contracts import BuildContext, Dataset
from regionkit.core.errors import ConfigError, Problem, RegionkitError, did_you_mean
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.claims import check_claim, check_names
from regionkit.plugins.ablation.spec import (
    AblationSpec,
    AxisValue,
    DataRef,
    Settings,
    SpecReader,
    Where,
    combinations,
    expand,
    merge,
    text,
)
from regionkit.plugins.ablation.trials import (
    AblationPlan,
    Combination,
    MetricRef,
    Refused,
    Selection,
    Trial,
    digest,
)
from regionkit.registry import get_registry
from regionkit.registry.assembly import build_part
from regionkit.registry.document import Document, read_document
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.schema import Part, by_line, fill

#: Packages beside core and those of a trial's parts whose code decides what a trial gives.
RUNNER_PACKAGES = ("regionkit.registry", "regionkit.plugins.ablation")
#: Keys of an ablation that have no say in what its pipelines are.
_KEYS_BESIDE_PIPELINES = ("data", "metrics", "seeds", "claims", "limit", "split", "on_error")


def plan_ablation(source: str | Path | Document, overrides: Sequence[str] = ()) -> AblationPlan:
    """Read an ablation file, check all of it, and lay out its trials.

    Raises:
        ConfigError: The file has mistakes, or no trial can run; all that is known is named.
    """
    document = source if isinstance(source, Document) else read_document(source, overrides)
    return Planner(document).plan()


def check_file(document: Document) -> str:
    """Say on one line what an ablation comes to, for ``toolkit validate``; raises as :func:`plan_ablation`."""
    plan = plan_ablation(document)
    pipelines = len({id(trial.combination) for trial in plan.trials})
    data = len({trial.selection.ref.label for trial in plan.trials})
    sizes = (
        (pipelines, "pipeline"),
        (data, "data set"),
        (len(plan.spec.settings.seeds), "seed"),
        (len(plan.metrics), "metric"),
        (len(plan.spec.claims), "claim"),
    )
    text = f"ablation: {_count(len(plan.trials), 'trial')} of {', '.join(_count(*size) for size in sizes)}"
    refused = sum(one.count for one in plan.refused)
    return f"{text}; {_count(refused, 'trial')} cannot run, see toolkit ablate --plan" if refused else text


class Planner:
    """Lays out the trials of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._fills: dict[str, list[Problem]] = {}
        self._faults: dict[str, list[Problem]] = {}
        self._sound: set[str] = set()
        self._datasets: dict[str, Dataset] = {}
        self._codes: dict[frozenset[str], str] = {}
        self._ids: set[str] = set()

    def plan(self) -> AblationPlan:
        """Return the plan; see :func:`plan_ablation`."""
        spec = SpecReader(self.document.data, self.document.line, self.problems).read()
        metrics: list[MetricRef] = []
        for value, path in spec.metrics:
            for ref in self._metrics(value, path):
                if ref.label in [other.label for other in metrics]:
                    self._problem(path, f"the metric '{ref.label}' is listed twice")
                metrics.append(ref)
        selections = [one for ref in spec.data for one in self._selections(ref, spec.settings)]
        self._check_metrics(metrics, selections)
        names = [one.label for value, path in spec.metrics for one in expand("metric", value, path)]
        for claim in spec.claims:
            check_names(claim, [ref.label for ref in spec.data], names, self._problem)
        plan = AblationPlan(self.document.name, spec, spec.axes or list(PARTS), metrics)
        pipelines = self._combinations(spec, plan, selections)
        if self.problems:
            # That no pipeline can be assembled is news unless it may follow from another mistake.
            aside = all(problem.path.partition(".")[0] in _KEYS_BESIDE_PIPELINES for problem in self.problems)
            if aside and plan.refused and not (pipelines or plan.excluded):
                self._none_can_run(plan)
            self._raise()
        for combination in pipelines:
            for selection in selections:
                self._place(combination, selection, plan)
        if not plan.trials:
            self._none_can_run(plan)
            self._raise()
        trials = [trial.axes for trial in plan.trials]
        for claim in spec.claims:
            check_claim(claim, trials, spec.mates(claim.axis), self._problem)
        self._raise()
        return plan

    def _problem(self, path: str, message: str, *hints: str) -> None:
        kept = tuple(hint for hint in hints if hint)
        self.problems.append(Problem(self.document.line(path), path, message, kept))

    def _raise(self) -> None:
        if self.problems:
            told: dict[tuple[Any, ...], Problem] = {}
            for problem in map(self._as_written, self.problems):
                # One mistake in all values of a list, such as the name of their option, is told at the first.
                key = (problem.where, problem.path.rstrip("0123456789"), problem.message, problem.hints)
                told.setdefault(key, problem)
            raise ConfigError(sorted(told.values(), key=by_line))

    def _as_written(self, problem: Problem) -> Problem:
        """Point at the bare name of a part as the user wrote it, not at the mapping that it is short for."""
        short = problem.path.removesuffix(".name")
        written = problem.path in self.document.lines or short not in self.document.lines
        return problem if written else replace(problem, path=short)

    def _none_can_run(self, plan: AblationPlan) -> None:
        reasons = list(dict.fromkeys(refused.reason for refused in plan.refused))[:5]
        excluded = f"exclude takes out {_count(plan.excluded, 'trial')}" if plan.excluded else ""
        self._problem("", f"no trial of {self.document.name} can run", *reasons, excluded)

    def _metrics(self, value: Any, path: str) -> Iterator[MetricRef]:
        for one in expand("metric", value, path):
            part = fill("metric", one.value, self.document.line, path, self.problems)
            if part is not None:
                yield MetricRef(one.label, part)

    def _selections(self, ref: DataRef, settings: Settings) -> list[Selection]:
        part = fill("dataset", dict(ref.dataset), self.document.line, ref.path, self.problems)
        if part is None:
            return []
        tasks = part.spec.accepts
        if tasks and ref.task not in tasks:
            hint = did_you_mean(ref.task, tasks)
            self._problem(ref.path, f"'{part.name}' has no task '{ref.task}'", hint, f"it has: {', '.join(tasks)}")
            return []
        try:
            return self._samples(ref, part, settings)
        except RegionkitError as error:
            self._problem(ref.path, error.message, *error.hints)
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
            self._problem("split", f"'{part.name}' has no split '{settings.split}'", f"it has: {splits}")
            return []
        selections = [Selection(ref, part, dataset, seed, settings) for seed in settings.seeds]
        for selection in selections:
            if not selection.samples:
                self._problem(ref.path, f"{ref.label} has no sample in split '{settings.split}'")
        return [selection for selection in selections if selection.samples]

    def _check_metrics(self, metrics: Sequence[MetricRef], selections: Sequence[Selection]) -> None:
        """Build every metric once, and check that samples carry what it needs, before hours are spent on captions."""
        seen = set()
        for selection in selections:
            sample = selection.samples[0]
            for ref in metrics:
                if (ref.label, selection.ref.label) in seen:
                    continue
                seen.add((ref.label, selection.ref.label))
                try:
                    needs = ref.build(selection.dataset).needs
                except RegionkitError as error:
                    self._problem("metrics", f"{ref.label} on {selection.ref.label}: {error.message}", *error.hints)
                    continue
                lacking = [n for n in needs if not (sample.references if n == "references" else n in sample.info)]
                if lacking:
                    has = ", ".join(["references"] * bool(sample.references) + sorted(sample.info))
                    message = f"{ref.label} needs {', '.join(lacking)}, which samples of {selection.ref.label} lack"
                    self._problem("metrics", message, f"they carry: {has}")

    def _combinations(
        self, spec: AblationSpec, plan: AblationPlan, selections: Sequence[Selection]
    ) -> list[Combination]:
        """Plan every pipeline. One that cannot be assembled is refused; a value that fits nowhere is a mistake."""
        good: list[Combination] = []
        used: set[str] = set()
        for chosen in combinations(spec):
            parts, origin = assemble(spec.base, chosen)
            used.update(".".join(place.split(".")[:2]) for place in origin.values())
            labels, names = self._labels(parts, chosen, plan.axes)
            count = sum(not _excluded(spec.exclude, labels, names, selection) for selection in selections)
            if selections and not count:
                plan.excluded += len(selections)
                continue
            problems = [problem for kind in parts for problem in self._fill(kind, parts[kind], origin)]
            try:
                if problems:
                    raise ConfigError(problems)
                pipeline = plan_pipeline(parts, where=self._where(origin))
            except ConfigError as error:
                plan.refused.append(Refused(labels, "", _reason(error.problems), count))
            else:
                good.append(Combination(labels, names, pipeline))
        for kind in spec.base:
            if f"base.{kind}" not in used:  # replaced in every trial, and yet it should be right
                self._fill(kind, spec.base[kind], {kind: f"base.{kind}"})
        # An option of one part of an axis need not suit the others: such trials are listed. What is wrong wherever it
        # is used is a mistake of the file.
        self.problems += [problem for at, found in self._faults.items() if at not in self._sound for problem in found]
        return good

    def _fill(self, kind: str, part: Mapping[str, Any], origin: Mapping[str, str]) -> list[Problem]:
        """Check the options of a part, and note which places of the file are to blame and which are sound."""
        own = {path: place for path, place in origin.items() if path.partition(".")[0] == kind}
        key = digest([kind, part, own])
        if key not in self._fills:
            problems: list[Problem] = []
            fill(kind, part, self._where(origin), kind, problems)
            for problem in problems:
                place = _source(problem.path, origin)
                self._faults.setdefault(place, []).append(replace(problem, path=place))
            if not problems:
                self._sound.update(own.values())
            self._fills[key] = problems
        return self._fills[key]

    def _where(self, origin: Mapping[str, str]) -> Where:
        """Translate paths of a trial's pipeline to the place in the file where the value was written."""
        return lambda path: self.document.line(_source(path, origin))

    def _labels(
        self, parts: Mapping[str, Any], chosen: Mapping[str, AxisValue], axes: Sequence[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        names = {kind: text(parts[kind].get("name", "")) for kind in parts}
        labels = dict(names)
        for axis in axes:
            kind, _, option = axis.partition(".")
            if axis in chosen:
                label = chosen[axis].label
                labels[axis] = f"{names[kind]}{label}" if label.startswith("(") else label
            elif option:
                labels[axis] = self._default(kind, parts, option)
        return labels, names

    def _default(self, kind: str, parts: Mapping[str, Any], option: str) -> str:
        """Return the value of an option that is an axis elsewhere, or a dash where the part has no such option."""
        part = fill(kind, parts.get(kind, {}), problems=[])
        value: Any = part.to_dict() if part is not None else {}
        for key in option.split("."):
            value = value.get(key, "-") if isinstance(value, Mapping) else "-"
        return text(value)

    def _place(self, combination: Combination, selection: Selection, plan: AblationPlan) -> None:
        """Add a trial, or note why it does not run."""
        label = selection.ref.label
        if _excluded(plan.spec.exclude, combination.labels, combination.names, selection):
            plan.excluded += 1
            return
        encoder = combination.plan.parts["region_encoder"]
        kinds = {sample.region.kind for sample in selection.samples} - set(encoder.spec.accepts)
        if encoder.spec.accepts and kinds:
            reason = (
                f"{encoder.name} does not take {', '.join(sorted(kinds))} regions; "
                f"it takes: {', '.join(encoder.spec.accepts)}"
            )
            plan.refused.append(Refused(combination.labels, label, reason, 1))
            return
        config = self._config(combination, selection, plan.metrics)
        trial = Trial(digest(config), combination, selection, config)
        if trial.id in self._ids:
            plan.repeated += 1
        else:
            self._ids.add(trial.id)
            plan.trials.append(trial)

    def _config(self, combination: Combination, selection: Selection, metrics: Sequence[MetricRef]) -> dict[str, Any]:
        registry = get_registry()
        used = [*combination.plan.parts.values(), selection.part, *(metric.part for metric in metrics)]
        corpora = [registry.find("corpus", name) for name in combination.plan.fit_corpus.values()]
        specs = {f"{spec.kind}/{spec.name}": spec for spec in (*(part.spec for part in used), *corpora)}
        key = frozenset(specs)
        if key not in self._codes:
            self._codes[key] = registry.code_version(specs.values(), RUNNER_PACKAGES)
        return {
            "pipeline": combination.plan.to_dict(),
            "data": {
                "task": selection.ref.task,
                "dataset": selection.part.to_dict(),
                "split": selection.settings.split,
                "seed": selection.seed,
                "limit": selection.settings.limit,
                "fingerprint": selection.fingerprint,
            },
            "metrics": {metric.label: metric.part.to_dict() for metric in metrics},
            "code": self._codes[key],
        }


def assemble(
    base: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, AxisValue]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Lay axis values over the base pipeline: whole parts first, then single options.

    Returns:
        The parts by kind, and for dotted paths of them the place in the file where they were written.
    """
    parts = {kind: dict(part) for kind, part in base.items()}
    origin = {kind: f"base.{kind}" for kind in base}
    for axis, value in chosen.items():
        if "." in axis:
            continue
        merged = merge(parts.get(axis), value.value)
        for key in merged:
            kept = key not in value.value
            origin[f"{axis}.{key}"] = f"base.{axis}.{key}" if kept else value.place(key)
        parts[axis] = merged
        origin[axis] = value.place()
    for axis, value in chosen.items():
        kind, _, option = axis.partition(".")
        if option:
            holder: dict[str, Any] = parts.setdefault(kind, {})
            *outer, last = option.split(".")
            for key in outer:
                inner = holder.get(key)
                holder[key] = dict(inner) if isinstance(inner, Mapping) else {}
                holder = holder[key]
            holder[last] = value.value
            origin[axis] = value.path
    return parts, origin


def _source(path: str, origin: Mapping[str, str]) -> str:
    """Return the dotted path in the file of a dotted path of a trial's pipeline."""
    known = path
    while known and known not in origin:
        known = known.rpartition(".")[0]
    return f"{origin[known]}{path[len(known) :]}" if known else f"base.{path}"


def _excluded(
    patterns: Sequence[Mapping[str, Sequence[str]]],
    labels: Mapping[str, str],
    names: Mapping[str, str],
    selection: Selection,
) -> bool:
    """Say whether a trial matches a pattern in every axis that the pattern names."""

    def words(key: str) -> list[str]:
        if key == "data":
            return [selection.ref.label]
        if key == "seed":
            return [str(selection.seed)]
        return [word for word in (labels.get(key), names.get(key)) if word]

    def matches(key: str, values: Sequence[str]) -> bool:
        return any(fnmatchcase(word, value) for word in words(key) for value in values)

    return any(all(matches(key, values) for key, values in pattern.items()) for pattern in patterns)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _reason(problems: Sequence[Problem]) -> str:
    """Say on one line why a pipeline cannot be assembled."""
    return "; ".join(
        " - ".join([f"{problem.path}: {problem.message}" if problem.path else problem.message, *problem.hints])
        for problem in problems
    )
