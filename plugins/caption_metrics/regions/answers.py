"""Accuracy of short answers to questions about pictures: VQA, A-OKVQA, GQA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.regions.answer_words import normalised, strip_punctuation
from regionkit.plugins.caption_metrics.regions.configs import VqaAccuracyConfig

#: People of whom as many must agree with an answer to make it fully right.
AGREEING = 3


class VqaAccuracy(Metric):
    """Mean accuracy of answers, from 0 to 1, against what people answered.

    What they answered is ``Sample.info["answers"]``, texts or the entries of an annotation file
    (``{"answer": "yes", ...}``), or the references where a sample has none. Its options say how they are counted.

    Sources: Antol et al., VQA, ICCV 2015, and its evaluation code (``vqa``); Schwenk et al., A-OKVQA, ECCV
    2022, direct answers (``a-okvqa``); Hudson and Manning, GQA, CVPR 2019, as evaluated in LAVIS (``gqa``).
    """

    needs = ("answers|references",)

    def __init__(self, config: VqaAccuracyConfig) -> None:
        self.config = config
        self._scores: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in answers to the questions of samples, in order.

        Raises:
            DataError: A sample has no answers, or too few of them for the variant; an answer is no text.
        """
        for sample, caption in checked_pairs("vqa-accuracy", samples, captions):
            prediction = caption.replace("\n", " ").replace("\t", " ").strip()
            self._scores.append(self._accuracy(prediction, self._answers(sample)))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        told = signature(
            "vqa-accuracy", variant=self.config.variant, normalise=self.config.normalise, n=len(self._scores)
        )
        return Score(mean_of(self._scores), tuple(self._scores), told)

    def _answers(self, sample: Sample) -> list[str]:
        stated = sample.info.get("answers")
        entries = sample.references if stated is None else [stated] if isinstance(stated, str) else stated
        answers: list[Any] = [entry.get("answer") if isinstance(entry, Mapping) else entry for entry in entries]
        if not answers:
            raise DataError(f"vqa-accuracy: sample '{sample.id}' has neither info['answers'] nor a reference")
        for answer in answers:
            if not isinstance(answer, str):
                raise DataError(
                    f"vqa-accuracy: sample '{sample.id}' holds {answer!r} for an answer",
                    'answers are texts, or entries such as {"answer": "yes"}',
                )
        if self.config.variant == "vqa" and len(answers) < 2:
            raise DataError(
                f"vqa-accuracy: sample '{sample.id}' has one answer, and variant vqa leaves one out",
                "for data with one answer a question: variant: gqa",
            )
        return answers

    def _accuracy(self, prediction: str, answers: Sequence[str]) -> float:
        if self.config.normalise == "both":
            answers = [normalised(answer) for answer in answers]
        elif self.config.normalise == "release" and self.config.variant == "vqa" and len(set(answers)) > 1:
            answers = [strip_punctuation(answer) for answer in answers]
        if self.config.normalise != "none" and (self.config.normalise, self.config.variant) != ("release", "a-okvqa"):
            prediction = normalised(prediction)
        matches = answers.count(prediction)
        if self.config.variant == "vqa":
            return leave_one_out(matches, len(answers))
        return min(1.0, matches / AGREEING) if self.config.variant == "a-okvqa" else float(matches > 0)


def leave_one_out(matches: int, people: int) -> float:
    """Return the mean, over all subsets that leave one person out, of ``min(1, matches in the subset / 3)``.

    Args:
        matches: People who gave the answer.
        people: All who answered, two or more; of ten, 0 to 4 matches make 0, 0.3, 0.6, 0.9 and 1.
    """
    without_a_match = min(1.0, (matches - 1) / AGREEING) if matches else 0.0
    without_another = min(1.0, matches / AGREEING)
    return (matches * without_a_match + (people - matches) * without_another) / people
