"""The layer that asks judges: attempts, kept replies, what is counted."""

import os

import pytest
from PIL import Image

from regionkit.core.errors import RunFailed
from regionkit.core.judging import (
    Answer,
    Asking,
    Judge,
    Place,
    Question,
    Reply,
    Unreadable,
    ask_all,
    require_answers,
)
from regionkit.core.replies import ReplyFile


class Scripted(Judge):
    """Replies with a function of prompt and attempt, last question first."""

    def __init__(self, script, path=None, identity="toy"):
        self.script, self.path, self.identity, self.asked = script, path, identity, []

    def replies(self):
        return None if self.path is None else ReplyFile(self.path)

    def ask(self, questions, attempt=0):
        for at, one in reversed(list(enumerate(questions))):
            self.asked.append((one.prompt, attempt))
            yield at, self.script(one.prompt, attempt)


def number(reply):
    if not reply.isdigit():
        raise Unreadable("it is no number")
    return int(reply)


def refuse(reply):
    raise Unreadable("never")


def reply_is(wanted, reply):
    if reply != wanted:
        raise Unreadable("another one")
    return reply


def questions(*prompts):
    return [Question(one) for one in prompts]


def test_answers_stand_in_the_order_of_the_questions():
    judge = Scripted(lambda prompt, attempt: Reply(prompt))
    answers = ask_all(judge, questions("1", "2", "1", "3"), number)
    assert [one.value for one in answers] == [1, 2, 1, 3]
    assert judge.asked == [("3", 0), ("2", 0), ("1", 0)]


def test_questions_with_a_reader_each():
    judge = Scripted(lambda prompt, attempt: Reply(prompt if attempt else "1"))
    answers = ask_all(
        judge, questions("1", "b", "1", "c"), [number, str, refuse, lambda reply: reply_is("c", reply)], 2
    )
    assert [(one.value, one.attempts) for one in answers] == [(1, 1), ("1", 1), (1, 1), ("c", 2)]


def test_equal_questions_at_several_places_are_told_apart_by_a_judge_that_looks_at_places():
    asked = [Question("a", place=Place(one, 0, 1)) for one in ("x", "y", "x")]
    assert len({one.key() for one in asked}) == 1
    judge = Scripted(lambda prompt, attempt: Reply("1"))
    ask_all(judge, asked, number)
    assert len(judge.asked) == 1
    judge.places = True
    ask_all(judge, asked, number)
    assert len(judge.asked) == 3


def test_nothing_asked():
    assert ask_all(Scripted(lambda prompt, attempt: Reply("1")), [], number) == []


@pytest.mark.parametrize(
    ("replies", "wanted"),
    [
        pytest.param([Reply("7")], Answer(7, "7", "", 1, 1), id="first"),
        pytest.param([Reply("x"), Reply("7")], Answer(7, "7", "", 2, 2), id="second"),
        pytest.param([Reply(None, "gone"), Reply("7")], Answer(7, "7", "", 2, 2), id="after-silence"),
        pytest.param(
            [Reply("x"), Reply("y"), Reply("z")],
            Answer(None, "z", "the reply cannot be read: it is no number", 3, 3),
            id="never",
        ),
        pytest.param([Reply(None, "refused", final=True)], Answer(None, "", "refused", 1, 1), id="final"),
        pytest.param([Reply(None)], Answer(None, "", "the judge said nothing, and not why", 3, 3), id="mute"),
        pytest.param(
            [Reply("x"), Reply(None, "no further reply", final=True)],
            Answer(None, "x", "the reply cannot be read: it is no number; asked again: no further reply", 2, 2),
            id="read-then-silent",
        ),
    ],
)
def test_attempts(replies, wanted):
    judge = Scripted(lambda prompt, attempt: replies[min(attempt, len(replies) - 1)])
    assert ask_all(judge, questions("a"), number, 3) == [wanted]


def test_a_judge_that_forgets_a_question_is_counted_and_one_that_repeats_is_told():
    class Forgetful(Scripted):
        def ask(self, questions, attempt=0):
            yield from list(super().ask(questions, attempt))[1:]

    answers = ask_all(Forgetful(lambda prompt, attempt: Reply("1")), questions("a", "b"), number, 2)
    assert [one.value for one in answers] == [1, None]
    assert answers[1].error == "the judge gave no reply at all"

    class Twice(Scripted):
        def ask(self, questions, attempt=0):
            yield from [(0, Reply("1")), (0, Reply("2"))]

    with pytest.raises(ValueError, match=r"Twice.ask\(\) gave reply 0 twice"):
        ask_all(Twice(None), questions("a", "b"), number)


def test_a_second_run_asks_nobody(tmp_path):
    path = tmp_path / "kept.jsonl"
    first = Scripted(lambda prompt, attempt: Reply("1" if attempt or prompt == "a" else "x"), path)
    again = Scripted(lambda prompt, attempt: pytest.fail("asked again"), path)
    answers = ask_all(first, questions("a", "b"), number, 2)
    kept = ask_all(again, questions("b", "a"), number, 2)
    assert [(one.value, one.asked) for one in answers] == [(1, 1), (1, 2)]
    assert [(one.value, one.asked, one.attempts) for one in kept] == [(1, 0, 2), (1, 0, 1)]


def test_silence_is_not_kept(tmp_path):
    path = tmp_path / "kept.jsonl"
    ask_all(Scripted(lambda prompt, attempt: Reply(None, "busy"), path), questions("a"), number)
    assert not path.exists()
    (answer,) = ask_all(Scripted(lambda prompt, attempt: Reply("1"), path), questions("a"), number)
    assert answer.value == 1


def test_an_asking_reads_kept_replies_once_and_finds_its_own(tmp_path):
    path = tmp_path / "kept.jsonl"
    judge = Scripted(lambda prompt, attempt: Reply("1"), path)
    asking = Asking(judge, number)
    asking(questions("a"))
    path.unlink()
    asking(questions("a", "b"))
    assert judge.asked == [("a", 0), ("b", 0)]


def test_what_was_said_before_a_stop_is_kept(tmp_path):
    path = tmp_path / "kept.jsonl"

    def script(prompt, attempt):
        if prompt == "a":  # the last to be asked
            raise KeyboardInterrupt
        return Reply("1")

    with pytest.raises(KeyboardInterrupt):
        ask_all(Scripted(script, path), questions("a", "b", "c"), number)
    judge = Scripted(lambda prompt, attempt: Reply("1"), path)
    ask_all(judge, questions("a", "b", "c"), number)
    assert judge.asked == [("a", 0)]


RED, BLUE = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (2, 3), "blue")


def test_every_thing_that_decides_an_answer_is_in_the_key():
    plain = Question("a")
    others = [
        Question("b"),
        Question("a", "s"),
        Question("a", images=(RED,)),
        Question("a", images=(BLUE,)),
        Question("a", images=(RED, BLUE)),
        Question("a", images=(RED.rotate(90, expand=True),)),
        Question("a", images=(RED.convert("RGBX"),)),
        Question("a", prefill="x"),
        Question("a", temperature=0.1),
        Question("a", top_p=0.1),
        Question("a", max_tokens=1),
    ]
    keys = {plain.key(), plain.key(1), plain.key(0, "model"), *(one.key() for one in others)}
    assert len(keys) == len(others) + 3
    assert Question("a", images=(RED.copy(),)).key() == others[2].key()
    assert Question("\ud800").key() != Question("?").key()


def test_models_do_not_find_each_others_replies(tmp_path):
    path = tmp_path / "kept.jsonl"
    for identity, reply in (("one", "1"), ("two", "2")):
        judge = Scripted(lambda prompt, attempt, reply=reply: Reply(reply), path, identity)
        assert ask_all(judge, questions("a"), number)[0].value == int(reply)


def test_the_cache_of_a_model_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path))
    names = ["org/model:1", "org/model 1", "../../etc/passwd", "x" * 500, "é", ""]
    paths = [ReplyFile.of_cache(name).path for name in names]
    assert len(set(paths)) == len(names)
    assert all(path.parent == tmp_path / "judges" and len(path.name) < 80 for path in paths)


def test_nothing_answered_is_told_with_its_reasons():
    lost = [Answer(None, "", reason) for reason in ("busy", "busy", "gone")]
    require_answers("clair", [*lost, Answer(1)])
    require_answers("clair", [])
    with pytest.raises(RunFailed, match="clair: none of 3 questions has an answer") as caught:
        require_answers("clair", lost)
    assert caught.value.hints == ("2 times: busy", "1 times: gone")


def test_a_full_disk_stops_the_run(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    path = tmp_path / "kept.jsonl"
    path.symlink_to("/dev/full")

    class Full(Scripted):
        def replies(self):
            kept = ReplyFile(tmp_path / "none.jsonl")
            kept.path = path
            return kept

    with pytest.raises(RunFailed, match="replies cannot be kept: No space left on device"):
        ask_all(Full(lambda prompt, attempt: Reply("1")), questions("a"), number)
