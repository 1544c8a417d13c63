"""A mark from A to E that a judge gives a caption, as the reward of reinforcement learning."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image

from regionkit.core.contracts import BuildContext, Dataset, Sample, Score, iter_batches
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.judging import Answer, Asking, Judge, Question, Unreadable
from regionkit.core.visual_prompts import Style, render
from regionkit.plugins.judges.metrics.configs import CaptionRewardConfig
from regionkit.plugins.judges.metrics.judged import JudgedMetric, version_of

#: The paper prints the words of the system as "You are a helpful assistant ...".
SYSTEM = "You are a helpful assistant."
#: The paper's prompt, to the letter.
PROMPT = """\
Look at this image and evaluate the caption quality.
Reference (human-written): {reference}
Generated caption: {caption}
Rate the generated caption:
A) Excellent - Perfect description, captures all key details
B) Good - Accurate main objects/scene, minor missing details
C) Fair - Correct general scene but lacks specificity
D) Poor - Some correct elements but major inaccuracies
E) Wrong - Completely incorrect or irrelevant
Answer with just the letter (A, B, C, D, or E):"""
#: How the answer begins.
PREFILL = "Score:"
#: Mark -> reward.
MARKS = {"A": 1.0, "B": 0.75, "C": 0.5, "D": 0.25, "E": 0.0}
_WORDS = {"excellent": "A", "good": "B", "fair": "C", "poor": "D", "wrong": "E"}
_STYLES: dict[str, Style] = {"crop": "crop", "drawn-box": "box"}
#: Words that may stand before the letter.
_LEAD = r"(?:(?:the|my|final|correct|caption'?s?)\s+)*(?:score|answer|rating|grade|mark|letter|option|choice)"
_FIRST = re.compile(rf"\W*(?:{_LEAD}\b\W*(?:is\b|would be\b|of\b)?\W*)?([A-E])(?![\w'])(.*)", re.IGNORECASE | re.DOTALL)
#: A letter that can be nothing else: alone between signs, or followed by one.
_MARKED = re.compile(r"(?<![\w'])(?:[(*\"'\[]+([A-E])[)*\"'\].:]+|([A-E])(?:\)|\.(?!\w)|:))")
#: Characters of a reply that are read.
_LONGEST = 4_000
#: Samples whose pictures are held at a time.
_TOGETHER = 64


class CaptionReward(JudgedMetric):
    """Mean of the marks that a judge gives: A is 1, B .75, C .5, D .25, E 0.

    The first reference is shown beside the caption, and the picture where the judge sees pictures. The words of the
    prompt are the same for one that does not.

    Source: ViZer, arXiv 2510.12931, appendix 4.2.1. How the answer is drawn is not said there; ours is the likeliest.
    """

    name = "caption-reward"
    config: CaptionRewardConfig

    def __init__(self, config: CaptionRewardConfig, judge: Judge, dataset: Dataset | None = None) -> None:
        super().__init__(config, judge, dataset)
        self.needs = ("references", "image") if judge.sees else ("references",)
        self._asking: Asking[float] = Asking(judge, read_mark, config.attempts)

    @classmethod
    def build(cls, config: CaptionRewardConfig, context: BuildContext) -> CaptionReward:
        """Take the judge of ``context.parts``, and the data set for the pictures of a judge that sees.

        Raises:
            DataError: There is no judge, or it sees and there is no data set.
        """
        metric = super().build(config, context)
        if metric.judge.sees and metric.dataset is None:
            raise DataError(
                f"{cls.name} shows its judge the pictures of a data set, and none was given",
                "a judge that is not to see them: judge: {..., sees: false}",
            )
        return metric

    def ask(self, pairs: Sequence[tuple[Sample, str]]) -> Score:
        """Ask one question a sample."""
        answers: list[Answer[float]] = []
        for part in iter_batches(len(pairs), _TOGETHER if self.judge.sees else len(pairs)):
            answers += self._asking([self._question(sample, caption) for sample, caption in pairs[part]])
        lost = {at: answer.error for at, answer in enumerate(answers) if answer.value is None}
        seen = self.config.view if self.judge.sees else "nothing"
        fields = {"prompt": version_of(SYSTEM, PROMPT, PREFILL), "sees": seen}
        return self.mean_score(self.name, [answer.value for answer in answers], lost, **fields)

    def _question(self, sample: Sample, caption: str) -> Question:
        images = (self._picture(sample),) if self.judge.sees else ()
        prompt = prompt_of(sample.references[0], caption)
        return Question(prompt, SYSTEM, images, PREFILL, max_tokens=self.config.max_tokens)

    def _picture(self, sample: Sample) -> Image.Image:
        assert self.dataset is not None
        try:
            image = self.dataset.image(sample.image_id)
            style = _STYLES.get(self.config.view)
            return render(image, sample.region, style) if style else image.convert("RGB")
        except RegionkitError as error:
            raise DataError(
                f"{self.name}: the picture of sample '{sample.id}': {error.message}", *error.hints
            ) from error


def prompt_of(reference: str, caption: str) -> str:
    """Return what the user says."""
    head, middle, tail = re.split(r"\{reference\}|\{caption\}", PROMPT)
    return head + reference + middle + caption + tail  # captions may hold braces


def read_mark(reply: str) -> float:
    """Return the reward of the mark in a reply: ``B``, ``b)``, ``**B**``, ``Answer: B``, ``B) Good - ...``, ``Good``.

    Raises:
        Unreadable: It has none, or several.
    """
    said = reply.strip()[:_LONGEST]
    word = _WORDS.get(said.strip(" .*\"'").lower())
    if word:
        return MARKS[word]
    first = _FIRST.fullmatch(said)
    leads = first is not None and not _is_word(first)
    letters = {first[1].upper()} | _marked(first[2]) if first and leads else _marked(said)
    if len(letters) != 1:
        raise Unreadable(
            "it has no mark from A to E" if not letters else f"it has the marks {', '.join(sorted(letters))}"
        )
    return MARKS[letters.pop()]


def _marked(text: str) -> set[str]:
    return {one or other for one, other in _MARKED.findall(text)}


def _is_word(first: re.Match[str]) -> bool:
    """Say whether a leading letter is part of a sentence, as in "A good caption" or "e.g.", and no mark."""
    letter, rest = first[1], first[2]
    if letter.islower():
        return bool(re.search(r"\w", rest)) and not rest.startswith(")")
    return letter == "A" and bool(re.match(r"\s+[a-z]", rest))
