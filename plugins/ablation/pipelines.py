"""The pipelines of an ablation: axis values laid over the base, each planned, mistakes put where they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regionkit.core.errors import ConfigError, Problem
from regionkit.plugins.ablation.exclusion import Exclusion
from regionkit.plugins.ablation.mistakes import Mistakes
from regionkit.plugins.ablation.spec import AxisValue, Where, combinations, merge
from regionkit.plugins.ablation.trials import AblationPlan, Combination, Refused, Selection
from regionkit.plugins.ablation.words import text
from regionkit.registry.plan import plan_pipeline, read_folder
from regionkit.registry.schema import Part, fill
from regionkit.registry.weights.shared_choices import Choices


class PipelinePlanner:
    """Plans every combination of axis values."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._line = mistakes.document.line
        #: Mistakes of parts that were checked already, by their options and where those stand.
        self._fills: dict[str, tuple[Part | None, list[Problem]]] = {}
        self._choices = Choices()
        #: The folder in which all parts look for their weights first; parts that are the same have it once for all.
        self._folder = ""
        #: Mistakes by the place in the file that is to blame, and the places of parts that are right.
        self._faults: dict[str, list[Problem]] = {}
        self._sound: set[str] = set()

    def plan(self, plan: AblationPlan, selections: Sequence[Selection], exclusion: Exclusion) -> list[Combination]:
        """Plan every pipeline. One that cannot be assembled is refused; a value that fits nowhere is a mistake."""
        spec = plan.spec
        wrong: list[Problem] = []
        self._folder = read_folder(spec.folder, lambda path: self._line(f"base.{path}"), wrong)
        self._mistakes.found += [replace(problem, path=f"base.{problem.path}") for problem in wrong]
        if wrong:
            return []
        good: list[Combination] = []
        used: set[str] = set()
        for chosen in combinations(spec):
            parts, origin = assemble(spec.base, chosen)
            whole = {**parts, **({"weights": spec.folder} if spec.folder is not None else {})}
            used.update(".".join(place.split(".")[:2]) for place in origin.values())
            labels, names = self._labels(parts, chosen, plan.axes)
            count = sum(not exclusion.takes_out(labels, names, selection) for selection in selections)
            if selections and not count:
                plan.excluded += len(selections)
                continue
            fills = {kind: self._fill(kind, parts[kind], origin) for kind in parts}
            problems = [problem for _, found in fills.values() for problem in found]
            try:
                if problems:
                    raise ConfigError(problems)
                filled = {kind: part for kind, (part, _) in fills.items() if part is not None}
                pipeline = plan_pipeline(whole, where=self._where(origin), parts=filled, choices=self._choices)
            except ConfigError as error:
                plan.refused.append(Refused(labels, names, "", _reason(error.problems), count))
            else:
                good.append(Combination(labels, names, pipeline))
        for kind in spec.base:
            if f"base.{kind}" not in used:  # replaced in every trial, and yet it should be right
                self._fill(kind, spec.base[kind], {kind: f"base.{kind}"})
        # An option of one part of an axis need not suit the others: such trials are listed. What is wrong wherever it
        # is used is a mistake of the file.
        self._mistakes.found += [
            problem for at, found in self._faults.items() if at not in self._sound for problem in found
        ]
        return good

    def _fill(self, kind: str, part: Mapping[str, Any], origin: Mapping[str, str]) -> tuple[Part | None, list[Problem]]:
        """Fill the options of a part, and note which places of the file are to blame and which are sound."""
        own = {path: place for path, place in origin.items() if path.partition(".")[0] == kind}
        key = json.dumps([kind, part, own], sort_keys=True, default=str)
        if key not in self._fills:
            problems: list[Problem] = []
            filled = fill(kind, part, self._where(origin), kind, problems)
            for problem in problems:
                place = _source(problem.path, origin)
                self._faults.setdefault(place, []).append(replace(problem, path=place))
            if not problems:
                self._sound.update(own.values())
            if filled is not None and self._folder:
                filled = replace(filled, folder=self._folder)
            self._fills[key] = (filled, problems)
        return self._fills[key]

    def _where(self, origin: Mapping[str, str]) -> Where:
        """Translate paths of a trial's pipeline to the place in the file where the value was written."""
        return lambda path: self._line(_source(path, origin))

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


def _reason(problems: Sequence[Problem]) -> str:
    """Say on one line why a pipeline cannot be assembled."""
    return "; ".join(
        " - ".join([f"{problem.path}: {problem.message}" if problem.path else problem.message, *problem.hints])
        for problem in problems
    )
