"""DLC-Bench: the released prompt and reader, and scores that are worked out by hand."""

import json
import math

import pytest
from judged_cases import GOLDEN, Scripted, sample, scored

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.judging import Unreadable
from regionkit.core.statistics import Evidence, intervals
from regionkit.plugins.judges.backends.configs import RecordedConfig
from regionkit.plugins.judges.backends.recorded import RecordedJudge
from regionkit.plugins.judges.metrics.configs import DlcBenchConfig
from regionkit.plugins.judges.metrics.dlc_bench import DlcBench
from regionkit.plugins.judges.metrics.dlc_questions import (
    article,
    choice_in,
    is_plural,
    prompt_of,
    recognition_question,
)

GOLDEN_CASES = json.loads((GOLDEN / "dlc_parser_cases.json").read_text())
CASES = [(GOLDEN_CASES["choice_sets"][one["choices"]], one["pred"], one["result"]) for one in GOLDEN_CASES["cases"]]
WHICH = "Which of the following is applicable to the description?"


@pytest.mark.parametrize(("choices", "reply", "wanted"), CASES)
def test_the_released_reader(choices, reply, wanted):
    if isinstance(wanted, str):  # the release raises
        with pytest.raises(Unreadable):
            choice_in(reply, choices)
    else:
        assert choice_in(reply, choices) == wanted


def test_all_golden_cases_are_there():
    assert len(CASES) == 50
    assert sum(isinstance(wanted, str) for *_, wanted in CASES) == 5


def test_the_prompt():
    assert prompt_of("A {question} wheel.", WHICH, ["It is red.", "Not mentioned."]) == (
        "Answer the multiple-choice question based on the text description of an object in an image. You need to "
        "follow these rules:\n1. Do not output any reasoning. Do not perform correction. Please output exactly one "
        "answer from the choices for each question. Do not repeat the question.\n2. There is no need for exact "
        "matching. Please choose the closest option based on the description.\n\nThe description is:\n"
        "A {question} wheel.\n\nFrom the description above, please answer the following question with one of the "
        "choices:\nWhich of the following is applicable to the description?\nA. It is red.\nB. Not mentioned.\n"
    )


PLURALS = ["chopsticks", "glasses", "sandals", "scissors", "slippers", "sneakers", "street lights", "wine glass"]


@pytest.mark.parametrize("name", PLURALS)
def test_plural_classes_of_the_release(name):
    assert is_plural(name)
    assert f"Is it likely that the objects in the description are {name} or objects of a similar type?" in (
        recognition_question(name)
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("bus", "a bus"),
        ("apple", "an apple"),
        ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"),
        ("unicycle", "a unicycle"),
        ("urinal", "a urinal"),
        ("european sign", "a european sign"),
        ("egg", "an egg"),
        ("one-way sign", "a one-way sign"),
        ("horse", "a horse"),
        ("Orange", "an Orange"),
        ("x-ray", "an x-ray"),
        ("t-shirt", "a t-shirt"),
        ("u-turn sign", "a u-turn sign"),
        ("usb drive", "a usb drive"),
    ],
)
def test_articles(name, wanted):
    assert not is_plural(name)
    assert f"{article(name)} {name}" == wanted
    assert recognition_question(name) == (
        f"Is it likely that the object in the description is {wanted} or an object of a similar type? "
        "Again, It does not have to be an exact match."
    )


def question(side, **points):
    return {"question": WHICH, "choices": [[text.replace("_", " "), one] for text, one in points.items()], "type": side}


COLOUR = question("positive", red_paint=1, no_paint=0, blue_paint=-1)
SIZE = question("positive", large_size=1, some_size=0.5, no_size=0)
DOOR = question("negative", a_door=-1, without_door=1)
ROOF = question("negative", a_roof=-1, without_roof=1)
BOAT = sample("1", (), questions=[COLOUR, SIZE, DOOR], class_name="boat")
CAT = sample("2", (), questions=[SIZE, DOOR, ROOF], class_name="cat")
CAPTIONS = ["a red boat", "a dog with a door"]
# Boat: recognised; colour 1, size .5; no door. Cat: not recognised; large counts 0, a door -1, no roof counts 0.


def reply_of(question):
    """What the judge of this test says, by caption and question."""
    boat = "a red boat" in question.prompt.split("From the description")[0]
    asked = question.prompt.split("one of the choices:\n")[1]
    if asked.startswith("Is it likely"):
        return "A. Yes" if boat else "B. No"
    if "red paint" in asked:
        return "A. red paint"
    if "some size" in asked:
        return "B. some size" if boat else "A. large size"
    if "a door" in asked:
        return "B. without door" if boat else "A. a door"
    return "B. without roof"


def judged(script, samples=(BOAT, CAT), captions=CAPTIONS, **options):
    return scored(DlcBench(DlcBenchConfig("x", **options), Scripted(script)), samples, captions)


def values(score):
    return {name: part.value for name, part in score.parts.items()}


def test_scores_by_hand():
    score = judged(lambda question, attempt: reply_of(question))
    # boat: pos (1 + .5) / 2, neg 1; cat: pos min(0, 1) = 0, neg (-1 + min(0, 1)) / 2
    wanted = {"pos": (0.75 + 0) / 2, "neg": (1 - 0.5) / 2, "recognition": 0.5, "answered": 1.0}
    wanted = {"avg": (wanted["pos"] + wanted["neg"]) / 2, **wanted}
    assert values(score) == wanted
    assert score.value == wanted["avg"]
    assert score.parts["pos"].per_sample == (0.75, 0.0)
    assert score.parts["neg"].per_sample == (1.0, -0.5)
    assert score.per_sample == (0.875, -0.25)
    assert score.unjudged == {}
    assert score.signature.startswith("dlc-bench-avg|judge=scripted|compat=paper|pooling=instance|prompt=")


def test_the_published_sum_over_questions():
    score = judged(lambda question, attempt: reply_of(question), pooling="question")
    assert score.parts["pos"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert score.parts["neg"].value == pytest.approx((1 - 1 + 0) / 3)
    assert "pooling=question" in score.signature


def evaluation_file(path, *, chat=False):
    """A file in the layout of the release's evaluation, made by hand."""
    held = {}
    for one, caption in zip((BOAT, CAT), CAPTIONS, strict=True):
        metric = DlcBench(DlcBenchConfig("x"), Scripted(lambda question, attempt: reply_of(question)))
        metric.update([one], [caption])
        metric.compute()
        asked = metric.judge.asked[::-1]
        prompts = [[{"role": "user", "content": question.prompt}] if chat else question.prompt for question in asked]
        held[f"90{one.id}"] = {
            "pred": caption,
            "prompt": prompts,
            "response": [reply_of(question) for question in asked],
            "score": 0.5,
            "score_pos": 0.5,
            "score_neg": 0.5,
            "neg_valid_num": 1,
            "recognition_result": True,
        }
    path.write_text(json.dumps({**held, "avg_pos": 0.375, "avg_neg": 0.25}))


@pytest.mark.parametrize("chat", [pytest.param(False, id="texts"), pytest.param(True, id="messages")])
def test_an_evaluation_file_is_replayed(tmp_path, chat):
    path = tmp_path / "evaluation.json"
    evaluation_file(path, chat=chat)
    judge = RecordedJudge(RecordedConfig(str(path), "meta-llama/Llama-3.1-8B-Instruct"))
    score = scored(DlcBench(DlcBenchConfig("x"), judge), [BOAT, CAT], CAPTIONS)
    assert values(score) == {"avg": 0.3125, "pos": 0.375, "neg": 0.25, "recognition": 0.5, "answered": 1.0}
    assert "judge=meta-llama/Llama-3.1-8B-Instruct" in score.signature
    # Another caption was never judged: all its questions are counted, none scores 0.
    score = scored(DlcBench(DlcBenchConfig("x"), judge), [BOAT, CAT], [CAPTIONS[0], "something else"])
    assert values(score) == {"avg": 0.875, "pos": 0.75, "neg": 1.0, "recognition": 1.0, "answered": 0.5}
    assert score.unjudged == {
        1: "nobody can tell whether the object is recognised: evaluation.json holds no reply to this question"
    }


def test_replies_by_order_are_found_whatever_the_caption(tmp_path):
    path = tmp_path / "evaluation.json"
    evaluation_file(path)
    boat, cat = (sample(f"90{one.id}", (), **one.info) for one in (BOAT, CAT))
    judge = RecordedJudge(RecordedConfig(str(path), "llama", "order"))
    # One caption for both: their equal questions have a reply each.
    score = scored(DlcBench(DlcBenchConfig("x"), judge), [boat, cat], ["elsewhere", "elsewhere"])
    assert values(score) == {"avg": 0.3125, "pos": 0.375, "neg": 0.25, "recognition": 0.5, "answered": 1.0}
    assert "judge=llama (replies by order)|" in score.signature
    fewer = sample("902", (), **{**CAT.info, "questions": [SIZE, DOOR]})
    score = scored(DlcBench(DlcBenchConfig("x"), judge), [boat, fewer, BOAT], ["elsewhere"] * 3)
    assert values(score)["pos"] == 0.75
    lost = "nobody can tell whether the object is recognised: evaluation.json holds"
    assert score.unjudged == {
        1: f"{lost} 4 replies for sample '902', of which 3 questions are asked",
        2: f"{lost} no replies for sample '1'",
    }


def test_a_question_is_asked_again_where_its_reply_names_none_of_its_choices():
    def script(question, attempt):
        return "well" if "some size" in question.prompt and not attempt else reply_of(question)

    assert values(judged(script))["answered"] == 1 - 2 / 8
    assert values(judged(script, attempts=2))["answered"] == 1.0
    # "C" is one of the choices of colour and size, and beyond those of the others.
    score = judged(lambda question, attempt: reply_of(question) if attempt else "C", attempts=2)
    assert values(score)["answered"] == 1.0
    assert score.parts["recognition"].per_sample == (1.0, 0.0)
    assert score.parts["pos"].per_sample == (-0.5, 0.0)
    assert score.parts["neg"].per_sample == (1.0, -0.5)


def spoiled(*words, reply="zzz"):
    """Reply as above, but with ``reply`` to the boat's questions that hold one of the words."""

    def script(question, attempt):
        boat = "a red boat" in question.prompt.split("From the description")[0]
        asked = question.prompt.split("one of the choices:\n")[1]
        return reply if boat and any(word in asked for word in words) else reply_of(question)

    return script


@pytest.mark.parametrize("reply", ["zzz", "e", "E. foo"])
@pytest.mark.parametrize(("compat", "pos"), [("paper", 1.0), ("reference", 0.5)])
def test_what_cannot_be_read_is_counted_and_left_out_or_0(reply, compat, pos):
    score = judged(spoiled("some size", reply=reply), compat=compat)
    assert score.parts["pos"].per_sample == (pos, 0.0)
    assert score.parts["answered"].value == 7 / 8
    assert score.unjudged == {}


@pytest.mark.parametrize("reply", [None, "", " "])
def test_what_was_never_answered_scores_0_in_no_mode(reply):
    score = judged(spoiled("some size", reply=reply), compat="reference")
    assert score.parts["pos"].per_sample == (1.0, 0.0)
    assert score.parts["answered"].per_sample == (3 / 4, 1.0)


@pytest.mark.parametrize("reply", [None, "perhaps"])
@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_an_instance_without_recognition_is_not_judged(reply, compat):
    score = judged(spoiled("Is it likely", reply=reply), compat=compat)
    assert list(score.unjudged) == [0]
    assert score.unjudged[0].startswith("nobody can tell whether the object is")
    assert values(score) == {"avg": -0.25, "pos": 0.0, "neg": -0.5, "recognition": 0.0, "answered": 7 / 8}
    assert score.per_sample is not None
    assert score.statistics.tolist()[0] == [0, 0, 0, 0]


def test_a_side_without_answers_is_left_out_of_its_mean():
    score = judged(spoiled("a door"))
    neg = score.parts["neg"]
    assert neg.value == -0.5
    assert neg.unjudged == {0: "no answer to its negative questions: the reply cannot be read: it names no choice"}
    assert math.isnan(neg.per_sample[0])
    assert neg.per_sample[1:] == (-0.5,)
    assert "|n=1" in neg.signature
    assert (score.unjudged, score.parts["pos"].unjudged) == ({}, {})
    assert score.parts["pos"].per_sample == (0.75, 0.0)


def test_nothing_answered_is_no_zero():
    with pytest.raises(RunFailed, match="dlc-bench: none of 2 samples could be judged") as caught:
        judged(lambda question, attempt: None)
    assert caught.value.hints == ("2 times: nobody can tell whether the object is recognised: the line is dead",)


def test_intervals_follow_from_the_statistics():
    samples = [sample(str(at), (), **(BOAT if at % 2 else CAT).info) for at in range(20)]
    score = judged(lambda question, attempt: reply_of(question), samples, [CAPTIONS[1 - at % 2] for at in range(20)])
    evidence = {name: Evidence.of(part, DlcBench, name) for name, part in score.parts.items()}
    assert {name: one.value for name, one in evidence.items()} == pytest.approx(values(score))
    low, high = intervals(evidence)["avg"]
    assert -0.25 <= low < score.value < high <= 0.875


@pytest.mark.parametrize(
    ("info", "message"),
    [
        pytest.param({"questions": [DOOR]}, "does not say its class", id="class"),
        pytest.param({"questions": [], "class_name": "cat"}, "sample '7' has no questions", id="none"),
        pytest.param({"questions": "x", "class_name": "cat"}, "sample '7' has no questions", id="text"),
        pytest.param({"questions": [5], "class_name": "cat"}, "question 1 of sample '7': it is no record", id="record"),
        pytest.param({"questions": [{**DOOR, "type": "x"}], "class_name": "c"}, "its type is 'x'", id="type"),
        pytest.param({"questions": [{**DOOR, "choices": []}], "class_name": "c"}, "it has no choices", id="choices"),
        pytest.param({"questions": [{**DOOR, "choices": [["a"]]}], "class_name": "c"}, "with its points", id="points"),
        pytest.param(
            {"questions": [{**DOOR, "choices": [["a", float("nan")]]}], "class_name": "c"}, "with its points", id="nan"
        ),
        pytest.param({"questions": [{**DOOR, "choices": [["a", 10**400]]}], "class_name": "c"}, "points", id="huge"),
    ],
)
def test_questions_of_another_form_are_refused(info, message):
    with pytest.raises(DataError, match=message):
        judged(lambda question, attempt: "A", [sample("7", (), **info)], ["x"])


def test_data_without_negative_questions_have_no_negative_score():
    only = sample("7", (), questions=[COLOUR], class_name="boat")
    with pytest.raises(DataError, match="no sample has a negative question"):
        judged(lambda question, attempt: "A", [only], ["x"])
