"""Claims: orderings that an ablation must or should show, checked sample by sample."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regionkit.core.errors import did_you_mean

_SAY = re.compile(r"\s*([\w.-]+)\s*=\s*(.+?)\s*([<>])\s*([\w.-]+)\s*=\s*(.+?)\s*")
_FORM = "AXIS=VALUE > AXIS=VALUE, for example bridge=memory > bridge=none"
_KEYS = ("say", "on", "by", "where", "must")

Report = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Claim:
    """An ordering of two values of one axis.

    ``>`` reads "is better than", also for metrics where less is better.

    Attributes:
        say: The ordering as it was written.
        axis: The axis.
        better: The value that is said to be better, a label or the name of a part.
        worse: The other one.
        on: Data sets, ``TASK@NAME``; each is a claim of its own.
        by: Metrics; each is a claim of its own.
        where: Axis -> values that the trials are restricted to. All other axes are matched and averaged.
        must: Whether the run fails when the ordering does not show.
        path: Dotted path in the file.
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
        problem(f"{path}.say", f"'{entry['say']}' {reason}", f"write {_FORM}")
        return None
    where = entry.get("where") or {}
    if not isinstance(where, Mapping):
        problem(f"{path}.where", "must map axes to values", "for example {backbone: mini-dense}")
        where = {}
    first, second = (match[2], match[5]) if match[3] == ">" else (match[5], match[2])
    return Claim(
        say=str(entry["say"]),
        axis=match[1],
        better=first,
        worse=second,
        on=_strings(entry.get("on")),
        by=_strings(entry.get("by")),
        where={str(axis): _strings(values) for axis, values in where.items()},
        must=bool(entry.get("must", True)),
        path=path,
    )


def _strings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else (str(value),)


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

    def has(self, axis: str, values: Iterable[str]) -> bool:
        """Say whether the trial's value on an axis is one of ``values``, by label or by name."""
        return any(value in (self.labels.get(axis), self.names.get(axis)) for value in values)


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
    sides: dict[tuple[Any, ...], tuple[list[str], list[str]]] = {}
    for trial in trials:
        if trial.data != data or not all(trial.has(axis, values) for axis, values in claim.where.items()):
            continue
        # An option of the compared part is part of its value: memory at two temperatures stands against none.
        kept = [
            (axis, label)
            for axis, label in trial.labels.items()
            if axis not in mates and not axis.startswith(f"{claim.axis}.")
        ]
        key = (trial.seed, *sorted(kept))
        for side, value in enumerate((claim.better, claim.worse)):
            if trial.has(claim.axis, [value]):
                sides.setdefault(key, ([], []))[side].append(trial.id)
    return [Pair(key[0], tuple(a), tuple(b)) for key, (a, b) in sides.items() if a and b]


def check_names(claim: Claim, data: Iterable[str], metrics: Iterable[str], problem: Report) -> None:
    """Note data sets and metrics of a claim that the ablation does not have."""
    for word in claim.on:
        _check_word(f"{claim.path}.on", "data set of this ablation is called", word, data, problem)
    for word in claim.by:
        _check_word(f"{claim.path}.by", "metric of this ablation is called", word, metrics, problem)


def check_claim(claim: Claim, trials: Sequence[TrialAxes], mates: set[str], problem: Report) -> None:
    """Note what keeps a claim from being decided: unknown axes or values, or no pair of trials that it speaks of."""
    if not _check_values(claim, trials, problem):
        return
    for data in claim.on:
        if not match_trials(claim, data, trials, mates):
            shown = sorted({trial.labels[claim.axis] for trial in trials if trial.data == data})
            problem(
                claim.path,
                f"'{claim.say}' on {data} matches no pair of trials",
                f"on {data} the values of {claim.axis} are: {', '.join(shown) or 'none'}",
                "the two sides must agree in all other axes; see the trials with --plan",
            )


def _check_values(claim: Claim, trials: Sequence[TrialAxes], problem: Report) -> bool:
    axes = {axis for trial in trials for axis in trial.labels}
    good = True
    for axis, values in {claim.axis: (claim.better, claim.worse), **claim.where}.items():
        path = f"{claim.path}.say" if axis == claim.axis else f"{claim.path}.where"
        if not _check_word(path, "axis is called", axis, axes, problem):
            good = False
            continue
        words = {word for trial in trials for word in (trial.labels.get(axis), trial.names.get(axis)) if word}
        for value in values:
            good = _check_word(path, f"trial that fits has {axis} =", value, words, problem) and good
    return good


def _check_word(path: str, what: str, word: str, known: Iterable[str], problem: Report) -> bool:
    words = sorted(set(known))
    if word in words:
        return True
    problem(path, f"no {what} '{word}'", did_you_mean(word, words), f"there is: {', '.join(words)}")
    return False
