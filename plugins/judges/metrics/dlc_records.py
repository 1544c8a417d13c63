"""The questions of a DLC-Bench sample, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.plugins.judges.metrics.dlc_questions import LETTERS, recognition_question

#: Types of questions.
SIDES = ("positive", "negative")
_FORM = (
    'info["questions"] is a list of {"question": ..., "choices": [[text, points], ...], "type": "positive" or '
    '"negative"}, as qa.json of the release has it'
)


@dataclass(frozen=True, slots=True)
class Item:
    """A question.

    Attributes:
        question: Its words.
        choices: The choices and the points of each.
        side: Its type; empty for the question of the class.
    """

    question: str
    choices: tuple[tuple[str, float], ...]
    side: str = ""

    @property
    def texts(self) -> list[str]:
        """The choices without their points."""
        return [text for text, _ in self.choices]

    @property
    def most(self) -> float:
        """The most points that it gives."""
        return max(points for _, points in self.choices)


def items_of(sample: Sample) -> list[Item]:
    """Return the questions of a sample, the one whether its class is recognised first.

    Raises:
        DataError: They are not of the form that the benchmark has.
    """
    name, questions = sample.info.get("class_name"), sample.info.get("questions")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"dlc-bench: sample '{sample.id}' does not say its class: info['class_name']")
    if not isinstance(questions, Sequence) or isinstance(questions, str) or not questions:
        raise DataError(f"dlc-bench: sample '{sample.id}' has no questions", _FORM)
    first = Item(recognition_question(name), (("Yes", 1.0), ("No", 0.0)))
    return [first, *(_item(sample.id, number, record) for number, record in enumerate(questions, 1))]


def _item(owner: str, number: int, record: object) -> Item:
    def wrong(what: str) -> DataError:
        return DataError(f"dlc-bench: question {number} of sample '{owner}': {what}", _FORM)

    if not isinstance(record, Mapping):
        raise wrong("it is no record")
    question, choices, side = (record.get(key) for key in ("question", "choices", "type"))
    if not isinstance(question, str):
        raise wrong("it has no words")
    if side not in SIDES:
        raise wrong(f"its type is {side!r:.40}")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not 1 <= len(choices) <= len(LETTERS):
        raise wrong(f"it has no choices, or more than {len(LETTERS)}")
    found = []
    for choice in choices:
        pair = tuple(choice) if isinstance(choice, list | tuple) else ()
        if len(pair) != 2 or not isinstance(pair[0], str) or not _is_number(pair[1]):
            raise wrong(f"the choice {choice!r:.60} is not a text with its points")
        found.append((pair[0], float(pair[1])))
    return Item(question, tuple(found), str(side))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e9 and math.isfinite(value)
