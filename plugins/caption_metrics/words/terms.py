"""F1 between the terms that a caption names and those that are true of its region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

from regionkit.core.contracts import BuildContext, Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS
from regionkit.plugins.caption_metrics.words.configs import TermF1Config
from regionkit.plugins.caption_metrics.words.lexicon import Lexicon


class TermF1(Metric):
    """Mean over samples of the F1 between two sets of terms, from 0 to 1.

    What a caption names is looked up in the data set's lexicon, which maps surface forms, plurals included, to terms.
    What is true is ``Sample.info[kind]`` where the data set states it. Otherwise each reference is looked up in the
    same way, and the caption is held against the reference that it agrees with best. Two empty sets agree fully (1);
    an empty set against another one scores 0.

    Attributes:
        kind: The list in the lexicon and in ``Sample.info``.
    """

    kind: ClassVar[str]

    def __init__(self, config: TermF1Config, lexicon: Mapping[str, str]) -> None:
        self.config = config
        self._lexicon = Lexicon(lexicon)
        self._scores: list[float] = []
        self._stated = 0

    @classmethod
    def build(cls, config: TermF1Config, context: BuildContext) -> Self:
        """Take the lexicon of the data set in ``context.parts``.

        Raises:
            DataError: There is no data set, or it has no lexicon.
        """
        dataset = context.parts.get("dataset")
        if dataset is None:
            raise DataError(
                f"{cls.kind[:-1]}-f1 takes its lexicon from a data set, and none was given",
                "judge captions of a data set that has one, such as: toolkit run mini --data box@mini",
            )
        return cls(config, dataset.lexicon(cls.kind))

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: Nothing says which terms are true of a sample; a caption or a reference is no text.
        """
        for sample, caption in checked_pairs(f"{self.kind[:-1]}-f1", samples, captions, references=True):
            truths, named = self._truths(sample), self.find(caption)
            self._scores.append(max(f1(named, truth) for truth in truths))
            self._stated += sample.info.get(self.kind) is not None

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        told = signature(
            f"{self.kind[:-1]}-f1",
            truth="stated or best reference",
            stated=self._stated,
            tokeniser=self.config.tokeniser,
            lexicon=self._lexicon.digest,
            n=len(self._scores),
        )
        return Score(mean_of(self._scores), tuple(self._scores), told)

    def find(self, text: str) -> frozenset[str]:
        """Return the terms that a text names; where several forms start at a word, the longest counts."""
        return self._lexicon.find(TOKENISERS[self.config.tokeniser](text))

    def _truths(self, sample: Sample) -> list[frozenset[str]]:
        stated: Iterable[str] | None = sample.info.get(self.kind)
        if stated is not None:
            return [frozenset(stated)]
        if not sample.references:
            raise DataError(
                f"{self.kind[:-1]}-f1: sample '{sample.id}' has neither info['{self.kind}'] nor a reference caption"
            )
        return [self.find(reference) for reference in sample.references]


class NounF1(TermF1):
    """F1 over nouns."""

    needs = ("nouns|references",)
    kind = "nouns"


class AttributeF1(TermF1):
    """F1 over attributes, such as sizes and colours, wherever in the caption they stand."""

    needs = ("attributes|references",)
    kind = "attributes"


def f1(named: frozenset[str], truth: frozenset[str]) -> float:
    """Return the harmonic mean of precision and recall of one set against another."""
    if not named and not truth:
        return 1.0
    return 2 * len(named & truth) / (len(named) + len(truth))
