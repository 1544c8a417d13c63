"""What the metrics that ask a judge have in common: who is asked, what is taken in, scores over those who answered."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import BuildContext, Dataset, Metric, Sample, Score
from regionkit.core.errors import DataError, RunFailed, commonest
from regionkit.core.judging import Judge
from regionkit.core.signatures import signature

Floats = NDArray[np.float64]


class JudgedMetric(Metric):
    """A metric that asks a judge about each caption when its value is wanted.

    Args:
        config: Options.
        judge: Who is asked.
        dataset: Where pictures are; None for a metric that shows none.

    Attributes:
        name: Of the metric.
    """

    name: ClassVar[str]

    def __init__(self, config: Any, judge: Judge, dataset: Dataset | None = None) -> None:
        self.config = config
        self.judge = judge
        self.dataset = dataset
        self._pairs: list[tuple[Sample, str]] = []
        self._score: Score | None = None

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Take the judge of ``context.parts``.

        Raises:
            DataError: There is none.
        """
        judge = context.parts.get("judge")
        if not isinstance(judge, Judge):
            raise DataError(f"{cls.name} asks a judge, and none was given", "name one: judge: {name: http, ...}")
        return cls(config, judge, context.parts.get("dataset"))

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order; nobody is asked yet.

        Raises:
            DataError: A caption or a reference is no text, or a sample lacks what the question is made of.
        """
        pairs = list(zip(samples, captions, strict=True))
        for sample, caption in pairs:
            for what, text in (("caption", caption), *(("reference", one) for one in sample.references)):
                if not isinstance(text, str):
                    raise DataError(
                        f"{self.name}: the {what} of sample '{sample.id}' is {text!r:.60}, and must be text",
                        "an empty caption is '', which is judged like any other",
                    )
            self.check(sample)
        self._pairs += pairs
        self._score = None

    def check(self, sample: Sample) -> None:
        """Check that a sample has a reference, or whatever else its question is made of.

        Raises:
            DataError: It has not.
        """
        if not sample.references:
            raise DataError(f"{self.name}: sample '{sample.id}' has no reference to be held against")

    def compute(self) -> Score:
        """Ask the judge about everything taken in so far, once, and make scores of what it said.

        Raises:
            RunFailed: There is nothing to judge, or the judge gave no answer at all.
            RegionkitError: The judge cannot be asked.
        """
        if not self._pairs:
            raise RunFailed(f"{self.name}: there is no caption to judge")
        if self._score is None:
            self._score = self.ask(self._pairs)
        return self._score

    @abstractmethod
    def ask(self, pairs: Sequence[tuple[Sample, str]]) -> Score:
        """Ask about captions and make scores of the answers."""

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return values over counts (d,) from sums (d, 2) of both; see :func:`ratio`."""
        return ratio(sums[:, 0], sums[:, 1])

    def signed(self, name: str, count: int, **fields: object) -> str:
        """Return the signature of a part.

        Args:
            name: The metric and its part.
            count: Samples that have an answer.
            **fields: What else the value depends on.
        """
        return signature(name, judge=self.judge.identity, **fields, n=count)

    def mean_score(
        self, name: str, values: Sequence[float | None], unjudged: Mapping[int, str], **fields: object
    ) -> Score:
        """Return the score of one value a sample, the mean over those that were judged.

        Raises:
            RunFailed: None was.
        """
        judged = [value for value in values if value is not None]
        if not judged:
            raise nothing_judged(name, unjudged.values())
        rows = np.array([(0.0, 0.0) if value is None else (value, 1.0) for value in values])
        samples = tuple(math.nan if value is None else value for value in values)
        told = self.signed(name, len(judged), **fields)
        return Score(fsum(judged) / len(judged), samples, told, statistics=rows, unjudged=dict(unjudged))


def nothing_judged(name: str, reasons: Iterable[str]) -> RunFailed:
    """Return the error of a metric that has not one answer; it counts why."""
    every = list(reasons)
    return RunFailed(f"{name}: none of {len(every):,} samples could be judged", *commonest(every))


def ratio(upper: Floats, lower: Floats) -> Floats:
    """Return quotients (d,) of d draws.

    A draw that holds nothing that was judged says nothing: it takes the mean of those that do, so that it widens no
    interval towards 0. Where none does, it is 0.
    """
    known = lower > 0
    found = np.divide(upper, lower, out=np.zeros(len(upper)), where=known)
    if known.any() and not known.all():
        found[~known] = found[known].mean()
    return found


def version_of(*texts: str) -> str:
    """Return 8 digits that change with the words of a prompt, for signatures."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
