"""The reward from A to E: the paper's prompt to the letter, and letters in their usual disguises."""

import pytest
from judged_cases import Scripted, sample, scored

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.judging import Unreadable
from regionkit.core.testing import SampleData
from regionkit.plugins.judges.metrics.caption_reward import CaptionReward, read_mark
from regionkit.plugins.judges.metrics.configs import CaptionRewardConfig


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("A", 1.0),
        (" B\n", 0.75),
        ("c", 0.5),
        ("B)", 0.75),
        ("b)", 0.75),
        ("(D)", 0.25),
        ("E.", 0.0),
        ("**B**", 0.75),
        ("**B)** Good", 0.75),
        ("Answer: B", 0.75),
        ("Score: **C**", 0.5),
        ("The answer is D.", 0.25),
        ("My final answer: (E)", 0.0),
        ("B) Good - Accurate main objects/scene, minor missing details", 0.75),
        ("A - Excellent", 1.0),
        ("I would rate it (C).", 0.5),
        ("I'd give this B.", 0.75),
        ("Good", 0.75),
        ("*Wrong*", 0.0),
        ("A good caption. Rating: C)", 0.5),
    ],
)
def test_marks(reply, wanted):
    assert read_mark(reply) == wanted


@pytest.mark.parametrize(
    "reply",
    ["", "F", "Apple", "A good caption", "A) or B)", "e.g. a dog", "7", "A) Excellent B) Good C) Fair", "a dog", "..."],
)
def test_what_is_no_mark(reply):
    with pytest.raises(Unreadable):
        read_mark(reply)


def metric(script, *, sees=False, dataset=None, **options):
    return CaptionReward(CaptionRewardConfig("x", **options), Scripted(script, sees=sees), dataset)


def test_the_prompt_is_the_papers():
    one = metric(lambda question, attempt: "B")
    scored(one, [sample(references=("a {caption}", "other"))], ["a dog"])
    (question,) = one.judge.asked
    assert question.prompt == (
        "Look at this image and evaluate the caption quality.\n"
        "Reference (human-written): a {caption}\n"
        "Generated caption: a dog\n"
        "Rate the generated caption:\n"
        "A) Excellent - Perfect description, captures all key details\n"
        "B) Good - Accurate main objects/scene, minor missing details\n"
        "C) Fair - Correct general scene but lacks specificity\n"
        "D) Poor - Some correct elements but major inaccuracies\n"
        "E) Wrong - Completely incorrect or irrelevant\n"
        "Answer with just the letter (A, B, C, D, or E):"
    )
    assert (question.system, question.prefill, question.images) == ("You are a helpful assistant.", "Score:", ())


def test_rewards_and_what_is_not_judged():
    marks = {"one": "A", "two": "E", "three": "none"}
    one = metric(lambda question, attempt: next(marks[word] for word in marks if f": {word}\n" in question.prompt))
    score = scored(one, [sample(str(at)) for at in range(3)], list(marks))
    assert score.value == 0.5
    assert score.per_sample[:2] == (1.0, 0.0)
    assert score.unjudged == {2: "the reply cannot be read: it has no mark from A to E"}
    assert "sees=nothing" in score.signature
    assert score.signature.endswith("n=2")
    with pytest.raises(RunFailed, match="none of 1 samples could be judged"):
        scored(metric(lambda question, attempt: "?"), [sample()], ["x"])


@pytest.mark.parametrize("view", ["whole", "crop", "drawn-box"])
def test_a_judge_that_sees_is_shown_the_picture(view):
    data = SampleData()
    samples = list(data.samples("image", "test"))[:2]
    one = metric(lambda question, attempt: "A", sees=True, dataset=data, view=view)
    score = scored(one, samples, ["x"] * len(samples))
    assert one.needs == ("references", "image")
    assert f"sees={view}" in score.signature
    sizes = [question.images[0].size for question in one.judge.asked[::-1]]
    assert sizes == [data.image(each.image_id).size for each in samples]


def test_a_judge_that_sees_needs_pictures():
    judge = Scripted(lambda question, attempt: "A", sees=True)
    with pytest.raises(DataError, match="caption-reward shows its judge the pictures of a data set"):
        CaptionReward.build(CaptionRewardConfig("x"), BuildContext(parts={"judge": judge}))
    with pytest.raises(DataError, match="caption-reward asks a judge, and none was given"):
        CaptionReward.build(CaptionRewardConfig("x"), BuildContext())
