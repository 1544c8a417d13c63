"""Replies from a file, in whatever form somebody kept them."""

import gzip
import json

import pytest

from regionkit.core.errors import DataError
from regionkit.core.judging import Judge, Place, Question, Reply, Unreadable, ask_all
from regionkit.core.replies import ReplyFile
from regionkit.plugins.judges.backends.configs import RecordedConfig
from regionkit.plugins.judges.backends.recorded import RecordedJudge


def recorded(path, content, **options):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return RecordedJudge(RecordedConfig(str(path), **options))


def said(judge, *questions):
    asked = [Question(one) if isinstance(one, str) else one for one in questions]
    return [answer.value or answer.error for answer in ask_all(judge, asked, str)]


SYSTEM_FIRST = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}]
IN_PARTS = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"a": "1", "b c": "2"}, id="prompt-to-reply"),
        pytest.param([{"prompt": "a", "reply": "1"}, {"prompt": "b c", "reply": "2"}], id="list-reply"),
        pytest.param([{"prompt": "a", "response": "1"}, {"prompt": "b c", "response": "2"}], id="list-response"),
        pytest.param('{"prompt": "a", "reply": "1"}\n{"prompt": "b c", "reply": "2"}\n', id="json-lines"),
        pytest.param(
            {"7": {"pred": "x", "prompt": ["a", "b c"], "response": ["1", "2"], "score": 1.0}, "avg_pos": 0.5},
            id="evaluation",
        ),
        pytest.param(
            {"question_type_count": {"positive": 2}, "7": {"prompt": ["a", "b c"], "response": ["1", "2"]}},
            id="evaluation-with-counts",
        ),
        pytest.param({"7": {"prompt": [IN_PARTS, "b c"], "response": ["1", "2"]}, "query": "q"}, id="messages"),
    ],
)
def test_forms_of_files(tmp_path, content):
    judge = recorded(tmp_path / "replies.json", content)
    missing = "replies.json holds no reply to this question"
    assert said(judge, "a", "b c", " b\n  c ", "d") == ["1", "2", "2", missing]
    assert judge.identity.startswith("replies.json@")
    assert not judge.keeps
    assert judge.replies() is None


def test_the_very_words_come_before_words_with_other_white_space(tmp_path):
    judge = recorded(tmp_path / "r.json", {"a  b": "wide", "a b": "narrow"})
    assert said(judge, "a b", "a  b", "a\nb") == ["narrow", "wide", "wide"]


def test_a_system_that_the_file_states_must_agree(tmp_path):
    judge = recorded(tmp_path / "r.json", {"7": {"prompt": [SYSTEM_FIRST], "response": ["1"]}})
    assert said(judge, Question("a", "be brief"), Question("a")) == [
        "1",
        "r.json holds this prompt, but asked in another way: system",
    ]


def test_several_replies_to_one_prompt_are_those_of_its_attempts(tmp_path):
    content = [{"prompt": "a", "reply": one} for one in ("x", "x", "7")]

    def number(reply):
        if not reply.isdigit():
            raise Unreadable("it is no number")
        return int(reply)

    judge = recorded(tmp_path / "r.json", content)
    (answer,) = ask_all(judge, [Question("a")], number, 3)
    assert (answer.value, answer.attempts) == (7, 2)
    (lost,) = ask_all(recorded(tmp_path / "s.json", content[:2]), [Question("a")], number, 3)
    assert lost.error == (
        "the reply cannot be read: it is no number; asked again: s.json holds no further reply to this question"
    )


class Parrot(Judge):
    """Repeats the prompt and the number of the attempt."""

    def __init__(self, identity, file):
        self.identity, self.file = identity, file

    def replies(self):
        return ReplyFile(self.file)

    def ask(self, questions, attempt=0):
        for at, one in enumerate(questions):
            yield at, Reply(f"{self.identity}: {one.prompt} {attempt}")


def refuse(reply):
    raise Unreadable("never")


def test_a_file_that_the_toolkit_kept_is_handed_on(tmp_path):
    file = tmp_path / "kept.jsonl"
    questions = [Question("a"), Question("a", temperature=0.5), Question("b", "sys")]
    ask_all(Parrot("one", file), questions, refuse, 2)
    with file.open("ab") as stream:
        stream.write(b'{"key": "0123", "mod')  # killed in the middle of a line
    judge = RecordedJudge(RecordedConfig(str(file)))
    assert judge.identity == "one"
    assert said(judge, *questions) == ["one: a 0", "one: a 0", "one: b 0"]
    assert dict(judge.ask(questions, 1))[2].text == "one: b 1"
    assert said(judge, Question("b")) == ["kept.jsonl holds this prompt, but asked in another way: system"]
    ask_all(Parrot("two", file), questions, str)
    with pytest.raises(DataError, match="holds replies of 2 models") as caught:
        RecordedJudge(RecordedConfig(str(file)))
    assert caught.value.hints == ("models there: one, two; choose one with the judge's option model",)
    assert said(RecordedJudge(RecordedConfig(str(file), "two")), "a") == ["two: a 0"]
    with pytest.raises(DataError, match="no reply is of 'three'"):
        RecordedJudge(RecordedConfig(str(file), "three"))


def test_replies_by_order_need_samples(tmp_path):
    with pytest.raises(DataError, match="does not say which sample a reply is about, and match: order needs that"):
        recorded(tmp_path / "r.json", {"a": "1"}, match="order")
    judge = recorded(tmp_path / "s.json", {"7": {"prompt": ["a", "b"], "response": ["1", None]}}, match="order")
    assert said(judge, "a", "c", Question("z", place=Place("7", 0, 2)), Question("z", place=Place("7", 1, 2))) == [
        "1",
        "s.json holds no reply to this question, which does not say its place",
        "1",
        "s.json holds no reply to question 2 of its sample",
    ]


def test_a_packed_file(tmp_path):
    path = tmp_path / "r.json.gz"
    path.write_bytes(gzip.compress(b'{"a": "1"}'))
    assert said(RecordedJudge(RecordedConfig(str(path))), "a") == ["1"]
    path.write_bytes(gzip.compress(b'{"a": "1"}')[:-6])
    with pytest.raises(DataError, match="the gzip file is cut off"):
        RecordedJudge(RecordedConfig(str(path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("{}", "holds no reply", id="no-reply"),
        pytest.param('"a"', "this is no file of replies", id="text"),
        pytest.param("[" * 100_000, "nested too deeply", id="nested"),
        pytest.param('{"a": NaN}', "NaN is no number", id="nan"),
        pytest.param('{"a": 7}', "'a': the reply is int, and must be text", id="number"),
        pytest.param('["a"]', "record 1: this is no record of a reply", id="no-record"),
        pytest.param('[{"prompt": "a"}]', "record 1: has no reply", id="lacks-reply"),
        pytest.param('[{"prompt": ["a"], "reply": []}]', "two lists of one length", id="lengths"),
        pytest.param('{"7": {"response": ["1"]}}', "'7': has no prompt", id="lacks-prompt"),
        pytest.param(
            '{"7": {"prompt": [[{"role": "user"}]], "response": ["1"]}}', "has no role, or no text", id="chat"
        ),
        pytest.param('{"7": {"prompt": [5], "response": ["1"]}}', "'7', prompt 1: the prompt is neither", id="prompt"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        recorded(tmp_path / "r.json", content)


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "replies.json").write_text("{}")
    with pytest.raises(DataError, match="there is no such file") as caught:
        RecordedJudge(RecordedConfig(str(tmp_path / "reply.json")))
    assert caught.value.hints == ("did you mean: replies.json",)
