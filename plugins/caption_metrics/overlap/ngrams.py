"""One index of all n-grams of many texts, shared by metrics that count n-grams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class NgramCounts:
    """How often each text holds each n-gram of one order; one entry for each pair that occurs.

    Attributes:
        text: (k,) index of the text, ascending.
        ngram: (k,) id of the n-gram, ascending within a text; ids of different texts agree.
        count: (k,) occurrences.
        ngrams: Number of distinct n-grams of all texts.
    """

    text: Ints
    ngram: Ints
    count: Ints
    ngrams: int

    def take(self, texts: slice) -> NgramCounts:
        """Return the entries of a range of texts, counted from its start; the ids of n-grams stay as they are."""
        start, stop, _ = texts.indices(int(self.text[-1]) + 1 if len(self.text) else 0)
        rows = slice(*np.searchsorted(self.text, (start, stop)))
        return NgramCounts(self.text[rows] - start, self.ngram[rows], self.count[rows], self.ngrams)


def count_ngrams(texts: Sequence[Sequence[str]], longest: int) -> list[NgramCounts]:
    """Count the 1-grams to ``longest``-grams of n tokenised texts; entry ``i`` of the result has order ``i + 1``."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    word, vocabulary = _word_ids(texts, int(lengths.sum()))
    owner = np.repeat(np.arange(len(texts)), lengths)
    # Words left in the text from each position on, itself included: an n-gram starts where at least n are left.
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))
    start, current = np.arange(len(word)), word
    counts = []
    for order in range(1, longest + 1):
        if order > 1:
            keep = left[start] >= order
            start, previous = start[keep], current[keep]
            # An n-gram is the (n-1)-gram at its start and one more word; renumbering keeps codes far below 2**63.
            current = np.unique(previous * vocabulary + word[start + order - 1], return_inverse=True)[1]
        ngrams = int(current.max(initial=-1)) + 1
        pairs, occurrences = np.unique(owner[start] * max(ngrams, 1) + current, return_counts=True)
        text, ngram = np.divmod(pairs, max(ngrams, 1))
        counts.append(NgramCounts(text, ngram, occurrences.astype(np.int64), ngrams))
    return counts


def _word_ids(texts: Iterable[Sequence[str]], total: int) -> tuple[Ints, int]:
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    # All in C: this loop over every word of every text is half of the time of a metric.
    flat = np.fromiter(map(ids.__getitem__, chain.from_iterable(texts)), dtype=np.int64, count=total)
    return flat, len(ids)
