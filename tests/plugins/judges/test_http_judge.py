"""A judge behind an address: whatever the server does, a question is answered, sent again, or counted."""

import json
import socket
import threading

import pytest
from judge_server import Act, prompt_in, says, serve
from PIL import Image

from regionkit.core.errors import RegionkitError
from regionkit.core.judging import Question, Unreadable, ask_all
from regionkit.plugins.judges.backends.configs import HttpConfig
from regionkit.plugins.judges.backends.exchange import Server, endpoint
from regionkit.plugins.judges.backends.http import HttpJudge

BUSY = Act(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "3600"})
BROKEN = Act(500, b"oops")


def number(reply):
    if not reply.isdigit():
        raise Unreadable("it is no number")
    return int(reply)


def ask(judge, *prompts, attempts=1):
    return ask_all(judge, [Question(one) for one in prompts], number, attempts)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(BUSY, id="busy"),
        pytest.param(BROKEN, id="status-500"),
        pytest.param(Act(503), id="status-503"),
        pytest.param(Act(body=b"{not json"), id="malformed"),
        pytest.param(Act(body=b"[" * 100_000), id="nested"),
        pytest.param(Act(body=b'{"choices": []}'), id="no-choices"),
        pytest.param(Act(body=b'{"error": "overloaded"}'), id="error-with-200"),
        pytest.param(Act(body=b"[1]"), id="no-object"),
        pytest.param(says(""), id="empty-answer"),
        pytest.param(says(None), id="no-words"),
        pytest.param(says(7), id="no-text"),
        pytest.param(Act(body=says("7").body[:20], cut=True), id="dies-in-the-middle"),
        pytest.param(Act(drop=True), id="connection-reset"),
    ],
)
def test_a_passing_fault_is_made_up_for(first):
    with serve(lambda body, count: first if count == 0 else says("42")) as bench:
        (answer,) = ask(bench.judge(), "how many?")
    assert (answer.value, answer.error, answer.attempts) == (42, "", 1)
    assert len(bench.bodies) == 2


def test_a_server_that_hangs_is_given_up_and_asked_again():
    with serve(lambda body, count: Act(hang=True) if count == 0 else says("42")) as bench:
        (answer,) = ask(bench.judge(timeout=0.15), "how many?")
    assert answer.value == 42
    assert len(bench.bodies) == 2


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param(BUSY, "the server answered 429: slow down (sent 3 times)", id="busy"),
        pytest.param(BROKEN, "the server answered 500: oops (sent 3 times)", id="status-500"),
        pytest.param(Act(body=b"{"), "the body of the answer is no JSON (sent 3 times)", id="malformed"),
        pytest.param(says("  "), "the answer is empty (sent 3 times)", id="empty"),
        pytest.param(Act(body=b'{"error": {"message": "no room"}}'), "has no choices: no room", id="error"),
        pytest.param(Act(body=b"{}", cut=True), "the connection broke: IncompleteRead", id="cut"),
        pytest.param(Act(hang=True), "no answer within 0.1 seconds (sent 3 times)", id="hangs"),
        pytest.param(Act(drip=True), "no answer within 0.1 seconds (sent 3 times)", id="headers-drip"),
    ],
)
def test_what_lasts_is_counted_for_its_question_alone(act, reason):
    with serve(lambda body, count: act if prompt_in(body) == "bad" else says("1")) as bench:
        answers = ask(bench.judge(timeout=0.1 if act.hang or act.drip else 5.0), "good", "bad", "fine")
    assert [answer.value for answer in answers] == [1, None, 1]
    assert reason in answers[1].error
    assert sum(prompt_in(body) == "bad" for body in bench.bodies) == 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(400, "the server answered 400: too long", id="bad-request"),
        pytest.param(401, "wants a key: name its variable, key_variable", id="no-key"),
        pytest.param(403, "wants a key: name its variable, key_variable", id="forbidden"),
        pytest.param(404, "or the model 'toy' is not there", id="not-found"),
    ],
)
def test_a_refusal_is_final(status, reason):
    with serve(lambda body, count: Act(status, b'{"error": {"message": "too long"}}')) as bench:
        (answer,) = ask(bench.judge(), "?", attempts=3)
    assert answer.value is None
    assert reason in answer.error
    assert len(bench.bodies) == 1


def test_a_refused_key_is_refused_once(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with serve(lambda body, count: Act(401, b'{"error": {"message": "Incorrect key: sk-secret"}}')) as bench:
        answers = ask(bench.judge(key_variable="JUDGE_KEY", workers=1), *map(str, range(20)))
    assert len(bench.bodies) == 1
    assert bench.headers[0]["Authorization"] == "Bearer sk-secret"
    assert {one.error for one in answers} == {
        "the server answered 401: Incorrect key: ***; is the key in JUDGE_KEY the right one?"
    }


def test_a_missing_key_is_told_with_its_variable():
    judge = HttpJudge(HttpConfig("http://127.0.0.1:9/v1", "toy", key_variable="NO_SUCH_KEY"))
    with pytest.raises(RegionkitError, match="takes its key from NO_SUCH_KEY, which is not set") as caught:
        ask(judge, "?")
    assert caught.value.hints == ("export NO_SUCH_KEY=...",)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_nobody_there_is_found_out_once_and_counted_for_all():
    quick = {"backoff": 0.0, "longest_wait": 0.0, "retries": 3}
    judge = HttpJudge(HttpConfig(f"http://127.0.0.1:{free_port()}/v1", "toy", workers=1, **quick))
    answers = ask(judge, *map(str, range(50)), attempts=3)
    assert {answer.value for answer in answers} == {None}
    (reason,) = {answer.error for answer in answers}
    assert "nobody answers at http://127.0.0.1" in reason
    assert "the connection is refused; start the server" in reason


@pytest.mark.parametrize("act", [pytest.param(Act(drop=True), id="drops"), pytest.param(Act(hang=True), id="hangs")])
def test_a_server_without_a_sign_of_life_is_given_up_after_one_question(act):
    with serve(lambda body, count: act) as bench:
        judge = bench.judge(workers=1, timeout=0.05 if act.hang else 5.0)
        answers = ask(judge, *map(str, range(20)))
        assert len(bench.bodies) == 3
        assert all(one.error.endswith("; no further question was sent") for one in answers[1:])
        ask(judge, "a", "b")  # the next batch: one question is sent, once
        assert len(bench.bodies) == 4
        bench.act = lambda body, count: BROKEN if count < 6 else says("1")
        assert [one.value for one in ask(judge, "c", "d")] == [1, 1]  # it is back, and trusted again
        assert len(bench.bodies) == 8


@pytest.mark.parametrize("act", [pytest.param(BUSY, id="busy"), pytest.param(BROKEN, id="500")])
def test_a_living_server_is_asked_every_question(act):
    with serve(lambda body, count: act) as bench:
        ask(bench.judge(workers=2, retries=0), *map(str, range(20)))
    assert len(bench.bodies) == 20


def test_one_question_on_which_a_living_server_hangs_does_not_cost_the_others():
    with serve(lambda body, count: Act(hang=True) if prompt_in(body) == "3" else says("1")) as bench:
        answers = ask(bench.judge(workers=1, timeout=0.05), *map(str, range(8)))
    assert [answer.value for answer in answers] == [1, 1, 1, None, 1, 1, 1, 1]


def test_whoever_stops_waits_for_no_server():
    ended = threading.Event()

    def act(body, count):
        if count == 0:
            return says("1")
        bench.released.wait(5)
        ended.set()
        return says("1")

    with serve(act) as bench:
        asked = bench.judge(workers=2).ask([Question("a"), Question("b"), Question("c")])
        next(asked)
        asked.close()
        assert not ended.is_set()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "0.0.0.0", "a.localhost"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(monkeypatch, host):
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    config = HttpConfig(f"http://{host}:8000/v1", "toy")
    assert Server(config, "")._proxy == ""


def test_a_proxy_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    judge = HttpJudge(HttpConfig("http://judge.invalid/v1", "toy", retries=0))
    (answer,) = ask(judge, "?")
    assert answer.error.startswith(
        "nobody answers at http://judge.invalid/v1/chat/completions through the proxy that http_proxy names: "
        "the connection is refused"
    )
    monkeypatch.setenv("no_proxy", "judge.invalid")
    assert Server(judge.config, "")._proxy == ""


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    with serve(lambda body, count: says("7")) as bench:
        monkeypatch.setenv("http_proxy", bench.url.removesuffix("/v1"))
        judge = HttpJudge(HttpConfig("http://judge.invalid/v1", "toy", retries=0))
        assert ask(judge, "?")[0].value == 7


def test_a_reply_that_ignores_the_form_is_asked_for_again_and_then_counted():
    with serve(lambda body, count: says("Well, let me think.")) as bench:
        (answer,) = ask(bench.judge(), "how many?", attempts=3)
    assert (answer.value, answer.attempts, answer.asked, len(bench.bodies)) == (None, 3, 3, 3)
    assert answer.error == "the reply cannot be read: it is no number"
    assert answer.reply == "Well, let me think."


def test_a_second_run_makes_no_request_even_for_replies_that_could_not_be_read():
    with serve(lambda body, count: says("7" if prompt_in(body) == "a" else "seven")) as bench:
        first = ask(bench.judge(), "a", "b", attempts=2)
        asked = len(bench.bodies)
        second = ask(bench.judge(), "a", "b", attempts=2)
        offline = ask(bench.judge(offline=True), "a", "b", "c", attempts=2)
    assert asked == 3
    assert len(bench.bodies) == 3
    assert [(one.value, one.error) for one in first] == [(one.value, one.error) for one in second]
    assert [one.value for one in offline] == [7, None, None]
    assert offline[2].error == "no reply is kept for this question, and the judge is offline"
    assert [one.asked for one in second] == [0, 0]


def test_equal_questions_are_asked_once():
    with serve(lambda body, count: says("7")) as bench:
        answers = ask(bench.judge(), *["a"] * 9)
    assert [one.value for one in answers] == [7] * 9
    assert len(bench.bodies) == 1


def test_models_requests_and_sampling_are_kept_apart(tmp_path):
    file = str(tmp_path / "replies.jsonl")
    with serve(lambda body, count: says(str(count))) as bench:
        for options in ({}, {"model": "other"}, {"body": {"seed": 1}}):
            judge = bench.judge(replies=file, **options)
            ask_all(judge, [Question("a"), Question("a", temperature=0.5), Question("a", max_tokens=7)], str)
        assert len(bench.bodies) == 9
        ask_all(bench.judge(replies=file), [Question("a")], str)
        assert len(bench.bodies) == 9
    assert len((tmp_path / "replies.jsonl").read_text().splitlines()) == 9


def test_what_a_request_looks_like():
    picture = Image.new("RGB", (2, 2), "red")
    question = Question("what?", "be brief", (picture,), "Score:", 0.7, 0.9, 5)
    with serve(lambda body, count: says("Score: 3")) as bench:
        judge = bench.judge(body={"max_tokens": None, "max_completion_tokens": 9}, sees=True)
        (answer,) = ask_all(judge, [question], number)
    (body,) = bench.bodies
    assert answer.value == 3  # the server repeats the prefill, the reply is without it
    system, user, assistant = body.pop("messages")
    assert (system, assistant) == (
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "Score:"},
    )
    shown, text = user["content"]
    assert shown["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert text == {
        "type": "text",
        "text": "what?",
    }
    assert body == {"model": "toy", "temperature": 0.7, "top_p": 0.9, "max_completion_tokens": 9}


def test_answers_in_parts_are_joined():
    with serve(lambda body, count: says([{"type": "text", "text": "4"}, {"type": "text", "text": "2"}])) as bench:
        assert ask(bench.judge(), "?")[0].value == 42


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.1:9/"])
def test_redirects_are_not_followed(target):
    with serve(lambda body, count: Act(307, headers={"Location": target})) as bench:
        (answer,) = ask(bench.judge(), "?")
    assert answer.error == f"the server sends on to {target}, which is not followed"
    assert len(bench.bodies) == 1


def test_an_endless_body_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr("regionkit.plugins.judges.backends.exchange.MOST_BYTES", 1 << 20)
    with serve(lambda body, count: Act(body=b" " * (3 << 20))) as bench:
        (answer,) = ask(bench.judge(), "?")
    assert answer.error == "the answer is longer than 1 MiB"
    assert len(bench.bodies) == 1


def test_a_server_that_dies_in_the_middle_leaves_the_rest_counted():
    def act(body, count):
        return says("1") if count < 5 else Act(drop=True)

    with serve(act) as bench:
        answers = ask(bench.judge(workers=1, retries=1), *map(str, range(8)))
    assert [answer.value for answer in answers] == [1] * 5 + [None] * 3
    assert all("the connection broke" in answer.error or "nobody answers" in answer.error for answer in answers[5:])


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        pytest.param("http://a/v1", "http://a/v1/chat/completions", id="version"),
        pytest.param("http://a/v1/", "http://a/v1/chat/completions", id="slash"),
        pytest.param("http://a/v1/chat/completions", "http://a/v1/chat/completions", id="whole"),
        pytest.param("http://a/d?api-version=1", "http://a/d/chat/completions?api-version=1", id="query"),
    ],
)
def test_addresses(url, wanted):
    assert endpoint(url) == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"url": "file:///etc/passwd"}, "is no address of a server", id="file"),
        pytest.param({"url": "localhost:8000"}, "is no address of a server", id="no-scheme"),
        pytest.param({"url": "http://me:pw@host/v1"}, "name and password cannot stand in the address", id="password"),
        pytest.param({"url": "http://host/\r\nX: y"}, "is no address", id="line-break"),
        pytest.param({"url": "http://host:99999/v1"}, "this is no address", id="port"),
        pytest.param({"url": "http://host/v1?api_key=sk-123"}, "'api_key' in the address looks like", id="key-in-url"),
        pytest.param({"key_variable": "sk-123-abc"}, "this is no name of an environment variable", id="key"),
        pytest.param({"timeout": float("nan")}, "timeout: nan must be seconds", id="nan"),
        pytest.param({"workers": 0}, "workers: 0 must be", id="workers"),
        pytest.param({"body": {"model": "x"}}, "body: model cannot be changed there", id="body"),
        pytest.param({"model": " "}, "name the model", id="model"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        HttpConfig(**{"url": "http://localhost:8000/v1", "model": "toy", **options})
    assert "sk-123" not in str(caught.value)


def test_every_reply_is_kept_as_json_with_its_question(cache):
    with serve(lambda body, count: says("7 \ud800")) as bench:
        ask_all(bench.judge(), [Question("a")], str)
    (file,) = (cache / "judges").iterdir()
    record = json.loads(file.read_text())
    assert file.name.startswith("toy-")
    assert record["question"]["prompt"] == "a"
    assert (record["model"], record["attempt"], record["reply"]) == ("toy", 0, "7 \ud800")
