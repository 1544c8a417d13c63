"""What stands under ``robustness:``: perturbations of regions, each of which every data set is also run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regionkit.core.errors import did_you_mean
from regionkit.core.perturbing import KINDS, Perturbation, wrong_amount
from regionkit.plugins.ablation.words import as_list

#: Amounts of one perturbation; each is another run over all data.
MOST_AMOUNTS = 50
_FORM = "for example robustness: {jitter: [0.1, 0.2], drop-points: {amounts: [0.5], seed: 1}}"
_KEYS = ("amounts", "seed")

Report = Callable[..., None]


def read_perturbations(value: Any, problem: Report) -> list[Perturbation]:
    """Read ``robustness``; mistakes go to ``problem(path, message, *hints)``.

    Returns:
        The perturbations by kind in the order of the file, their amounts ascending. The amount 0 is left out: regions
        as they are always run, and once.
    """
    if value is None:
        return []
    if not isinstance(value, Mapping):
        problem("robustness", "must map perturbations to lists of amounts", _FORM)
        return []
    found: list[Perturbation] = []
    for key, entry in value.items():
        kind, path = str(key), f"robustness.{key}"
        if kind not in KINDS:
            known = f"perturbations are: {', '.join(KINDS)}"
            problem(path, f"no perturbation '{kind}'", did_you_mean(kind, KINDS), known)
            continue
        found += _read_kind(kind, entry, path, problem)
    return found


def _read_kind(kind: str, entry: Any, path: str, problem: Report) -> list[Perturbation]:
    """Read the amounts of one kind: a number, a list of them, or a mapping with ``amounts`` and ``seed``."""
    asked: Mapping[Any, Any] = entry if isinstance(entry, Mapping) else {"amounts": entry}
    for key in asked:
        if key not in _KEYS:
            hints = did_you_mean(str(key), _KEYS), f"a perturbation has: {', '.join(_KEYS)}"
            problem(f"{path}.{key}", "unknown key", *hints)
    at = f"{path}.amounts" if isinstance(entry, Mapping) else path
    amounts = [] if asked.get("amounts") is None else as_list(asked["amounts"])
    if not amounts:
        problem(at, "needs a list of amounts", _FORM)
    if len(amounts) > MOST_AMOUNTS:
        problem(at, f"{len(amounts)} amounts are more than the {MOST_AMOUNTS} that one perturbation may have")
        return []
    kept = _amounts(kind, amounts, at, problem)
    seed = _seed(kind, asked.get("seed", 0), f"{path}.seed", problem)
    return [Perturbation(kind, amount, seed) for amount in kept if amount]


def _amounts(kind: str, amounts: Sequence[Any], path: str, problem: Report) -> list[float]:
    """Return the amounts that are some, ascending, each once."""
    kept: dict[str, float] = {}
    for index, amount in enumerate(amounts):
        place = f"{path}.{index}"
        if reason := wrong_amount(kind, amount):
            problem(place, reason, f"amounts of {kind} are numbers from 0 to {KINDS[kind].most:g}")
            continue
        label = f"{amount:.12g}"
        if label in kept:
            problem(place, f"the amount {label} is listed twice")
        kept[label] = float(amount)
    return sorted(kept.values())


def _seed(kind: str, seed: Any, path: str, problem: Report) -> int:
    if type(seed) is not int or seed < 0:
        problem(path, f"'{seed}' is no seed", "seeds are whole numbers from 0 on")
        return 0
    if seed and not KINDS[kind].draws:
        drawing = ", ".join(name for name, known in KINDS.items() if known.draws)
        problem(path, f"{kind} draws nothing, so it has no seed", f"leave it out; these draw: {drawing}")
        return 0
    return seed


def asked_on_command_line(words: Sequence[str]) -> dict[str, Any]:
    """Return words ``jitter=0.1,0.2`` as ``robustness`` has them; what is no number stays as it is, to be told of."""
    asked: dict[str, Any] = {}
    for word in words:
        kind, _, amounts = word.partition("=")
        held = asked.setdefault(kind.strip(), [])
        held += [_number(amount.strip()) for amount in amounts.split(",") if amount.strip()]
    return asked


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word
