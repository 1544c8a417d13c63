"""How little a caption repeats itself, the known weakness of greedy decoders."""

from __future__ import annotations

import re
from collections.abc import Sequence

from regionkit.core.contracts import Metric, Sample, Score
from regionkit_border.configs import DistinctWordsConfig


class DistinctWords(Metric):
    """The share of the words of a caption, or of its runs of words, that are said for the first time.

    It runs from 0 to 1, the mean over all captions. A caption that is too short to have a run repeats nothing and
    scores 1, so this metric means something beside one that asks for content, never alone.
    """

    needs = ()
    higher_is_better = True

    def __init__(self, config: DistinctWordsConfig | None = None) -> None:
        self.config = config or DistinctWordsConfig()
        self._values: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order."""
        self._values += [self.distinct(caption) for _, caption in zip(samples, captions, strict=True)]

    def compute(self) -> Score:
        """Return the mean over all captions, and one value a caption."""
        mean = sum(self._values) / len(self._values) if self._values else 0.0
        return Score(mean, tuple(self._values), f"distinct-words|mean of captions|run={self.config.run}")

    def distinct(self, caption: str) -> float:
        """Return the share of a caption's runs of words that are different."""
        words, run = re.findall(r"\w+", caption.lower()), self.config.run
        runs = [tuple(words[start : start + run]) for start in range(len(words) - run + 1)]
        return len(set(runs)) / len(runs) if runs else 1.0
