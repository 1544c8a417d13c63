"""The trace-captioning benchmark: the paper's prompt, replies to it, and what is trimmed off traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from regionkit.core.judging import Unreadable
from regionkit.plugins.datasets.narratives.benchmark import trimmed
from regionkit.plugins.datasets.narratives.prompt import PROMPT, SLOT, question, read_reply
from regionkit.plugins.datasets.narratives.recording import TracePoint

PAPER = Path(__file__).parents[4] / "shared" / "papers" / "patchioner.md"


def test_the_prompt_is_the_papers() -> None:
    if not PAPER.is_file():
        pytest.skip("papers/patchioner.md is not beside this checkout")
    text = PAPER.read_text(encoding="utf-8")
    start = text.index("I have image descriptions derived from spoken narratives.")
    printed = text[start : text.index("```", text.index(SLOT, start))]
    assert " ".join(printed.replace("↳", " ").split()) == " ".join(PROMPT.split())
    assert PROMPT.count("**Input:**") == PROMPT.count("**Output:** {") == 13


def test_a_question_holds_the_sentence_and_is_asked_plainly() -> None:
    asked = question("There is a {dog}.")
    assert asked.prompt.endswith("add nothing else:\nThere is a {dog}.\n")
    assert SLOT not in asked.prompt
    assert (asked.temperature, asked.max_tokens, asked.system) == (0.0, 128, "")


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        pytest.param("{A sky.}", "A sky.", id="plain"),
        pytest.param("  {A sky.}\n", "A sky.", id="blanks"),
        pytest.param("**Output:** {A\n sky.}", "A sky.", id="words-around-and-lines"),
        pytest.param("`{A sky.}`", "A sky.", id="quoted"),
        pytest.param("{A sky.}\n{A sky.}", "A sky.", id="twice-the-same"),
        pytest.param("{'A sky.'}", "A sky.", id="quotes-inside"),
        pytest.param("{<INVALID>}", "", id="invalid"),
        pytest.param("{ INVALID }", "", id="invalid-bare"),
        pytest.param("<INVALID>", "", id="invalid-without-braces"),
        pytest.param("{}", "", id="empty-braces"),
        pytest.param("``", "", id="empty-quotes-as-the-prompt-says"),
        pytest.param("{``}", "", id="both"),
        pytest.param("", "", id="nothing"),
        pytest.param(" \n", "", id="blank"),
    ],
)
def test_replies_are_read(reply: str, wanted: str) -> None:
    assert read_reply(reply) == wanted


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        pytest.param("A sky.", "no braces around a caption", id="no-braces"),
        pytest.param("{A sky.", "no braces around a caption", id="open"),
        pytest.param("{A sky.} {A sea.}", "there are 2 captions in braces, one is expected", id="two"),
        pytest.param("Sorry, I can't help with that.", "no braces", id="refusal"),
    ],
)
def test_replies_of_another_form_are_refused(reply: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        read_reply(reply)


@pytest.mark.parametrize(
    ("count", "share", "left"),
    [
        pytest.param(20, 0.15, range(3, 17), id="twenty"),
        pytest.param(100, 0.15, range(15, 85), id="hundred"),
        pytest.param(6, 0.15, range(6), id="rounded-down"),
        pytest.param(7, 0.15, range(1, 6), id="seven"),
        pytest.param(10, 0.0, range(10), id="none"),
        pytest.param(30, 0.1, range(3, 27), id="no-rounding-error"),
        pytest.param(0, 0.15, range(0), id="empty"),
    ],
)
def test_both_ends_are_trimmed(count: int, share: float, left: range) -> None:
    points = [TracePoint(0.5, 0.5, float(at)) for at in range(count)]
    assert [point.t for point in trimmed(points, share)] == list(left)
