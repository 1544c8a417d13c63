"""What a score must be before anybody stores, prints or compares it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from regionkit.core.blame import blamed, who
from regionkit.core.contracts import Metric, Score, column
from regionkit.core.errors import RunFailed, commonest

_FAULT = "this is a fault of the metric: compute() must return finite numbers, one a sample, in the order of updates"


def computed(metric: Metric, label: str, samples: int) -> Score:
    """Let a metric judge what it has taken in, and check that what it hands on is a score.

    Args:
        metric: The metric.
        label: What its values are called.
        samples: How many samples it has taken in.

    Raises:
        RunFailed: It is none; the message says in what.
    """
    with blamed(metric, "metric"):
        score = metric.compute()
    asked = f"{who(metric, 'metric')}: compute()"
    if not isinstance(score, Score):
        gave = "None" if score is None else f"a {type(score).__name__}"
        raise RunFailed(
            f"{asked} gave {gave}, and the contract wants a Score",
            "return Score(value, per_sample, signature): regionkit.core.contracts.Score",
        )
    if not isinstance(score.parts, Mapping) or set(score.parts) != set(metric.parts):
        gave = str(list(score.parts)) if isinstance(score.parts, Mapping) else f"a {type(score.parts).__name__}"
        raise RunFailed(
            f"{asked} gave the parts {gave}, and its attribute parts says {list(metric.parts)}",
            "tables have columns, and claims names, before anything is computed: make the two one",
        )
    for part, one in (score.parts or {"": score}).items():
        check_score(column(label, part), one, samples)
    return score


def check_score(label: str, score: Score, samples: int) -> None:
    """Check that a score is one: finite numbers, one a sample, and nothing said of samples that were not judged.

    Args:
        label: What the value is called.
        score: The score, or one of its parts.
        samples: How many samples were taken in.

    Raises:
        RunFailed: It is none; the message says in what.
    """
    if not isinstance(score, Score):
        raise RunFailed(f"metric '{label}' gave a {type(score).__name__}, and the contract wants a Score", _FAULT)
    _check_types(label, score)
    for held in (score.per_sample, score.statistics):
        if held is not None and len(held) != samples:
            raise RunFailed(f"metric '{label}' gave {len(held):,} values for {samples:,} samples", _FAULT)
    strangers = [at for at in score.unjudged if not 0 <= at < samples]
    if strangers:
        raise RunFailed(f"metric '{label}' could not judge sample {strangers[0]} of {samples:,}", _FAULT)
    if samples and len(score.unjudged) == samples:
        raise RunFailed(
            f"metric '{label}' could judge none of {samples:,} samples", *commonest(score.unjudged.values())
        )
    judged = [value for at, value in enumerate(score.per_sample or ()) if at not in score.unjudged]
    if not all(map(math.isfinite, (score.value, *judged))):
        raise RunFailed(f"metric '{label}' gave a value that is not a finite number", _FAULT)
    for at in score.unjudged:
        counted = score.per_sample is not None and not math.isnan(score.per_sample[at])
        if counted or (score.statistics is not None and score.statistics[at].any()):
            raise RunFailed(f"metric '{label}' gave a value for sample {at}, which it says it could not judge", _FAULT)
    if score.statistics is not None and not all(map(math.isfinite, score.statistics.ravel().tolist())):
        raise RunFailed(f"metric '{label}' gave statistics that are not finite numbers", _FAULT)


def _check_types(label: str, score: Score) -> None:
    """Check that a score is made of what it is made of, before any of it is counted or compared.

    Raises:
        RunFailed: It is not; the message names the attribute.
    """
    values = score.per_sample if isinstance(score.per_sample, Sequence) else ()
    kinds: dict[str, tuple[bool, str]] = {
        "value": (isinstance(score.value, Real), "a float"),
        "per_sample": (
            score.per_sample is None
            or (isinstance(score.per_sample, Sequence) and all(isinstance(one, Real) for one in values)),
            "a tuple of floats, or None",
        ),
        "signature": (isinstance(score.signature, str), "a str"),
        "statistics": (
            score.statistics is None or (isinstance(score.statistics, np.ndarray) and score.statistics.ndim == 2),
            "an array (n, k), or None",
        ),
        "unjudged": (isinstance(score.unjudged, Mapping), "positions and why"),
    }
    for name, (right, wanted) in kinds.items():
        if not right:
            held = getattr(score, name)
            gave = "None" if held is None else f"a {type(held).__name__}"
            raise RunFailed(f"metric '{label}' gave as {name} {gave}, and the contract wants {wanted}", _FAULT)


def coverage(judged: int, samples: int) -> str:
    """Say how many samples a value is of, behind the value: empty where it is all of them."""
    return f" (judged {judged:,} of {samples:,})" if judged < samples else ""
