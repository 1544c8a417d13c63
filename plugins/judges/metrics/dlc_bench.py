"""DLC-Bench: multiple-choice questions about what a detailed caption says, and what it rightly leaves unsaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import fsum

import numpy as np

from regionkit.core.contracts import Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.judging import Answer, Place, Question, ask_all
from regionkit.plugins.judges.metrics.configs import DlcBenchConfig
from regionkit.plugins.judges.metrics.dlc_questions import PROMPT, choice_of, prompt_of
from regionkit.plugins.judges.metrics.dlc_records import SIDES, Item, items_of
from regionkit.plugins.judges.metrics.judged import Floats, JudgedMetric, nothing_judged, ratio, version_of

#: Columns of the statistics of each part.
_PAIR, _BOTH = 2, 4
#: Part -> type of its questions.
_SIDE_OF = {"pos": SIDES[0], "neg": SIDES[1]}


@dataclass(slots=True)
class _Instance:
    """What became of the questions about one caption.

    Attributes:
        points: Points by side, one a question that counts, and the most that each could have had.
        recognised: Whether the description is of an object of the class; None where nobody can tell.
        answered: Questions with a readable answer.
        asked: Questions, that of the class included.
        error: Why the first question that was lost has no answer.
        lost: The same of each side.
    """

    points: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {side: [] for side in SIDES})
    recognised: bool | None = None
    answered: int = 0
    asked: int = 0
    error: str = ""
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether it has a part in the scores."""
        return self.recognised is not None and any(self.points.values())

    def is_silent(self, side: str) -> bool:
        """Say whether it has a part in the scores, and questions of a side, of which none has an answer."""
        return self.counts and side in self.lost and not self.points[side]


class DlcBench(JudgedMetric):
    """Points for details of a caption: parts ``avg``, ``pos``, ``neg``, ``recognition`` and ``answered``.

    ``Sample.info`` holds ``class_name`` and ``questions``, each ``{"question", "choices": [[text, points], ...],
    "type": "positive" or "negative"}``. The judge first says whether the description is of an object of the class.
    Where it is not, every question gives its points or 0, whichever is less. ``pos`` and ``neg`` are the means over
    instances of the means over their questions, ``avg`` is the mean of both and stands for the metric;
    ``recognition`` is the share of instances that are recognised, ``answered`` the share of all questions, that of the
    class included, whose answer could be read.

    An instance without an answer to the question of the class is not judged, and counted as such; one without any
    answer to the questions of a side is not judged on that side. Negative points are penalties, so that all scores but
    the last two may lie below 0.

    Source: Lian et al., Describe Anything, arXiv 2504.16072, section 5, and its released evaluation code.
    """

    name = "dlc-bench"
    needs = ("questions", "class_name")
    parts = ("avg", "pos", "neg", "recognition", "answered")
    config: DlcBenchConfig

    def check(self, sample: Sample) -> None:
        """Check the questions of a sample.

        Raises:
            DataError: They are not of the form that the benchmark has.
        """
        items_of(sample)

    def ask(self, pairs: Sequence[tuple[Sample, str]]) -> Score:
        """Ask all questions about all captions at once."""
        items = [items_of(sample) for sample, _ in pairs]
        questions = [
            Question(
                prompt_of(caption, item.question, item.texts),
                max_tokens=self.config.max_tokens,
                place=Place(sample.id, number, len(several)),
            )
            for (sample, caption), several in zip(pairs, items, strict=True)
            for number, item in enumerate(several)
        ]
        reads = [partial(choice_of, choices=item.texts) for several in items for item in several]
        answers = iter(ask_all(self.judge, questions, reads, self.config.attempts))
        found = [self._instance([(item, next(answers)) for item in several]) for several in items]
        if not any(one.counts for one in found):
            raise nothing_judged(self.name, (one.error for one in found))
        self._check_sides(items, found)
        lost = {at: one.error for at, one in enumerate(found) if not one.counts}
        parts = {part: self._part(part, found, lost) for part in self.parts}
        whole = parts["avg"]
        return Score(whole.value, whole.per_sample, whole.signature, parts, whole.statistics, whole.unjudged)

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return the values (d,) of a part from sums (d, k): for ``avg`` k is 4, both sides beside each other."""
        if part != "avg":
            return ratio(sums[:, 0], sums[:, 1])
        sides = [ratio(sums[:, at], sums[:, at + 1]) for at in (0, 2)]
        return (sides[0] + sides[1]) / 2

    def _instance(self, answered: Sequence[tuple[Item, Answer[int]]]) -> _Instance:
        """Count the points of an instance; the first question is that of the class."""
        one = _Instance(asked=len(answered))
        for item, answer in answered:
            if answer.value is None:
                one.error = one.error or answer.error
                one.lost.setdefault(item.side, answer.error)
                if item.side and answer.reply.strip() and self.config.compat == "reference":
                    one.points[item.side].append((0.0, item.most))
                continue
            one.answered += 1
            points = item.choices[answer.value][1]
            if not item.side:
                one.recognised = points > 0
            else:
                one.points[item.side].append((points, item.most))
        if one.recognised is False:
            one.points = {side: [(min(0.0, got), most) for got, most in all_] for side, all_ in one.points.items()}
        if one.recognised is None:
            one.error = f"nobody can tell whether the object is recognised: {answered[0][1].error}"
        return one

    def _check_sides(self, items: Sequence[Sequence[Item]], found: Sequence[_Instance]) -> None:
        """Check that there are questions of both sides, and answers to some of each.

        Raises:
            DataError: No sample has a question of a side.
            RunFailed: None of them has an answer.
        """
        for side in SIDES:
            if not any(item.side == side for several in items for item in several):
                raise DataError(
                    f"{self.name}: no sample has a {side} question, so that there is no {side} score",
                    'info["questions"] holds those of both types: "type": "positive" and "type": "negative"',
                )
            if not any(one.counts and one.points[side] for one in found):
                raise nothing_judged(f"{self.name}, {side} questions", (one.error for one in found if one.error))

    def _rows(self, part: str, one: _Instance) -> tuple[float, ...]:
        """Return what an instance adds to a part: a value and what it is divided by, for ``avg`` of both sides."""
        if part == "answered":
            return one.answered, one.asked
        if not one.counts:
            return (0.0,) * (_BOTH if part == "avg" else _PAIR)
        if part == "recognition":
            return float(bool(one.recognised)), 1.0
        if part == "avg":
            return (*self._rows("pos", one), *self._rows("neg", one))
        points = one.points[_SIDE_OF[part]]
        if not points:
            return 0.0, 0.0
        total = fsum(got for got, _ in points)
        if self.config.pooling == "question":
            return total, fsum(most for _, most in points)
        return total / len(points), 1.0

    def _part(self, part: str, found: Sequence[_Instance], lost: Mapping[int, str]) -> Score:
        rows = np.array([self._rows(part, one) for one in found], dtype=np.float64)
        side = _SIDE_OF.get(part, "")
        silent = {
            at: f"no answer to its {side} questions: {one.lost[side]}"
            for at, one in enumerate(found)
            if one.is_silent(side)
        }
        lost = dict(sorted({**lost, **silent}.items()))
        judged = [at for at in range(len(found)) if part == "answered" or at not in lost]
        # A caption without questions of a side has no value of its own there; then nobody is given one.
        divided = rows[:, 1::2]
        samples = None
        if (divided[judged] > 0).all():
            values = (rows[:, 0::2] / np.where(divided > 0, divided, np.nan)).mean(1)
            samples = tuple(values.tolist())
        told = self.signed(
            f"{self.name}-{part}",
            len(judged),
            compat=self.config.compat,
            pooling=self.config.pooling if part in ("avg", "pos", "neg") else None,
            prompt=version_of(PROMPT),
        )
        value = float(self.pool(part, rows.sum(0, keepdims=True))[0])
        return Score(value, samples, told, statistics=rows, unjudged={} if part == "answered" else lost)
