"""Visual commonsense reasoning: the right one of several answers, and of several reasons for it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of, ratio_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.regions.configs import STAGES, VcrConfig

_NUMBER = re.compile(r"[0-9]+")
#: Longer digit strings name no choice; Python refuses to read those of thousands of digits.
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class _Reply:
    stage: str
    question: Hashable
    right: bool
    parsed: bool


class Vcr(Metric):
    """Accuracy on multiple-choice replies, from 0 to 1: parts ``q-a``, ``qa-r``, ``q-ar`` and ``parsed``.

    A sample is one reply that is asked for. ``Sample.info`` says of it

    * ``stage``: ``q-a``, which answer is right; ``qa-r``, which reason, given the right answer; ``q-ar``, which reason,
      given the answer that the model chose (only with ``q_ar: third-generation``);
    * ``question``: what the stages of one question have in common, such as ``annot_id``;
    * ``label``: the right choice, counted from 0 as ``answer_label`` and ``rationale_label`` are.

    The reply is a text, and its first number names the choice, counted from 1 as in prompts. Its reference is such a
    reply: ``"2"`` for label 1. A reply without a number, or with a number beyond the choices, is wrong, and ``parsed``
    says what share of all replies names a choice. ``q-ar`` stands for the metric: the share of questions of which both
    replies are right. A question of which one reply is missing counts as not right.

    Sources: Zellers et al., From Recognition to Cognition, CVPR 2019; RegionVLM, arXiv 2403.18260, Table 2.
    """

    needs = ("references", "stage", "question", "label")

    def __init__(self, config: VcrConfig) -> None:
        self.config = config
        self.parts = (*config.stages, "parsed")
        self._replies: list[_Reply] = []
        self._seen: dict[tuple[str, Hashable], str] = {}

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in replies to samples, in order.

        Raises:
            DataError: A sample does not say what is asked of it, or asks what another one asked; a reply is no text.
        """
        for sample, reply in checked_pairs("vcr", samples, captions):
            stage, question, label = self._asked(sample)
            if (stage, question) in self._seen:
                other = self._seen[stage, question]
                raise DataError(f"vcr: samples '{other}' and '{sample.id}' are both {stage} of question '{question}'")
            self._seen[stage, question] = sample.id
            choice = self._choice(reply)
            guess = 0 if choice is None and self.config.unparsable == "first" and not _NUMBER.search(reply) else choice
            self._replies.append(_Reply(stage, question, guess == label, choice is not None))

    def compute(self) -> Score:
        """Judge everything taken in so far.

        Raises:
            DataError: There are replies, but none of a stage that is asked for.
        """
        rows = {stage: self._rows(stage) for stage in self.config.stages}
        for stage, found in rows.items():
            if self._replies and not found[:, 1].any():
                raise DataError(f"vcr: no sample is of stage '{stage}'", f"judge those that are there: {self._there()}")
        parts = {stage: self._score(stage, found) for stage, found in rows.items()}
        parsed = tuple(float(reply.parsed) for reply in self._replies)
        parts["parsed"] = Score(mean_of(parsed), parsed, self._signature("parsed", len(parsed)))
        whole = parts[self.config.stages[-1]]
        return Score(whole.value, None, whole.signature, parts, whole.statistics)

    @classmethod
    def pool(cls, part: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return right questions over all questions (d,) from their sums (d, 2); 0 where a draw holds no question."""
        return ratio_of(sums)

    def _asked(self, sample: Sample) -> tuple[str, Hashable, int]:
        stage, question, label = (sample.info.get(key) for key in ("stage", "question", "label"))
        if stage not in STAGES:
            raise DataError(
                f"vcr: sample '{sample.id}' has the stage {stage!r}", f"info['stage'] is one of: {', '.join(STAGES)}"
            )
        if question is None or not isinstance(question, Hashable):
            raise DataError(f"vcr: sample '{sample.id}' does not say of which question it is: info['question']")
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < self.config.choices:
            raise DataError(
                f"vcr: sample '{sample.id}' has the label {label!r}",
                f"info['label'] is the right choice, from 0 to {self.config.choices - 1}",
            )
        if stage == "q-ar" and self.config.q_ar == "and":
            raise DataError(
                f"vcr: sample '{sample.id}' is of stage q-ar, which q_ar: and makes of the two others",
                "to judge replies to a third question: q_ar: third-generation",
            )
        return stage, question, label

    def _choice(self, reply: str) -> int | None:
        """Return the choice that a reply names, counted from 0; None where it names none."""
        found = _NUMBER.search(reply)
        if found is None or len(found.group()) > _MOST_DIGITS:
            return None
        number = int(found.group())
        return number - 1 if 1 <= number <= self.config.choices else None

    def _rows(self, stage: str) -> NDArray[np.float64]:
        """Return (n, 2): whether the question of a reply is right, and whether it counts, one reply a question."""
        rows = np.zeros((len(self._replies), 2))
        right = {(reply.stage, reply.question): reply.right for reply in self._replies}
        both = ("q-a", "qa-r" if self.config.q_ar == "and" else "q-ar")
        if stage == "q-ar" and not all(any(one == needed for one, _ in right) for needed in both):
            return rows
        counted: set[Hashable] = set()
        for at, reply in enumerate(self._replies):
            if stage != "q-ar" and reply.stage == stage:
                rows[at] = reply.right, 1
            elif stage == "q-ar" and reply.stage in both and reply.question not in counted:
                counted.add(reply.question)
                rows[at] = all(right.get((needed, reply.question), False) for needed in both), 1
        return rows

    def _score(self, part: str, rows: NDArray[np.float64]) -> Score:
        value = float(self.pool(part, rows.sum(0)[None])[0])
        return Score(value, None, self._signature(part, int(rows[:, 1].sum())), statistics=rows)

    def _signature(self, part: str, count: int) -> str:
        return signature(
            f"vcr-{part}",
            q_ar=self.config.q_ar if part == "q-ar" else None,
            parser="first-number",
            unparsable=self.config.unparsable,
            choices=self.config.choices,
            n=count,
        )

    def _there(self) -> str:
        present = {reply.stage for reply in self._replies}
        return f"stages: [{', '.join(stage for stage in STAGES if stage in present)}]"
