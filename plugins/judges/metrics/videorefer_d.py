"""VideoRefer-Bench-D: four scores of a description of one object in a clip."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from pathlib import Path

import numpy as np

from regionkit.core.contracts import Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.judging import Question, Unreadable, ask_all
from regionkit.plugins.judges.metrics.configs import VideoReferConfig
from regionkit.plugins.judges.metrics.judged import Floats, JudgedMetric, nothing_judged, ratio, version_of

#: Part -> name of the dimension in prompt and replies.
DIMENSIONS = {
    "subject": "Subject Correspondence",
    "appearance": "Appearance Description",
    "temporal": "Temporal Description",
    "hallucination": "Hallucination Detection",
}
#: Highest score of a dimension; the lowest is 0.
HIGHEST = 5
#: Our own words for what the benchmark asks; only the names and the form of the answer are the released ones.
SYSTEM = """\
You compare a description of one object in a video, the predicted answer, with a description of the same object that \
is known to be right, the correct answer. Give the predicted answer a whole number from 0 (entirely wrong) to 5 \
(entirely right) in each of four dimensions:
- Subject Correspondence: is it about the same object as the correct answer?
- Appearance Description: are colour, shape, texture, clothing and other visible properties those of the object?
- Temporal Description: are its actions, movements and changes over time those that take place?
- Hallucination Detection: is everything that it says there? Anything that is made up, or that contradicts the correct \
answer, lowers this number.
Other words for the same fact are right. Answer in exactly this form, with one sentence of explanation each:
1. Subject Correspondence: 0-5
Explanation: ...
2. Appearance Description: 0-5
Explanation: ...
3. Temporal Description: 0-5
Explanation: ...
4. Hallucination Detection: 0-5
Explanation: ..."""
PROMPT = "##Correct answer: {reference}\n##Predicted answer: {caption}\n"
#: The released pattern; that no digit stands before changes no match, and keeps long numbers from taking long.
_RELEASED = re.compile(r"(?<!\d)\d+\.\s+(.*?):\s+([\d.]+)")
#: A line such as ``**2) Appearance Description:** 4/5``; what stands between name and number is decoration.
_LINE = re.compile(
    r"^[\s*_#>-]*\d+[.)][\s*_]*("
    + "|".join(map(re.escape, DIMENSIONS.values()))
    + r")[\s*_]*:[\s*_]*(?:score[\s*_]*:?[\s*_]*)?([0-9]+(?:\.[0-9]+)?)(?![\d-])",
    re.IGNORECASE | re.MULTILINE,
)
#: Characters of a reply that are read; a reply of 800 tokens has some 5,000.
_LONGEST = 20_000
#: Bytes of a file with the words of the system.
_LARGEST = 1 << 20


class VideoReferD(JudgedMetric):
    """Scores from 0 to 5 of a description against the right one: one part a dimension, and ``avg``, their mean.

    Each dimension is the mean over the samples whose reply has it, and its ``unjudged`` names the others; ``avg`` is
    the mean of the four and stands for the metric.

    Source: Yuan et al., VideoRefer Suite, arXiv 2501.00599, VideoRefer-Bench-D, and its released evaluation code.
    """

    name = "videorefer-d"
    needs = ("references",)
    parts = ("avg", *DIMENSIONS)
    config: VideoReferConfig

    def prepare(self) -> None:
        """Read the words of the system, so that a missing file is told before captions are made."""
        self.system()

    def system(self) -> str:
        """Return the words of the system.

        Raises:
            DataError: The file that the options name cannot be read.
        """
        if not self.config.system_prompt:
            return SYSTEM
        path = Path(self.config.system_prompt).expanduser()
        try:
            with path.open("rb") as stream:
                text = stream.read(_LARGEST + 1).decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise DataError(f"{path}: not UTF-8", "save the file again with the encoding UTF-8") from None
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path}: the words of the system cannot be read: {reason}") from None
        if not text or len(text) > _LARGEST:
            raise DataError(f"{path}: holds {'no words' if not text else 'more than 1 MiB'} for the system")
        return text

    def ask(self, pairs: Sequence[tuple[Sample, str]]) -> Score:
        """Ask one question a sample, and read four scores of the reply."""
        system, config = self.system(), self.config
        drawn = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
        questions = [
            Question(prompt_of(sample.references[0], caption), system, **drawn)  # type: ignore[arg-type]
            for sample, caption in pairs
        ]
        read: Callable[[str], Mapping[str, float]] = read_reference if config.compat == "reference" else read_paper
        answers = ask_all(self.judge, questions, read, config.attempts)
        if all(answer.value is None for answer in answers):
            raise nothing_judged(self.name, (answer.error for answer in answers))
        values = [answer.value or {} for answer in answers]
        errors = {at: answer.error for at, answer in enumerate(answers) if answer.value is None}
        parts = {part: self._dimension(part, values, errors, system) for part in DIMENSIONS}
        return self._whole(values, errors, parts, system)

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return the values (d,) of a part from sums (d, k); for ``avg`` k is 8, the dimensions beside each other."""
        means = [ratio(sums[:, at], sums[:, at + 1]) for at in range(0, sums.shape[1], 2)]
        found: Floats = np.stack(means).mean(0)
        return found

    def _dimension(
        self, part: str, values: Sequence[Mapping[str, float]], errors: Mapping[int, str], system: str
    ) -> Score:
        lost = {
            at: errors.get(at, f"the reply has no readable score of '{DIMENSIONS[part]}'")
            for at, found in enumerate(values)
            if part not in found
        }
        scores = [found.get(part) for found in values]
        return self.mean_score(f"{self.name}-{part}", scores, lost, **self._fields(system))

    def _whole(
        self,
        values: Sequence[Mapping[str, float]],
        errors: Mapping[int, str],
        parts: Mapping[str, Score],
        system: str,
    ) -> Score:
        held = [score.statistics for score in parts.values() if score.statistics is not None]
        rows = np.concatenate(held, 1)
        samples = tuple(fsum(found.values()) / len(found) if found else math.nan for found in values)
        told = self.signed(f"{self.name}-avg", len(values) - len(errors), **self._fields(system))
        value = float(self.pool("avg", rows.sum(0, keepdims=True))[0])
        avg = Score(value, samples, told, statistics=rows, unjudged=dict(errors))
        return Score(value, samples, told, {"avg": avg, **parts}, rows, avg.unjudged)

    def _fields(self, system: str) -> dict[str, object]:
        drawn = f"temperature {self.config.temperature:g}, top-p {self.config.top_p:g}"
        return {"compat": self.config.compat, "prompt": version_of(system, PROMPT), "drawn": drawn}


def prompt_of(reference: str, caption: str) -> str:
    """Return what the user says."""
    head, middle, tail = re.split(r"\{reference\}|\{caption\}", PROMPT)
    return head + reference + middle + caption + tail  # captions may hold braces


def read_paper(reply: str) -> dict[str, float]:
    """Return the scores of a reply by part: of each dimension the first that is named at the start of a line.

    Raises:
        Unreadable: It has none from 0 to 5.
    """
    _check_length(reply)
    named = {name.lower(): part for part, name in DIMENSIONS.items()}
    first: dict[str, float] = {}
    for match in _LINE.finditer(reply):
        first.setdefault(named[match[1].lower()], float(match[2]))
    found = {part: score for part, score in first.items() if 0 <= score <= HIGHEST}
    if not found:
        beyond = f"its scores go beyond {HIGHEST}" if first else "it has none of the four scores"
        raise Unreadable(beyond)
    return found


def read_reference(reply: str) -> dict[str, float]:
    """Return the scores of a reply by part, as the released code reads them: see :func:`released_scores`.

    Raises:
        Unreadable: There is none under one of the four names, or the released code breaks off.
    """
    found = released_scores(reply)
    scores = {part: found[name] for part, name in DIMENSIONS.items() if name in found}
    if not scores:
        raise Unreadable("it has none of the four scores")
    return scores


def released_scores(reply: str) -> dict[str, float]:
    """Return whatever the released code takes for a score, by what it takes for a name; the last one of a name counts.

    Raises:
        Unreadable: The released code breaks off: what it takes for a score is no number.
    """
    _check_length(reply)
    try:
        return {name: _finite(float(score)) for name, score in _RELEASED.findall(reply)}
    except ValueError:
        raise Unreadable("one of its scores is no number") from None


def _finite(score: float) -> float:
    if not math.isfinite(score):
        raise Unreadable("one of its scores is no number")
    return score


def _check_length(reply: str) -> None:
    if len(reply) > _LONGEST:
        raise Unreadable(f"it is longer than {_LONGEST:,} characters")
