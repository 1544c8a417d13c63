"""CLAIR: the released prompt to the letter, its reader on the golden cases, and nothing that scores 0 in silence."""

import json
import math

import pytest
from judged_cases import GOLDEN, Scripted, sample, scored

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.judging import Unreadable
from regionkit.core.statistics import Evidence, intervals
from regionkit.plugins.judges.metrics.clair import Clair, prompt_of, read_paper, read_reference, read_with_reason
from regionkit.plugins.judges.metrics.configs import ClairConfig

CASES = json.loads((GOLDEN / "clair_cases.json").read_text())


def test_the_prompt_is_the_released_one():
    assert prompt_of(CASES["prompt_for"]["candidates"], CASES["prompt_for"]["targets"]) == CASES["prompt"]


@pytest.mark.parametrize("case", CASES["cases"], ids=[case["response"][:30] for case in CASES["cases"]])
def test_the_released_reader(case):
    wanted = case["result"]
    if isinstance(wanted, str) or wanted[1] is None:  # the release raises, or gives 0 for a failure
        with pytest.raises(Unreadable):
            read_with_reason(case["response"])
    else:
        assert read_with_reason(case["response"]) == (wanted[0], wanted[1])


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        pytest.param('{"score": 85, "reason": "same"}', 0.85, id="plain"),
        pytest.param('{"reason": "a {b} c", "score": 42}', 0.42, id="braces"),
        pytest.param('{"first": {"x": 1}} {"score": "42"}', 0.42, id="second-object"),
        pytest.param('```json\n{"score": 12.5}\n```', 0.125, id="fenced"),
        pytest.param("{score: 55, reason: x}", 0.55, id="no-json"),
        pytest.param("Score: **70** of 100", 0.70, id="words"),
        pytest.param('{"score": 0}', 0.0, id="zero"),
        pytest.param('{"score": 1}', 0.01, id="one"),
        pytest.param('{"score": 0.9}', None, id="fraction"),
        pytest.param("score: 0.9", None, id="fraction-in-words"),
        pytest.param('{"score": 120}', None, id="beyond"),
        pytest.param('{"score": -3}', None, id="below"),
        pytest.param('{"score": null}', None, id="null"),
        pytest.param('{"score": true}', None, id="true"),
        pytest.param('{"score": NaN}', None, id="nan"),
        pytest.param('{"score": 1e999}', None, id="infinite"),
        pytest.param('{"score": ' + "9" * 5000 + "}", None, id="digits"),
        pytest.param("{" * 100_000, None, id="nested"),
        pytest.param("2 boats, 3 dogs", None, id="other-numbers"),
        pytest.param("", None, id="empty"),
    ],
)
def test_our_reader(reply, wanted):
    if wanted is None:
        with pytest.raises(Unreadable):
            read_paper(reply)
    else:
        assert read_paper(reply) == wanted


@pytest.mark.parametrize("reply", ["9" * 5000, '{"score": ' + "9" * 5000 + "}", '{"score": Infinity}', "." * 5000])
def test_the_released_reader_never_gives_what_is_no_number(reply):
    with pytest.raises(Unreadable):
        read_reference(reply)


def metric(script, **options):
    return Clair(ClairConfig("x", **options), Scripted(script))


def test_captions_and_references_reach_the_judge_as_they_are():
    one = metric(lambda question, attempt: '{"score": 50}')
    scored(one, [sample(references=("a {boat}", "it's red"))], ["{targets} afloat"])
    (question,) = one.judge.asked
    assert question.prompt == prompt_of(["{targets} afloat"], ["a {boat}", "it's red"])
    assert "Candidate set:\n- {targets} afloat\n\nReference set:\n- a {boat}\n- it's red\n\nOn a" in question.prompt
    assert (question.temperature, question.max_tokens, question.system) == (0.0, 1024, "")


def test_the_mistake_of_a_copy_is_an_option():
    one = metric(lambda question, attempt: '{"score": 50}', targets="characters")
    score = scored(one, [sample(references=("ab",))], ["x"])
    assert "Reference set:\n- a\n- b\n\n" in one.judge.asked[0].prompt
    assert "targets=characters" in score.signature


def test_the_score_is_a_mean_over_what_was_judged():
    replies = {"good": '{"score": 80}', "bad": '{"score": 20}', "mute": None, "odd": "no number"}
    one = metric(lambda question, attempt: next(replies[word] for word in replies if f"- {word}\n" in question.prompt))
    score = scored(one, [sample(str(at)) for at in range(4)], list(replies))
    assert score.value == pytest.approx(0.5)
    assert score.per_sample[:2] == (0.8, 0.2)
    assert all(math.isnan(value) for value in score.per_sample[2:])
    assert score.unjudged == {
        2: "the line is dead",
        3: "the reply cannot be read: it has no score, neither in JSON nor in words",
    }
    assert score.statistics.tolist() == [[0.8, 1], [0.2, 1], [0, 0], [0, 0]]
    assert score.signature.startswith("clair|judge=scripted|compat=paper|prompt=")
    assert score.signature.endswith("|n=2")
    assert len(one.judge.asked) == 2 + 3 + 3  # what failed was asked three times
    assert one.compute() is score
    assert len(one.judge.asked) == 8


def test_an_interval_knows_no_zero_that_nobody_gave():
    replies = {"good": '{"score": 80}', "bad": '{"score": 20}', "mute": None}
    one = metric(lambda question, attempt: next(replies[word] for word in replies if f"- {word}\n" in question.prompt))
    score = scored(one, [sample(str(at)) for at in range(3)], list(replies))
    low, high = intervals({"clair": Evidence.of(score, Clair)})["clair"]
    assert 0.2 - 1e-9 <= low <= 0.5 <= high <= 0.8 + 1e-9


def test_both_readers_differ_where_the_release_does_not_cut():
    def above(question, attempt):
        return '{"score": 120}'

    assert scored(metric(above, compat="reference"), [sample()], ["x"]).value == pytest.approx(1.2)
    with pytest.raises(RunFailed, match="clair: none of 1 samples could be judged") as caught:
        scored(metric(above), [sample()], ["x"])
    assert caught.value.hints == ("1 times: the reply cannot be read: its score is 120, and not between 0 and 100",)


def test_nothing_judged_is_no_zero():
    with pytest.raises(RunFailed, match="none of 2 samples could be judged") as caught:
        scored(metric(lambda question, attempt: None), [sample("1"), sample("2")], ["x", "y"])
    assert caught.value.hints == ("2 times: the line is dead",)
    with pytest.raises(RunFailed, match="there is no caption to judge"):
        metric(lambda question, attempt: "").compute()


def test_what_is_no_text_is_refused_before_anybody_is_asked():
    one = metric(lambda question, attempt: "")
    with pytest.raises(DataError, match="the caption of sample '1' is None, and must be text"):
        one.update([sample()], [None])
    with pytest.raises(DataError, match="sample '1' has no reference to be held against"):
        one.update([sample(references=())], ["x"])
    assert one.judge.asked == []
