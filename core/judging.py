"""Judges: language models that answer questions about captions, and the one layer that asks them.

A metric, or a builder of data, makes questions and says how a reply is read; :func:`ask_all` asks, reads, asks again
where a reply cannot be read, keeps every reply in a file, and reports what became of each question. Whoever uses it
decides what a question without an answer means, and a score of zero it never is by itself.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from PIL import Image

from regionkit.core.contracts import Component
from regionkit.core.errors import RunFailed, commonest
from regionkit.core.replies import ReplyFile

T = TypeVar("T")


class Place(NamedTuple):
    """Where a question stands: for replies that somebody kept in the order in which they were asked for.

    Attributes:
        sample: Id of the sample that it is about.
        number: Its number among the questions about that sample, from 0.
        total: How many there are.
    """

    sample: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a judge is asked: a chat of at most one turn, and how the answer is drawn.

    Attributes:
        prompt: What the user says.
        system: What the system says before; empty for nothing.
        images: Pictures that the user shows before the prompt.
        prefill: How the answer begins; the judge goes on from there.
        temperature: 0 takes the likeliest words.
        top_p: Share of the likeliest words that are drawn from.
        max_tokens: Longest answer.
        place: Where it stands; no part of what decides the answer, nor of any key.
    """

    prompt: str
    system: str = ""
    images: tuple[Image.Image, ...] = ()
    prefill: str = ""
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    place: Place | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the answer, as a reply file keeps it; pictures by the hash of their pixels."""
        pictures = [_hashed(repr((one.mode, one.size)).encode() + one.tobytes())[:16] for one in self.images]
        said = {"system": self.system, "images": pictures, "prefill": self.prefill}
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return {"prompt": self.prompt, **{key: value for key, value in said.items() if value}, **drawn}

    def key(self, attempt: int = 0, model: str = "") -> str:
        """Return 32 digits, others for every other question, for another attempt at it and for another model."""
        return _key(self.to_dict(), attempt, model)


def _hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _key(question: Mapping[str, Any], attempt: int, model: str) -> str:
    held = json.dumps([question, attempt, model], sort_keys=True)
    return _hashed(held.encode("utf-8", "surrogatepass"))[:32]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge said.

    Attributes:
        text: Its words without the prefill; None where it said nothing.
        error: Why it said nothing, in words for a report.
        final: Asking again would change nothing: the request itself was refused, or nobody is there to ask.
    """

    text: str | None
    error: str = ""
    final: bool = False


class Judge(Component, ABC):
    """Somebody who answers questions in words.

    Attributes:
        identity: Which model answers, such as ``meta-llama/Llama-3.1-8B-Instruct``: replies are kept, and signatures of
            scores told apart, by it. It says nothing of where the model runs.
        keeps: Whether replies are kept on disk and found again; a judge that reads a file has no need to.
        sees: Whether it takes pictures.
        places: Whether it looks at the place of a question; equal questions at several places are asked each then.
        content: Hash of the file that it answers from, where it does: another file is another judge, whoever spoke.
    """

    identity: str
    keeps: bool = True
    sees: bool = False
    places: bool = False
    content: str = ""

    @abstractmethod
    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        """Ask questions, and yield the position and the reply of each as it comes, in whatever order.

        A judge makes up for passing faults itself (a server that is busy, a connection that breaks) and gives a reply
        with an ``error`` where that did not help. It raises for nothing that another question might survive.

        Args:
            questions: The questions.
            attempt: How often each was asked before and its answer could not be read.

        Raises:
            RegionkitError: It cannot answer anything at all: the message says what to mend.
        """

    def replies(self) -> ReplyFile | None:
        """Return where replies are kept; None where they are not. By default the toolkit's cache, by the identity."""
        return ReplyFile.of_cache(self.identity) if self.keeps else None


class Unreadable(ValueError):
    """A reply is not of the form that was asked for; the message says in what."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What became of a question.

    Attributes:
        value: What was read from the reply; None where there is none.
        reply: The words of the last reply, empty where nothing was said.
        error: Why there is no value; empty where there is.
        attempts: How often it was asked, kept replies counted.
        asked: How often the judge itself was asked, kept replies not counted.
    """

    value: T | None
    reply: str = ""
    error: str = ""
    attempts: int = 1
    asked: int = 0


@dataclass(slots=True)
class _Open:
    """A question that has no answer yet.

    Attributes:
        position: Where it stands among all.
        said: What decides its answer.
    """

    position: int
    said: Mapping[str, Any]
    attempts: int = 0
    asked: int = 0
    reply: str = ""
    error: str = ""


@dataclass
class Asking(Generic[T]):
    """Asks questions and reads the replies; it may be called again and again, and reads kept replies once.

    Attributes:
        judge: Who is asked.
        read: Makes a value of a reply, raising :class:`Unreadable` where it is of another form: one for all questions,
            or one for each, in their order.
        attempts: How often a question is asked whose reply cannot be read.
    """

    judge: Judge
    read: Callable[[str], T] | Sequence[Callable[[str], T]]
    attempts: int = 1
    _kept: ReplyFile | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)

    def __call__(self, questions: Sequence[Question]) -> list[Answer[T]]:
        """Return what became of each question; equal ones are asked once.

        Raises:
            RegionkitError: The judge cannot be asked at all.
        """
        if not self._opened:
            self._kept, self._opened = self.judge.replies(), True
        said = [one.to_dict() for one in questions]
        first: dict[tuple[str, Place | None], int] = {}
        places = [one.place if self.judge.places else None for one in questions]
        owner = [first.setdefault((_key(one, 0, ""), places[at]), at) for at, one in enumerate(said)]
        waiting = {at: _Open(at, said[at]) for at in first.values()}
        found: dict[int, Answer[T]] = {}
        for attempt in range(self.attempts):
            for one, reply, fresh in self._replies(questions, list(waiting.values()), attempt):
                answer = self._take(one, reply, fresh)
                if answer is not None:
                    found[one.position] = answer
                    del waiting[one.position]
        for at, one in waiting.items():
            found[at] = Answer(None, one.reply, one.error, one.attempts, one.asked)
        return [found[at] for at in owner]

    def _replies(
        self, questions: Sequence[Question], several: Sequence[_Open], attempt: int
    ) -> Iterator[tuple[_Open, Reply, bool]]:
        """Yield a question, its reply, and whether the judge was asked for it: kept replies first."""
        missing: list[tuple[_Open, str]] = []
        for one in several:
            key = _key(one.said, attempt, self.judge.identity) if self._kept is not None else ""
            kept = self._kept.get(key) if self._kept is not None else None
            if kept is None:
                missing.append((one, key))
            else:
                yield one, Reply(kept), False
        if not missing:
            return
        unheard = set(range(len(missing)))
        for number, reply in self.judge.ask([questions[one.position] for one, _ in missing], attempt):
            if number not in unheard:
                raise ValueError(f"{type(self.judge).__name__}.ask() gave reply {number} twice, or nobody asked for it")
            unheard.remove(number)
            one, key = missing[number]
            if reply.text is not None and self._kept is not None:
                self._kept.add(key, one.said, reply.text, attempt, self.judge.identity)
            yield one, reply, True
        for number in sorted(unheard):  # a fault of the judge; counted as every other one
            yield missing[number][0], Reply(None, "the judge gave no reply at all", final=True), True

    def _take(self, one: _Open, reply: Reply, fresh: bool) -> Answer[T] | None:
        """Return the answer that a reply is; None where it is none, and the question waits for another attempt."""
        one.attempts, one.asked = one.attempts + 1, one.asked + fresh
        if reply.text is None:
            said = reply.error or "the judge said nothing, and not why"
            one.error = f"{one.error}; asked again: {said}" if one.reply else said
        else:
            one.reply = reply.text
            try:
                read = self.read if callable(self.read) else self.read[one.position]
                return Answer(read(reply.text), reply.text, "", one.attempts, one.asked)
            except Unreadable as error:
                one.error = f"the reply cannot be read: {error}"
        return Answer(None, one.reply, one.error, one.attempts, one.asked) if reply.final else None


def ask_all(
    judge: Judge,
    questions: Sequence[Question],
    read: Callable[[str], T] | Sequence[Callable[[str], T]],
    attempts: int = 1,
) -> list[Answer[T]]:
    """Ask a judge and return what became of each question; see :class:`Asking`."""
    return Asking(judge, read, attempts)(questions)


def require_answers(who: str, answers: Sequence[Answer[Any]]) -> None:
    """Check that at least one question has an answer, for those who would otherwise give a number made of nothing.

    Raises:
        RunFailed: None has; the message counts the reasons.
    """
    if answers and all(answer.error for answer in answers):
        told = commonest(answer.error for answer in answers)
        raise RunFailed(f"{who}: none of {len(answers)} questions has an answer", *told)
