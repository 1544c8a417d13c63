"""CLAIR: the likelihood that two sets of captions are of one image, as a language model puts it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence

from regionkit.core.contracts import Sample, Score
from regionkit.core.judging import Question, Unreadable, ask_all
from regionkit.plugins.judges.metrics.configs import ClairConfig
from regionkit.plugins.judges.metrics.judged import JudgedMetric, version_of

#: The released prompt, to the letter; each statement is a line that begins with a dash.
PROMPT = """\
You are trying to tell if a candidate set of captions is describing the same image as a reference set of captions.
Candidate set:
{candidates}
Reference set:
{targets}
On a precise scale from 0 to 100, how likely is it that the candidate set is describing the same image as the \
reference set? (JSON format, with a key "score", value between 0 and 100, and a key "reason" with a string value.)
"""
_NUMBER = re.compile(r"\d*\.?\d+")
_REASON = re.compile(r"reason.*", re.IGNORECASE)
_SCORE = re.compile(r"score\W{0,4}(?:is|of)?\W{0,3}(-?\d+(?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE)
#: Places of a reply at which an object is looked for.
_OBJECTS = 32


class Clair(JudgedMetric):
    """Mean over samples of the likelihood, from 0 to 1, that caption and references describe one image.

    A reply without a readable score is asked for again; a sample that ends without one is counted as not judged, where
    the released code gives it 0.

    Source: Chan et al., CLAIR, EMNLP 2023, and its released code.
    """

    name = "clair"
    needs = ("references",)
    config: ClairConfig

    def ask(self, pairs: Sequence[tuple[Sample, str]]) -> Score:
        """Ask one question a sample."""
        questions = [
            Question(prompt_of([caption], self._targets(sample)), max_tokens=self.config.max_tokens)
            for sample, caption in pairs
        ]
        read: Callable[[str], float] = read_reference if self.config.compat == "reference" else read_paper
        answers = ask_all(self.judge, questions, read, self.config.attempts)
        lost = {at: answer.error for at, answer in enumerate(answers) if answer.value is None}
        characters = self.config.targets if self.config.targets == "characters" else None
        fields = {"compat": self.config.compat, "prompt": version_of(PROMPT), "targets": characters}
        return self.mean_score(self.name, [answer.value for answer in answers], lost, **fields)

    def _targets(self, sample: Sample) -> Sequence[str]:
        return sample.references[0] if self.config.targets == "characters" else sample.references


def prompt_of(candidates: Sequence[str], targets: Sequence[str]) -> str:
    """Return the question about two sets of captions."""
    sets = ("".join(f"- {line}\n" for line in lines) for lines in (candidates, targets))
    head, middle, tail = re.split(r"\{candidates\}|\{targets\}", PROMPT)
    first, second = sets
    return head + first + middle + second + tail  # captions may hold braces


def read_paper(reply: str) -> float:
    """Read a score from 0 to 100, in JSON or after the word score, as a share of 1.

    Raises:
        Unreadable: There is none, or it lies outside. A fraction of 1 is refused as well: nobody can tell whether .9 is
            meant of 1 or of 100.
    """
    said = _said(reply)
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        raise Unreadable(f"its score is {json.dumps(said)[:40]}, and no number")
    try:
        score = float(said)
    except (ValueError, OverflowError):
        raise Unreadable(f"its score is '{str(said)[:40]}', and no number") from None
    if not 0 <= score <= 100:
        raise Unreadable(f"its score is {score:g}, and not between 0 and 100")
    if 0 < score < 1:
        raise Unreadable(f"its score is {score:g}: of 1 or of 100, nobody can tell")
    return score / 100


def _said(reply: str) -> object:
    """Return what a reply gives as its score.

    Raises:
        Unreadable: It gives none.
    """
    decoder = json.JSONDecoder()
    at = -1
    for _ in range(_OBJECTS):
        at = reply.find("{", at + 1)
        if at < 0:
            break
        try:
            held, _ = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            continue
        if isinstance(held, dict) and "score" in held:
            return held["score"]
    found = _SCORE.search(reply)
    if found is None:
        raise Unreadable("it has no score, neither in JSON nor in words")
    return found.group(1)


def read_reference(reply: str) -> float:
    """Read a reply as the released code does; see :func:`read_with_reason`."""
    return read_with_reason(reply)[0]


def read_with_reason(reply: str) -> tuple[float, str]:
    """Return score and reason as the released code reads them.

    JSON is what stands between the first opening brace and the next closing one. Where that is none, or has no score,
    the first number counts, one below 1 a hundredfold. Nothing is cut at 1.

    Raises:
        Unreadable: The released code gives 0, or breaks off.
    """
    try:
        inner = reply.split("{")[1].split("}")[0]
        held = json.loads("{" + inner + "}")
        score, reason = held["score"], held.get("reason", "Unknown")
    except (json.JSONDecodeError, KeyError, IndexError, RecursionError):
        return _first_number(reply)
    except ValueError:
        raise Unreadable("it holds a number of too many digits") from None
    try:
        return _finite(float(score) / 100), reason
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"its score is {json.dumps(score)[:40]}, and no number") from None


def _first_number(reply: str) -> tuple[float, str]:
    number = _NUMBER.search(reply)
    if number is None:
        raise Unreadable("it has no number")
    score = float(number.group())
    if score < 1:
        score *= 100
    told = _REASON.search(reply)
    reason = told.group().strip()[len("reason") :].replace(":", "").strip() if told else "Unknown"
    return _finite(score / 100), reason


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Unreadable(f"its score is {value}")
    return value
