"""A judge that anybody can follow: it compares words, and answers in whatever form it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from regionkit.core.judging import Judge, Question, Reply

#: A line of a form that is to be filled in, such as ``1. Colour: 0-5``.
_FORM = re.compile(r"^\d+\. ([^:\n]+): *(?=\S)", re.MULTILINE)
_WORD = re.compile(r"[a-z]+")
_LETTERS = "ABCDE"


class Likeness(Judge):
    """Judges by the share of words that the texts in a question have in common.

    It gives numbers in a form with numbered lines where the system shows one, a JSON object with ``score`` where one is
    asked for, a letter from A (alike) to E where letters are, and ``A`` otherwise. Nothing that it says means anything;
    it is here so that metrics that ask a judge can be tried.
    """

    identity = "likeness of words"
    keeps = False

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        """Answer each question in the form that it asks for."""
        for at, question in enumerate(questions):
            yield at, Reply(_said(question))


def _said(question: Question) -> str:
    share = _share(question.prompt)
    lines = _FORM.findall(question.system)
    if lines:
        return "\n".join(f"{number}. {name}: {5 * share:.0f}" for number, name in enumerate(lines, 1))
    if "JSON" in question.prompt:
        return f'{{"score": {100 * share:.0f}, "reason": "words"}}'
    if "letter" in question.prompt:
        return _LETTERS[round(4 * (1 - share))]
    return "A"


def _share(prompt: str) -> float:
    """Return how alike the first text in a question is to the one of the others that it is most like.

    Texts stand on lines of their own, behind a dash or behind a name and a colon.
    """
    given = re.findall(r"^(?:- |[^:\n]{1,40}: )(.+)$", prompt, re.MULTILINE)
    first, *others = [set(_WORD.findall(text.lower())) for text in given] or [set()]
    shares = [len(first & other) / max(len(first | other), 1) for other in others]
    return max(shares, default=0.0)
