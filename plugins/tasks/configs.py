"""Options of tasks, torch-free.

What a paper's protocol fixes is the default; where a paper leaves it to the model, nothing is said and the decoder's
own habit holds. Sources: Patch-ioner (arXiv 2510.02898), section 4; Describe Anything (arXiv 2504.16072), section 5 and
its released evaluation; RegionVLM (arXiv 2403.18260), section 4 and its released code; Osprey (arXiv 2312.10032) and
VideoRefer (arXiv 2501.00599), their released evaluations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TaskOptions:
    """Options that all tasks have: what is asked, and how answers are written.

    Attributes:
        prompt: What the decoder is asked; empty asks its own prompt. ``<region>`` says where the region stands in it.
        max_tokens: Longest answer in tokens; 0 leaves it to the decoder.
        min_tokens: Shortest answer in tokens.
        beams: Beams of a beam search; 1 for none.
        length_penalty: Exponent of the length by which a beam's score is divided.
        temperature: Draw words from the distribution sharpened by it; 0 takes the likeliest.
        top_p: Draw among the likeliest words of this mass.
    """

    prompt: str = ""
    max_tokens: int = 0
    min_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.length_penalty) and math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError("temperature must be 0 or more, and length_penalty a finite number")
        if self.beams < 1 or self.max_tokens < 0 or self.min_tokens < 0:
            raise ValueError("beams must be 1 or more, max_tokens and min_tokens 0 or more")
        if self.min_tokens and not self.min_tokens < (self.max_tokens or 30):
            raise ValueError(f"min_tokens: {self.min_tokens} must be less than max_tokens")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: {self.top_p} must be more than 0 and at most 1")
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("a beam search does not draw: set either beams or temperature")


@dataclass(frozen=True)
class DenseOptions(TaskOptions):
    """Options of ``dense``, and those of every task.

    Attributes:
        strip: Take full stops and blanks off both ends of captions, as the released evaluation does (Patch-ioner).
    """

    strip: bool = True


@dataclass(frozen=True)
class DetailOptions(TaskOptions):
    """Options of ``detail``, and those of every task.

    The released evaluation draws at temperature 0.2 with a seed that its loop moves on; the likeliest words are the
    same in every run, and are the default here.

    Attributes:
        max_tokens: Longest description (Describe Anything, released code).
    """

    max_tokens: int = 512


@dataclass(frozen=True)
class KeywordOptions(TaskOptions):
    """Options of ``keyword``, and those of every task.

    Osprey asks LVIS "What is the category of <region>? Using only one word or phrase." and VideoRefer asks PACO "What
    is the category of <region>? It maybe a subpart of an object. If it is a subpart, output in the format of
    'category:subcategory', else just output the category."; what Describe Anything asks is not published.

    Attributes:
        clean: How answers and categories are cleaned before they are compared. ``osprey``: in answers all up to a first
            colon goes, and what stands behind a second; full stops, colons and commas become blanks; in categories
            underscores and colons do. ``videorefer``: in both, underscores, colons, commas, full stops and brackets
            become blanks, and letters small. ``none`` leaves both to the metrics.
    """

    clean: Literal["none", "osprey", "videorefer"] = "none"


@dataclass(frozen=True)
class RisOptions(TaskOptions):
    """Options of ``ris``, and those of every task.

    Attributes:
        process: Score expressions in small letters and without punctuation but ``,`` and ``?``, as the released code of
            RegionVLM does.
    """

    process: bool = True


@dataclass(frozen=True)
class VqaOptions(TaskOptions):
    """Options of ``vqa``, and those of every task.

    Attributes:
        compat: ``paper`` asks "Question: {} Answer:", ``reference`` "Question: {} Short answer:", as the released code
            of RegionVLM does.
        prompt: Another prompt with ``{}`` for the question; empty asks what ``compat`` says.
        process: Take punctuation but ``,`` and ``?`` out of questions and make letters small, as the released code
            does.
        max_tokens: Longest answer (RegionVLM, released code).
        beams: Beams (RegionVLM, released code).
        length_penalty: Exponent of the length (RegionVLM, released code).
    """

    compat: Literal["paper", "reference"] = "paper"
    process: bool = True
    max_tokens: int = 10
    beams: int = 5
    length_penalty: float = -1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt and self.prompt.count("{}") != 1:
            raise ValueError(f"prompt: '{self.prompt}' needs one {{}} for the question")


@dataclass(frozen=True)
class VcrOptions(TaskOptions):
    """Options of ``vcr``, and those of every task.

    Attributes:
        compat: How regions, question and choices are written: ``paper`` "[0]: <region> [1]: <region>, question 1. .. 4.
            .. Answer:", ``reference`` "Let [0] be <region> [1] be <region> Question: .. 1. .. 4. .. Answer: ".
        prompt: Not used: the sample's regions, question and choices are the prompt.
        max_tokens: Longest answer (RegionVLM, released code).
        beams: Beams (RegionVLM, released code).
    """

    compat: Literal["paper", "reference"] = "paper"
    max_tokens: int = 30
    beams: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt:
            raise ValueError("prompt: vcr makes its prompt of the sample; say which with compat")


@dataclass(frozen=True)
class VideoOptions(TaskOptions):
    """Options of ``video``, and those of every task.

    Attributes:
        frames: ``all`` shows the clip with the region's mask in every frame. ``single`` shows one frame with its mask:
            the one that the benchmark names (``frame``), or the first in which the region is seen.
        max_tokens: Longest description (Describe Anything, released code).
    """

    frames: Literal["single", "all"] = "all"
    max_tokens: int = 512
