"""Options of the metrics that ask a judge, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


def _check(attempts: int, max_tokens: int) -> None:
    """Check the options that several metrics have.

    Raises:
        ValueError: One of them cannot be.
    """
    if not 1 <= attempts <= 100:
        raise ValueError(f"attempts: {attempts} must be between 1 and 100")
    if not 1 <= max_tokens <= 1 << 20:
        raise ValueError(f"max_tokens: {max_tokens} must be between 1 and {1 << 20}")


@dataclass(frozen=True)
class ClairConfig:
    """Options of ``clair``.

    Attributes:
        judge: Who judges: the name of a judge, or a mapping with ``name`` and options, such as
            ``{name: http, url: "http://localhost:8000/v1", model: NAME}``.
        compat: How replies are read. ``paper`` takes a score from 0 to 100 and nothing else. ``reference`` reads as the
            released code does: it goes beyond 100, and a number below 1 outside JSON counts a hundredfold.
        targets: What the reference set holds: the sample's ``references``, or the ``characters`` of the first one, one
            a line, as VideoRefer's copy of the code has it by mistake.
        attempts: How often a question is asked whose reply cannot be read.
        max_tokens: Longest reply; models that think aloud need more.
    """

    judge: str | dict[str, Any]
    compat: Literal["paper", "reference"] = "paper"
    targets: Literal["references", "characters"] = "references"
    attempts: int = 3
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        _check(self.attempts, self.max_tokens)


@dataclass(frozen=True)
class DlcBenchConfig:
    """Options of ``dlc-bench``.

    Attributes:
        judge: Who judges, as in ``clair``. The release's is Llama 3.1 8B Instruct.
        compat: What becomes of a question whose reply cannot be read, beside being counted. ``paper``: it is left out
            of its instance. ``reference``: it gives 0 points, as in the released code.
        pooling: ``instance`` is the mean over instances of the means over their questions, which the released code
            computes. ``question`` is the sum of all points over the sum of the most that there are, which the paper
            describes.
        attempts: How often a question is asked whose reply cannot be read; the release asks once.
        max_tokens: Longest reply; models that think aloud need more.
    """

    judge: str | dict[str, Any]
    compat: Literal["paper", "reference"] = "paper"
    pooling: Literal["instance", "question"] = "instance"
    attempts: int = 1
    max_tokens: int = 300

    def __post_init__(self) -> None:
        _check(self.attempts, self.max_tokens)


@dataclass(frozen=True)
class VideoReferConfig:
    """Options of ``videorefer-d``.

    Attributes:
        judge: Who judges, as in ``clair``. The release's is GPT-4o.
        compat: How replies are read. ``paper`` knows the four dimensions by their names, bold or not, after ``1.`` or
            ``1)``, with scores from 0 to 5. ``reference`` reads as the released code does, which drops bold names.
        system_prompt: File with the words of the system; empty for ours, which asks for the same form. The released
            words are ``system.txt`` of the benchmark's evaluation code.
        attempts: How often a question is asked whose reply cannot be read.
        temperature: Of the draw.
        top_p: Share of the likeliest words that are drawn from.
        max_tokens: Longest reply.
    """

    judge: str | dict[str, Any]
    compat: Literal["paper", "reference"] = "paper"
    system_prompt: str = ""
    attempts: int = 5
    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 800

    def __post_init__(self) -> None:
        _check(self.attempts, self.max_tokens)
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature: {self.temperature} must be between 0 and 2")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: {self.top_p} must be above 0 and at most 1")
        if "\0" in self.system_prompt:
            raise ValueError(f"system_prompt: {self.system_prompt!r} is no path")


@dataclass(frozen=True)
class CaptionRewardConfig:
    """Options of ``caption-reward``.

    Attributes:
        judge: Who judges, as in ``clair``. One that sees pictures (``sees: true`` of judge ``http``) is shown them.
        view: What is shown of a region: its whole picture, its bounding box cut out, or the picture with the box in
            red.
        attempts: How often a question is asked whose reply cannot be read.
        max_tokens: Longest reply.
    """

    judge: str | dict[str, Any]
    view: Literal["whole", "crop", "drawn-box"] = "whole"
    attempts: int = 3
    max_tokens: int = 32

    def __post_init__(self) -> None:
        _check(self.attempts, self.max_tokens)
