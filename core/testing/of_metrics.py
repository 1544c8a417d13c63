"""Checks of metrics."""

from __future__ import annotations

import copy
import math

from regionkit.core.contracts import Metric, Score
from regionkit.core.errors import RegionkitError
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import Skip, close, demand, digest
from regionkit.core.testing.subject import Subject, half_of_other_length, half_right, right_answers


def _fresh(subject: Subject) -> Metric:
    metric: Metric = copy.deepcopy(subject.component)
    return metric


def _judge(subject: Subject, captions: list[str], *, reverse: bool = False) -> Score:
    metric, step = _fresh(subject), -1 if reverse else 1
    metric.update(subject.samples[::step], captions[::step])
    return metric.compute()


@check("metric")
def shapes(subject: Subject) -> None:
    """The value is finite, computing twice gives it twice, and a signature says what it depends on."""
    metric, captions = _fresh(subject), half_right(subject.samples)
    metric.update(subject.samples, captions)
    score = metric.compute()
    demand(math.isfinite(score.value), f"the value is {score.value}")
    demand(bool(score.signature), "the signature is empty: say what the value depends on")
    demand(metric.compute() == score, "computing twice gives two results")
    for one in (score, *score.parts.values()):
        if one.per_sample is not None:
            found, wanted = len(one.per_sample), len(subject.samples)
            demand(found == wanted, f"{found} values for {wanted} samples")
            demand(all(map(math.isfinite, one.per_sample)), "a sample's value is NaN or infinite")


@check("metric")
def parts(subject: Subject) -> None:
    """It gives the parts that it states beforehand, each signed, and one of them stands for the metric."""
    metric = _fresh(subject)
    metric.update(subject.samples, half_right(subject.samples))
    score = metric.compute()
    stated, given = list(metric.parts), list(score.parts)
    demand(stated == given, f"the parts are stated to be {stated}, and compute() gives {given}")
    for name, part in score.parts.items():
        demand(math.isfinite(part.value), f"the value of part '{name}' is {part.value}")
        demand(bool(part.signature), f"the signature of part '{name}' is empty: say what the value depends on")
        demand(not part.parts, f"part '{name}' has parts of its own")
    values = [part.value for part in score.parts.values()]
    demand(not values or score.value in values, f"the value {score.value} is that of none of the parts: {values}")


@check("metric")
def statistics(subject: Subject) -> None:
    """Corpus values follow from sums of the statistics of samples, and otherwise are means of the samples' values."""
    metric = _fresh(subject)
    metric.update(subject.samples, half_right(subject.samples))
    score = metric.compute()
    for name, part in (score.parts or {"": score}).items():
        if part.statistics is not None:
            rows, samples = part.statistics, len(subject.samples)
            demand(rows.ndim == 2 and len(rows) == samples, f"statistics of {rows.shape} for {samples} samples")
            found = metric.pool(name, rows.sum(0, keepdims=True))
            demand(found.shape == (1,), f"pool gives {found.shape} for one draw, and must give one value a draw")
            close(part.value, float(found[0]), f"pool does not give the value of part '{name}'")
        elif part.per_sample:
            mean = sum(part.per_sample) / len(part.per_sample)
            close(part.value, mean, "the value is no mean of the samples' values, and no statistics say what else")


@check("metric")
def batch_equals_loop(subject: Subject) -> None:
    """The value does not depend on how the samples were dealt out to updates."""
    samples, captions, parts = subject.samples, half_right(subject.samples), _fresh(subject)
    half = len(samples) // 2
    for start, stop in ((0, 1), (1, half), (half, half), (half, len(samples))):
        parts.update(samples[start:stop], captions[start:stop])
    value = _judge(subject, captions).value
    close(value, parts.compute().value, "the value depends on how the samples were dealt out")


@check("metric")
def order(subject: Subject) -> None:
    """The value does not depend on the order of the samples, and each sample's follows the sample."""
    captions = half_right(subject.samples)
    score, turned = _judge(subject, captions), _judge(subject, captions, reverse=True)
    close(score.value, turned.value, "the value depends on the order of the samples")
    if score.per_sample is not None:
        reverse = turned.per_sample
        demand(reverse is not None, "per_sample is there in one order of the samples and not in another")
        for one, other in zip(score.per_sample, reverse[::-1] if reverse else (), strict=True):
            close(one, other, "a sample's value does not follow the sample")


@check("metric")
def direction(subject: Subject) -> None:
    """Reading references or candidates, it prefers right answers in the direction that it states."""
    if "image" in subject.component.needs:
        raise Skip("it looks at pictures, and the drawn ones of this kit have no say on captions")
    words = {word for need in subject.component.needs for word in need.split("|")}
    if not {"references", "candidates"} & words:
        raise Skip("it reads no references: a right caption need not be better than a wrong one")
    right = _judge(subject, right_answers(subject.samples)).value
    wrong = _judge(subject, half_right(subject.samples)).value
    # Captions of other pictures may be as good to a metric of length; positions among candidates have none.
    if math.isclose(wrong, right) and "candidates" not in words:
        wrong = _judge(subject, half_of_other_length(subject.samples)).value
    demand(
        not math.isclose(wrong, right),
        f"right captions score {right}, and so they do with half of them about something else, too long or too short: "
        "where it reads no references write needs = (); where these samples are no case for it, check it with some of "
        "your own: regionkit.core.testing.check_metric(make, samples)",
    )
    better = right > wrong if subject.component.higher_is_better else right < wrong
    stated = subject.component.higher_is_better
    demand(
        better,
        f"right captions score {right}, half of them wrong {wrong}: the direction is off; write higher_is_better = "
        f"{not stated}",
    )


@check("metric")
def empty(subject: Subject) -> None:
    """No samples at all give a finite value or a plain error."""
    for metric, samples in ((_fresh(subject), None), (_fresh(subject), ())):
        try:
            if samples is not None:
                metric.update(samples, ())
            value = metric.compute().value
        except RegionkitError:
            continue
        demand(math.isfinite(value), f"no samples give the value {value}")


@check("metric")
def nan_never_leaks(subject: Subject) -> None:
    """Empty captions and captions of unknown words give a finite value."""
    if "candidates" in subject.component.needs:
        raise Skip("it judges positions, not captions")
    for caption, words in (("", "empty captions"), ("zzz qqq 😀", "captions of unknown words"), (".", "a full stop")):
        value = _judge(subject, [caption] * len(subject.samples)).value
        demand(math.isfinite(value), f"{words} give the value {value}")


@check("metric")
def inputs_unchanged(subject: Subject) -> None:
    """Update leaves its caller's samples and captions as they are."""
    captions, samples, metric = half_right(subject.samples), list(subject.samples), _fresh(subject)
    before = digest((samples, captions))
    metric.update(samples, captions)
    metric.compute()
    demand(digest((samples, captions)) == before, "update changed its caller's samples or captions")
