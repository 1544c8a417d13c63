"""A judge that says what a test tells it to, and samples to ask it about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.contracts import Sample
from regionkit.core.judging import Judge, Question, Reply
from regionkit.core.regions import WholeImage

GOLDEN = Path(__file__).parents[2] / "golden" / "judges"


class Scripted(Judge):
    """Replies with a function of question and attempt; what is no text is the error of a reply."""

    identity = "scripted"
    keeps = False

    def __init__(self, script: Callable[[Question, int], object], *, sees: bool = False) -> None:
        self.script, self.sees = script, sees
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        for at, question in reversed(list(enumerate(questions))):  # replies come in any order
            self.asked.append(question)
            said = self.script(question, attempt)
            yield at, Reply(said) if isinstance(said, str) else Reply(None, "the line is dead")


def sample(name: str = "1", references: Sequence[str] = ("a red boat",), **info: Any) -> Sample:
    """A sample of a whole picture."""
    return Sample(name, f"image-{name}", WholeImage(), tuple(references), info)


def scored(metric: Any, samples: Sequence[Sample], captions: Sequence[str]) -> Any:
    """Take in captions and judge them."""
    metric.update(samples, captions)
    return metric.compute()
