"""What a score must be before anybody stores, prints or compares it."""

from __future__ import annotations

import math

from regionkit.core.contracts import Score
from regionkit.core.errors import RunFailed, commonest

_FAULT = "this is a fault of the metric: compute() must return finite numbers, one a sample, in the order of updates"


def check_score(label: str, score: Score, samples: int) -> None:
    """Check that a score is one: finite numbers, one a sample, and nothing said of samples that were not judged.

    Args:
        label: What the value is called.
        score: The score, or one of its parts.
        samples: How many samples were taken in.

    Raises:
        RunFailed: It is none; the message says in what.
    """
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


def coverage(judged: int, samples: int) -> str:
    """Say how many samples a value is of, behind the value: empty where it is all of them."""
    return f" (judged {judged:,} of {samples:,})" if judged < samples else ""
