"""VideoRefer-Bench-D: the released reader on the golden cases, and four scores with a coverage each."""

import json
import math

import pytest
from judged_cases import GOLDEN, Scripted, sample, scored

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.judging import Unreadable
from regionkit.plugins.judges.metrics.configs import VideoReferConfig
from regionkit.plugins.judges.metrics.videorefer_d import (
    DIMENSIONS,
    SYSTEM,
    VideoReferD,
    read_paper,
    read_reference,
    released_scores,
)

CASES = json.loads((GOLDEN / "videorefer_d_parse_cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=["plain", "bold", "of-five", "brackets"])
def test_the_released_reader(case):
    assert released_scores(case["text"]) == case["result"]


def form(*scores, line="{number}. {name}: {score}\nExplanation: fine."):
    pairs = zip(DIMENSIONS.values(), scores, strict=False)
    return "\n".join(
        line.format(number=number, name=name, score=score) for number, (name, score) in enumerate(pairs, 1)
    )


ALL = {"subject": 5.0, "appearance": 4.0, "temporal": 3.0, "hallucination": 2.0}


@pytest.mark.parametrize(
    "line",
    [
        "{number}. {name}: {score}\nExplanation: in 2. part: 7 things",
        "{number}) {name}: {score}",
        "{number}. **{name}**: {score}",
        "**{number}. {name}:** {score}/5",
        "### {number}. {name}: **{score}**",
        "{number}. {name}: Score: {score}.0",
    ],
)
def test_our_reader(line):
    assert read_paper(form(5, 4, 3, 2, line=line)) == ALL
    assert read_paper(form(5, 4, 3, 2, line=line).upper().lower()) == ALL


@pytest.mark.parametrize(
    "reply",
    ["", "All fine.", form(6, 7, 55, 100), form(-1, -2), form("five"), "1. Part: 5", "1. " * 30_000, form("9" * 5000)],
)
def test_what_our_reader_cannot_read(reply):
    with pytest.raises(Unreadable):
        read_paper(reply)


@pytest.mark.parametrize("reply", ["", "1) Subject Correspondence: 3", form("1.2.3"), "1. " * 30_000, form("9" * 5000)])
def test_what_the_released_reader_cannot_read(reply):
    with pytest.raises(Unreadable):
        read_reference(reply)


def test_the_released_reader_drops_bold_names_and_keeps_what_is_beyond():
    assert read_reference(form(5, 9)) == {"subject": 5.0, "appearance": 9.0}
    assert read_paper(form(5, 9)) == {"subject": 5.0}


def metric(script, **options):
    return VideoReferD(VideoReferConfig("x", **options), Scripted(script))


def test_what_is_asked():
    one = metric(lambda question, attempt: form(5, 4, 3, 2))
    scored(one, [sample(references=("a {caption} runs",))], ["a dog sits"])
    (question,) = one.judge.asked
    assert question.prompt == "##Correct answer: a {caption} runs\n##Predicted answer: a dog sits\n"
    assert question.system == SYSTEM
    assert (question.temperature, question.top_p, question.max_tokens) == (0.7, 0.95, 800)


def test_means_and_coverage_of_each_dimension():
    replies = {"whole": form(5, 4, 3, 2), "half": form(1, 2), "odd": "I cannot say.", "mute": None}

    def script(question, attempt):
        return replies[question.prompt.split(": ")[-1].strip()]

    one = metric(script)
    score = scored(one, [sample(str(at)) for at in range(4)], list(replies))
    assert {name: part.value for name, part in score.parts.items()} == {
        "avg": (3 + 3 + 3 + 2) / 4,
        "subject": 3.0,
        "appearance": 3.0,
        "temporal": 3.0,
        "hallucination": 2.0,
    }
    assert list(score.unjudged) == [2, 3]
    assert list(score.parts["subject"].unjudged) == [2, 3]
    assert score.parts["temporal"].unjudged == {
        1: "the reply has no readable score of 'Temporal Description'",
        2: "the reply cannot be read: it has none of the four scores",
        3: "the line is dead",
    }
    assert score.per_sample[:2] == (3.5, 1.5)
    assert math.isnan(score.per_sample[2])
    assert score.parts["temporal"].signature.endswith("|n=1")
    assert score.signature.endswith("|n=2")
    assert one.pool("avg", score.statistics.sum(0, keepdims=True)) == pytest.approx([score.value])
    assert len(one.judge.asked) == 2 + 5 + 5  # five attempts


def test_a_dimension_without_any_score_is_no_zero():
    with pytest.raises(RunFailed, match="videorefer-d-temporal: none of 1 samples could be judged"):
        scored(metric(lambda question, attempt: form(5, 4)), [sample()], ["x"])
    with pytest.raises(RunFailed, match="videorefer-d: none of 1 samples could be judged"):
        scored(metric(lambda question, attempt: None), [sample()], ["x"])


def test_the_words_of_the_system_from_a_file(tmp_path):
    path = tmp_path / "system.txt"
    path.write_text("Judge hard.\n")
    one = metric(lambda question, attempt: form(5, 4, 3, 2), system_prompt=str(path))
    mine, ours = scored(one, [sample()], ["x"]), scored(metric(one.judge.script), [sample()], ["x"])
    assert one.judge.asked[0].system == "Judge hard."
    assert mine.signature != ours.signature


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "the words of the system cannot be read: No such file", id="missing"),
        pytest.param(b"\xff\xfe\xff", "not UTF-8", id="bytes"),
        pytest.param(b" \n", "holds no words for the system", id="empty"),
    ],
)
def test_a_file_of_the_system_that_cannot_be_used_is_told_before_captions_are_made(tmp_path, content, message):
    path = tmp_path / "system.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        metric(lambda question, attempt: "", system_prompt=str(path)).prepare()


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_p": 0.0}, {"attempts": 0}, {"max_tokens": 0}])
def test_draws_that_cannot_be(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        VideoReferConfig("x", **options)
