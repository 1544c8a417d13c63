"""How varied and how long captions are, whatever they are about."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS
from regionkit.plugins.caption_metrics.words.configs import DistinctConfig, LengthConfig


class Distinct(Metric):
    """Distinct n-grams of all captions together over the number of their n-grams, from 0 to 1, a part for each n.

    The last part, of the longest n-grams, stands for the metric. Captions without an n-gram add nothing; 0 where no
    caption has one. The value falls with the number of captions, because words run out: only runs over the same number
    of samples compare. It is no mean and no ratio of sums, so that no interval follows from drawing samples again.

    Source: Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016.
    They divide by the number of words for every n; that is ``per: words``.
    """

    needs = ()

    def __init__(self, config: DistinctConfig) -> None:
        self.config = config
        self.parts = tuple(str(order) for order in range(1, config.n_max + 1))
        self._distinct: list[set[tuple[str, ...]]] = [set() for _ in self.parts]
        self._totals = [0] * config.n_max
        self._count = 0

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions; of samples only the ids are looked at.

        Raises:
            DataError: A caption is no text.
        """
        for _, caption in checked_pairs("distinct-n", samples, captions):
            words = TOKENISERS[self.config.tokeniser](caption)
            for order, seen in enumerate(self._distinct, start=1):
                grams = list(zip(*(words[start:] for start in range(order)), strict=False))
                seen.update(grams)
                self._totals[order - 1] += len(grams)
        self._count += len(captions)

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        below = self._totals if self.config.per == "ngrams" else [self._totals[0]] * len(self._totals)
        parts = {
            part: Score(len(seen) / total if total else 0.0, None, self._signature(part))
            for part, seen, total in zip(self.parts, self._distinct, below, strict=True)
        }
        whole = parts[self.parts[-1]]
        return Score(whole.value, None, whole.signature, parts)

    def _signature(self, part: str) -> str:
        return signature(f"distinct-n-{part}", per=self.config.per, tokeniser=self.config.tokeniser, n=self._count)


class Length(Metric):
    """Mean number of words a caption.

    Neither direction is better. The contract knows two, and ``higher_is_better`` is its default: read a higher value
    as "longer", never as "better".
    """

    needs = ()

    def __init__(self, config: LengthConfig) -> None:
        self.config = config
        self._lengths: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions; of samples only the ids are looked at.

        Raises:
            DataError: A caption is no text.
        """
        for _, caption in checked_pairs("length", samples, captions):
            self._lengths.append(float(len(TOKENISERS[self.config.tokeniser](caption))))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        told = signature("length", unit="words", tokeniser=self.config.tokeniser, n=len(self._lengths))
        return Score(mean_of(self._lengths), tuple(self._lengths), told)
