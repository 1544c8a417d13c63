"""Sentences of narratives become captions: by a language model, by rules, or by rules where the model fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regionkit.core.judging import Answer, Asking, Judge, require_answers
from regionkit.plugins.datasets.narratives.prompt import question, read_reply
from regionkit.plugins.datasets.narratives.rules import rewrite

#: Why a sentence is dropped, in the words of the report.
VAGUE, INVALID, UNREADABLE, UNHEARD = "vague", "judged invalid", "unreadable reply", "no reply"
REASONS = (VAGUE, INVALID, UNREADABLE, UNHEARD)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of a sentence.

    Attributes:
        caption: Its caption; None where it is dropped.
        reason: Why it is dropped, one of :data:`REASONS`; empty where it is not.
        failed: ``unreadable reply`` or ``no reply`` where the judge failed, whatever came of the sentence then.
    """

    caption: str | None
    reason: str = ""
    failed: str = ""


class Rules:
    """Rewrites by rules."""

    identity = "rules"

    def __call__(self, sentences: Sequence[str]) -> list[Rewritten]:
        """Return what becomes of each sentence."""
        return [_by_rules(sentence) for sentence in sentences]


class ByJudge:
    """Rewrites by asking a judge with the benchmark's prompt.

    Args:
        judge: Who is asked.
        attempts: How often where a reply cannot be read.
        unanswered: What becomes of a sentence without an answer.
    """

    def __init__(self, judge: Judge, attempts: int, unanswered: Literal["drop", "rules"]) -> None:
        self.identity = judge.identity
        self._ask: Asking[str] = Asking(judge, read_reply, attempts)
        self._unanswered = unanswered
        self._answered = 0

    def __call__(self, sentences: Sequence[str]) -> list[Rewritten]:
        """Return what becomes of each sentence.

        Raises:
            RegionkitError: The judge cannot be asked at all, or has answered nothing so far.
        """
        answers = self._ask([question(sentence) for sentence in sentences])
        self._answered += sum(not answer.error for answer in answers)
        if not self._answered:
            require_answers("trace-captions: the judge", answers)
        return [self._result(sentence, answer) for sentence, answer in zip(sentences, answers, strict=True)]

    def _result(self, sentence: str, answer: Answer[str]) -> Rewritten:
        if not answer.error:
            return Rewritten(answer.value) if answer.value else Rewritten(None, INVALID)
        # A reply may be empty and readable, so a reply that is there and has an error could not be read.
        failed = UNREADABLE if answer.reply else UNHEARD
        if self._unanswered == "drop":
            return Rewritten(None, failed, failed)
        by_rules = _by_rules(sentence)
        return Rewritten(by_rules.caption, by_rules.reason, failed)


def _by_rules(sentence: str) -> Rewritten:
    caption = rewrite(sentence)
    return Rewritten(None, VAGUE) if caption is None else Rewritten(caption)
