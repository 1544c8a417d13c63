"""Claims: orderings that an ablation must or should show, checked sample by sample."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regionkit.core.errors import did_you_mean
from regionkit.plugins.ablation.words import as_list, text

_SAY = re.compile(r"\s*([\w.-]+)\s*=\s*(.+?)\s*([<>~])\s*([\w.-]+)\s*=\s*(.+?)\s*")
_FORM = "AXIS=VALUE > AXIS=VALUE, for example bridge=memory > bridge=none"
_KEYS = ("say", "on", "by", "where", "within", "must", "any_signature")
#: Most reasons that a message repeats.
_REASONS = 3

Report = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Claim:
    """An ordering of two values of one axis.

    ``>`` reads "is better than", also for metrics where less is better; with ``within`` it reads "is worse than by no
    more than that". ``~`` reads "differs by no more than ``within`` either way".

    Attributes:
        say: The ordering as it was written.
        axis: The axis.
        better: The value that is said to be better: a label, or a part's name where no label is that very word.
        worse: The other one.
        on: Data sets, ``TASK@NAME``; each is a claim of its own.
        by: Metrics; each is a claim of its own.
        where: Axis -> values that the trials are restricted to. All other axes are matched and averaged.
        within: What the difference may be, in units of the metric; 0 for a plain ordering.
        alike: True for ``~``.
        must: Whether the run fails when the ordering does not show.
        path: Dotted path in the file.
        any_signature: Whether scores are compared although their signatures differ.
    """

    say: str
    axis: str
    better: str
    worse: str
    on: tuple[str, ...]
    by: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]]
    must: bool
    path: str
    within: float = 0.0
    alike: bool = False
    any_signature: bool = False

    @property
    def text(self) -> str:
        """The claim as reports show it."""
        return f"{self.say} (within {self.within:g})" if self.within else self.say


def parse_claim(entry: Any, path: str, problem: Report) -> Claim | None:
    """Read one entry of ``claims``; mistakes go to ``problem(path, message, *hints)``."""
    if not isinstance(entry, Mapping) or "say" not in entry:
        problem(path, "a claim needs `say`", f'write say: "{_FORM}"')
        return None
    # YAML 1.1 reads the bare word `on` as true, and so does every reader of it.
    entry = {"on" if key is True else str(key): value for key, value in entry.items()}
    for key in entry:
        if key not in _KEYS:
            problem(f"{path}.{key}", "unknown key", did_you_mean(key, _KEYS), f"a claim has: {', '.join(_KEYS)}")
    for key in ("on", "by"):
        if not entry.get(key):
            problem(path, f"a claim needs `{key}`", "write on: TASK@NAME and by: METRIC, or lists of them")
    match = _SAY.fullmatch(str(entry["say"]))
    if match is None or match[1] != match[4]:
        reason = "compares two axes" if match else "is no ordering"
        meant = did_you_mean(match[1], [match[4]]) if match else ""
        problem(f"{path}.say", f"'{entry['say']}' {reason}", meant, f"write {_FORM}")
        return None
    where = entry.get("where") or {}
    if not isinstance(where, Mapping):
        problem(f"{path}.where", "must map axes to values", "for example {backbone: mini-dense}")
        where = {}
    must = _flag(entry, "must", True, path, problem, "write must: false for a claim to be recorded")
    unlike = "write any_signature: true to compare scores whose signatures differ"
    within = _within(entry, match[3], path, problem)
    first, second = (match[5], match[2]) if match[3] == "<" else (match[2], match[5])
    return Claim(
        say=str(entry["say"]),
        axis=match[1],
        better=first,
        worse=second,
        on=_strings(entry.get("on")),
        by=_strings(entry.get("by")),
        where={str(axis): _strings(values) for axis, values in where.items()},
        must=must,
        path=path,
        within=within,
        alike=match[3] == "~",
        any_signature=_flag(entry, "any_signature", False, path, problem, unlike),
    )


def _flag(entry: Mapping[str, Any], key: str, default: bool, path: str, problem: Report, hint: str) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        problem(f"{path}.{key}", f"'{value}' is neither true nor false", hint)
    return value is True


def _within(entry: Mapping[str, Any], sign: str, path: str, problem: Report) -> float:
    """Read the tolerance of a claim; ``~`` says nothing without one."""
    value = entry.get("within", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        problem(f"{path}.within", f"'{value}' is no number of 0 or more", "write within: 0.05, in units of the metric")
        return 0.0
    if sign == "~" and not value:
        problem(path, "a claim that two values are alike needs `within`", "write within: 0.05, in units of the metric")
    return float(value)


def _strings(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(text(item) for item in as_list(value))


@dataclass(frozen=True, slots=True)
class TrialAxes:
    """What a claim needs to know of a trial.

    Attributes:
        id: The trial.
        data: ``TASK@NAME``.
        seed: Evaluation seed.
        labels: Axis -> label, for every axis and every part.
        names: Axis -> further words for the same value: the name of the part.
    """

    id: str
    data: str
    seed: int
    labels: Mapping[str, str]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """Trials that differ in the claim's axis alone: ids on both sides, averaged sample by sample."""

    seed: int
    better: tuple[str, ...]
    worse: tuple[str, ...]


def match_trials(claim: Claim, data: str, trials: Sequence[TrialAxes], mates: set[str]) -> list[Pair]:
    """Pair trials on one data set.

    Args:
        claim: The claim.
        data: One of ``claim.on``.
        trials: All trials that fit.
        mates: Axes that change together with the claim's axis, itself included; they need not agree.
    """
    wheres = [_speaks_of(trials, axis, values) for axis, values in claim.where.items()]
    values = [_speaks_of(trials, claim.axis, [value]) for value in (claim.better, claim.worse)]
    sides: dict[tuple[Any, ...], tuple[list[str], list[str]]] = {}
    for trial in trials:
        if trial.data != data or not all(meant(trial) for meant in wheres):
            continue
        # An option of the compared part is part of its value: memory at two temperatures stands against none.
        kept = [
            (axis, label)
            for axis, label in trial.labels.items()
            if axis not in mates and not axis.startswith(f"{claim.axis}.")
        ]
        key = (trial.seed, *sorted(kept))
        for side, meant in enumerate(values):
            if meant(trial):
                sides.setdefault(key, ([], []))[side].append(trial.id)
    return [Pair(key[0], tuple(a), tuple(b)) for key, (a, b) in sides.items() if a and b]


def _speaks_of(trials: Sequence[TrialAxes], axis: str, words: Sequence[str]) -> Callable[[TrialAxes], bool]:
    """Return whether a trial has one of these values; a word that is a label means no other label of that part."""
    labels = {trial.labels.get(axis) for trial in trials}
    exact = {word for word in words if word in labels}
    loose = set(words) - exact
    return lambda trial: trial.labels.get(axis) in exact or trial.names.get(axis) in loose


def check_names(claim: Claim, data: Sequence[str] | None, metrics: Sequence[str] | None, problem: Report) -> None:
    """Note data sets and metrics of a claim that the ablation does not have; None stands for a list to leave alone."""
    asked = (("on", "data set", claim.on, data), ("by", "metric", claim.by, metrics))
    for key, what, words, known in asked:
        for word in words if known is not None else ():
            _check_word(f"{claim.path}.{key}", f"{what} of this ablation is called", word, known or (), problem)


class ClaimCheck:
    """Notes what keeps a claim from being decided: unknown axes or values, or no pair of trials that it speaks of.

    Args:
        claim: The claim.
        trials: All trials that fit.
        refused: Trials that cannot run, with the reasons; their ``data`` is empty where they stand for all data sets.
        problem: Takes the mistakes.
    """

    def __init__(
        self, claim: Claim, trials: Sequence[TrialAxes], refused: Sequence[tuple[TrialAxes, str]], problem: Report
    ) -> None:
        self.claim, self.trials, self.refused, self.problem = claim, trials, refused, problem

    def check(self, mates: set[str]) -> None:
        """Check the claim; ``mates`` as for :func:`match_trials`."""
        claim = self.claim
        if not self._check_values():
            return
        for data in claim.on:
            pairs = match_trials(claim, data, self.trials, mates)
            if any(set(pair.better) & set(pair.worse) for pair in pairs):
                shown = ", ".join(sorted({trial.labels[claim.axis] for trial in self.trials}))
                message = f"both sides of '{claim.say}' speak of the same trials"
                self.problem(f"{claim.path}.say", message, f"the values of {claim.axis} are: {shown}")
                return
            if not pairs:
                shown = ", ".join(sorted({trial.labels[claim.axis] for trial in self.trials if trial.data == data}))
                reasons = self._reasons({claim.axis: (claim.better, claim.worse), **claim.where}, (data, ""))
                self.problem(
                    claim.path,
                    f"'{claim.say}' on {data} matches no pair of trials",
                    f"on {data} the values of {claim.axis} are: {shown or 'none'}",
                    *(reasons or ["the two sides must agree in all other axes; see the trials with --plan"]),
                )

    def _check_values(self) -> bool:
        claim, problem = self.claim, self.problem
        axes = {axis for trial in self.trials for axis in trial.labels}
        good = True
        for axis, values in {claim.axis: (claim.better, claim.worse), **claim.where}.items():
            path = f"{claim.path}.say" if axis == claim.axis else f"{claim.path}.where"
            if not _check_word(path, "axis is called", axis, axes, problem, self._inside(axis)):
                good = False
                continue
            words = {word for trial in self.trials for word in _words(trial, axis)}
            for value in values:
                reasons = self._reasons({axis: (value,)})
                good = _check_word(path, f"trial that fits has {axis} =", value, words, problem, reasons) and good
        return good

    def _inside(self, axis: str) -> list[str]:
        """Say how to write an option that is no axis of its own but swept inside the values of its part."""
        kind, _, option = axis.partition(".")
        every = (*self.trials, *(trial for trial, _ in self.refused))
        labels = dict.fromkeys(label for trial in every if f"{option}=" in (label := trial.labels.get(kind, "")))
        if not option or not labels:
            return []
        return [f"'{option}' is set inside values of {kind}: write {', '.join(f'{kind}={one}' for one in labels)}"]

    def _reasons(self, wanted: Mapping[str, Sequence[str]], data: Sequence[str] = ()) -> list[str]:
        """Return why trials with these values, on these data sets, cannot run."""
        every = (*self.trials, *(trial for trial, _ in self.refused))
        meant = [_speaks_of(every, axis, values) for axis, values in wanted.items()]
        found = [
            reason
            for trial, reason in self.refused
            if (not data or trial.data in data) and all(speaks(trial) for speaks in meant)
        ]
        return [f"trials that cannot run: {reason}" for reason in dict.fromkeys(found)][:_REASONS]


def _words(trial: TrialAxes, axis: str) -> list[str]:
    return [word for word in (trial.labels.get(axis), trial.names.get(axis)) if word]


def _check_word(
    path: str, what: str, word: str, known: Iterable[str], problem: Report, hints: Sequence[str] = ()
) -> bool:
    """Note a word that does not exist; ``hints`` say more than the words that look like it."""
    words = sorted(set(known))
    if word in words:
        return True
    there = f"there is: {', '.join(words) or 'none'}"
    problem(path, f"no {what} '{word}'", *(hints or [did_you_mean(word, words)]), there)
    return False
