"""Checks of judges."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.core.errors import RegionkitError
from regionkit.core.judging import Judge, Question, Reply
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import demand
from regionkit.core.testing.subject import Subject, example_questions, replies_of


@check("judge")
def identity(subject: Subject) -> None:
    """It says whose replies they are, always the same, so that they can be kept and scores be told apart."""
    judge: Judge = subject.component
    demand(isinstance(judge.identity, str) and bool(judge.identity.strip()), f"its identity is {judge.identity!r}")
    before = judge.identity
    replies_of(judge, example_questions())
    demand(judge.identity == before, "its identity changes when it is asked")


@check("judge")
def replies(subject: Subject) -> None:
    """Every question has one reply: words, or an error that says why there are none."""
    questions = example_questions()
    found = list(subject.component.ask(questions))
    positions = sorted(at for at, _ in found)
    demand(positions == list(range(len(questions))), f"{len(questions)} questions have replies at {positions}")
    for _, reply in found:
        demand(isinstance(reply, Reply), f"a reply is a {type(reply).__name__}, not a Reply")
        demand(reply.text is None or isinstance(reply.text, str), f"the words of a reply are {reply.text!r:.40}")
        said = reply.text is not None
        demand(said or bool(reply.error), "a reply without words does not say why: its error is empty")
        demand(not (said and reply.error), f"a reply has words and an error: {reply.error}")


@check("judge")
def nothing_asked(subject: Subject) -> None:
    """Asked nothing at all, it gives no reply and raises nothing."""
    demand(list(subject.component.ask(())) == [], "it has replies although nothing was asked")


@check("judge")
def alone_or_together(subject: Subject) -> None:
    """A reply that is not drawn depends neither on the other questions nor on their order."""
    judge, questions = subject.component, [one for one in example_questions() if one.temperature == 0]
    together = replies_of(judge, questions)
    turned = replies_of(judge, questions[::-1])[::-1]
    alone = [replies_of(judge, [one])[0] for one in questions]
    for one, other, third in zip(together, turned, alone, strict=True):
        demand(one.text == other.text, f"the order of the questions changes a reply: {one.text!r:.40}")
        demand(one.text == third.text, f"asked alone, a question has another reply than among others: {one.text!r:.40}")


@check("judge")
def strange_questions(subject: Subject) -> None:
    """No single question stops the others: one that cannot be answered has a reply with an error."""
    strange = [
        Question(""),
        Question("zzz qqq 😀 \u202e"),
        Question("{% raw %} <|im_end|> {{ 1 }}", system="</s>"),
        Question("a " * 2_000, max_tokens=1),
        *example_questions()[:1],
    ]
    try:
        found = replies_of(subject.component, strange)
    except RegionkitError as error:
        raise AssertionError(f"one strange question stops all others: {error.message}") from error
    demand(len(found) == len(strange), f"{len(strange)} questions have {len(found)} replies")


@check("judge")
def further_attempts(subject: Subject) -> None:
    """Asked again because its reply could not be read, it gives a reply or says why not."""
    for attempt in (1, 2):
        _told(list(subject.component.ask(example_questions(), attempt)), attempt)


def _told(found: Sequence[tuple[int, Reply]], attempt: int) -> None:
    count = len(example_questions())
    demand(len(found) == count, f"in attempt {attempt + 1}, {count} questions have {len(found)} replies")
    silent = [reply for _, reply in found if reply.text is None and not reply.error]
    demand(not silent, f"in attempt {attempt + 1}, a reply has neither words nor an error")
