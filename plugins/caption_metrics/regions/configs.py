"""Options of the metrics of regions and answers, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a reply of VCR may be asked for: the answer, the reason for the right answer, the reason for the chosen answer.
STAGES = ("q-a", "qa-r", "q-ar")


@dataclass(frozen=True)
class VqaAccuracyConfig:
    """Options of ``vqa-accuracy``.

    Attributes:
        variant: ``vqa``: the mean, over all but one of the people who answered, of how many gave the answer, three of
            them making it fully right; ten people are asked. ``a-okvqa``: as many as gave the answer, divided by
            three, 1 at most. ``gqa``: 1 where any of the answers is it, data with one answer a question.
        normalise: What the evaluation of VQA makes of an answer (no articles, no punctuation, numbers as digits) is
            done to ``both`` sides, to the ``prediction`` alone, or to ``none``. ``release``: as each benchmark does it.
            ``vqa``: the prediction, and of the answers of people only the punctuation, and that only where they differ
            (later versions of its code do all of it to both sides, where the answers differ; else to neither).
            ``a-okvqa``: none. ``gqa``: the prediction; later code does both.
    """

    variant: Literal["vqa", "a-okvqa", "gqa"] = "vqa"
    normalise: Literal["release", "prediction", "both", "none"] = "release"


@dataclass(frozen=True)
class VcrConfig:
    """Options of ``vcr``.

    Attributes:
        q_ar: What makes a question fully right. ``and``: the answer is right, and so is the reason that was chosen
            given the right answer (VCR). ``third-generation``: the answer is right, and so is the reason that was
            chosen given the answer that the model chose; the data hold a third sample a question (RegionVLM).
        stages: Parts to report; the last one stands for the metric.
        unparsable: What a reply without any number is: ``wrong``, or the ``first`` choice, as RegionVLM takes it, which
            makes it right now and then. The part ``parsed`` says how many replies name a choice.
        choices: Number of choices.
    """

    q_ar: Literal["and", "third-generation"] = "and"
    stages: tuple[str, ...] = STAGES
    unparsable: Literal["wrong", "first"] = "wrong"
    choices: int = 4

    def __post_init__(self) -> None:
        if not self.stages or set(self.stages) - set(STAGES) or len(set(self.stages)) < len(self.stages):
            raise ValueError(f"stages are some of: {', '.join(STAGES)}, each once; not: {', '.join(self.stages)}")
        if self.choices < 2:
            raise ValueError(f"choices is {self.choices}: there are two choices or more")
