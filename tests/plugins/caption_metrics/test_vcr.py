"""Multiple-choice replies about answers and reasons, under both definitions of a fully right question."""

from __future__ import annotations

import pytest

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.regions.configs import VcrConfig
from regionkit.plugins.caption_metrics.regions.vcr import Vcr


def ask(stage: str, question: object, label: object = 0) -> Sample:
    reference = str(label + 1) if isinstance(label, int) else "1"
    info = {"stage": stage, "question": question, "label": label}
    return Sample(f"{question}/{stage}", "i1", WholeImage(), (reference,), info)


def judged(config: VcrConfig, *pairs: tuple[Sample, str]):
    metric = Vcr(config)
    metric.update([sample for sample, _ in pairs], [reply for _, reply in pairs])
    return metric.compute()


def values(score) -> dict[str, float]:
    return {part: one.value for part, one in score.parts.items()}


REPLIES = (
    (ask("q-a", "one", 2), "3"),
    (ask("qa-r", "one", 1), "2. because"),
    (ask("q-a", "two", 0), "Choice 1, not 2"),
    (ask("qa-r", "two", 3), "1"),
    (ask("q-a", "three", 0), "2"),
    (ask("qa-r", "three", 0), "the first"),
    (ask("q-a", "four", 0), "no idea"),
    (ask("qa-r", "four", 0), "1"),
)


def test_the_standard_takes_both_of_the_first_two():
    score = judged(VcrConfig(), *REPLIES)
    assert values(score) == {"q-a": 2 / 4, "qa-r": 2 / 4, "q-ar": 1 / 4, "parsed": 6 / 8}
    assert score.value == 1 / 4
    assert score.signature == "vcr-q-ar|q-ar=and|parser=first-number|unparsable=wrong|choices=4|n=4"
    assert score.statistics.sum(0).tolist() == [1, 4]


def test_a_third_generation_takes_the_answer_and_the_reason_for_the_chosen_answer():
    third = [
        (ask("q-ar", name, 1), reply) for name, reply in [("one", "2"), ("two", "3"), ("three", "2"), ("four", "2")]
    ]
    score = judged(VcrConfig(q_ar="third-generation"), *REPLIES, *third)
    assert values(score) == {"q-a": 2 / 4, "qa-r": 2 / 4, "q-ar": 1 / 4, "parsed": 10 / 12}
    # question two: both of the first two are wrong under one definition, and it is no better under the other
    both = judged(VcrConfig(q_ar="third-generation"), *REPLIES, *third[:1], (ask("q-ar", "two", 2), "3"), *third[2:])
    assert both.value == 2 / 4
    assert "q-ar=third-generation" in both.signature


def test_a_reply_without_a_number_is_the_first_choice_only_when_asked_for_and_is_always_counted():
    score = judged(VcrConfig(unparsable="first"), *REPLIES)
    assert values(score) == {"q-a": 3 / 4, "qa-r": 3 / 4, "q-ar": 2 / 4, "parsed": 6 / 8}
    assert "unparsable=first" in score.signature


@pytest.mark.parametrize("unparsable", ["wrong", "first"])
@pytest.mark.parametrize("reply", ["0", "5", "9" * 5000], ids=["zero", "beyond", "endless"])
def test_a_number_that_is_no_choice_is_never_right(reply, unparsable):
    config = VcrConfig(stages=("q-a",), unparsable=unparsable)
    assert values(judged(config, (ask("q-a", 1, 0), reply))) == {"q-a": 0.0, "parsed": 0.0}


def test_a_question_of_which_a_reply_is_missing_is_not_right():
    score = judged(VcrConfig(), *REPLIES[:3])
    assert values(score) == {"q-a": 1.0, "qa-r": 1.0, "q-ar": 1 / 2, "parsed": 1.0}


def test_stages_that_no_sample_is_of_are_refused():
    with pytest.raises(DataError, match="vcr: no sample is of stage 'qa-r'") as caught:
        judged(VcrConfig(), REPLIES[0])
    assert "stages: [q-a]" in str(caught.value)
    with pytest.raises(DataError, match="no sample is of stage 'q-ar'"):
        judged(VcrConfig(stages=("q-a", "q-ar"), q_ar="third-generation"), *REPLIES)
    assert judged(VcrConfig(stages=("q-a",)), REPLIES[0]).value == 1.0


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        pytest.param(ask("why", 1), "sample '1/why' has the stage 'why'", id="stage"),
        pytest.param(ask("q-a", None), r"does not say of which question it is: info\['question'\]", id="question"),
        pytest.param(ask("q-a", ["a"]), r"does not say of which question it is: info\['question'\]", id="a-list"),
        pytest.param(ask("q-a", 1, 4), "has the label 4", id="label"),
        pytest.param(ask("q-a", 1, "2"), "has the label '2'", id="no-number"),
        pytest.param(ask("q-ar", 1), "is of stage q-ar, which q_ar: and makes of the two others", id="third"),
        pytest.param(Sample("s", "i", WholeImage(), ("1",)), "sample 's' has the stage None", id="nothing"),
    ],
)
def test_samples_that_do_not_say_what_is_asked_are_named(sample, message):
    with pytest.raises(DataError, match=message):
        Vcr(VcrConfig()).update([sample], ["1"])


def test_one_reply_a_stage_and_question():
    with pytest.raises(DataError, match="samples '1/q-a' and '1/q-a' are both q-a of question '1'"):
        judged(VcrConfig(), (ask("q-a", 1), "1"), (ask("q-a", 1), "2"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"stages": ()}, "stages are some of: q-a, qa-r, q-ar", id="none"),
        pytest.param({"stages": ("q-a", "q-a")}, "each once", id="twice"),
        pytest.param({"stages": ("a",)}, "not: a", id="unknown"),
        pytest.param({"choices": 1}, "there are two choices or more", id="choices"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        VcrConfig(**options)


@pytest.mark.parametrize("q_ar", ["and", "third-generation"])
def test_conforms(q_ar):
    stages = ("q-a", "qa-r") if q_ar == "and" else ("q-a", "qa-r", "q-ar")
    samples = [ask(stage, question, (question + at) % 4) for question in range(4) for at, stage in enumerate(stages)]
    check_metric(lambda: Vcr(VcrConfig(q_ar=q_ar)), samples)
