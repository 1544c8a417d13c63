"""Captions and their references as numbered words, read once for all metrics that compare words.

``bleu``, ``rouge-l`` and ``cider-d`` of one run judge the same captions. Whichever comes first has the texts tokenised;
the others find the result in a memo. No torch here: strings in, numbers out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain, count

import numpy as np

from regionkit.plugins.caption_metrics.overlap.ngrams import Flags, Ints, NgramTable, number_ngrams, tabulate
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS

#: Words that are looked at together: few enough for a processor's caches, and a bound on temporary memory.
CHUNK_WORDS = 1 << 17
#: Samples that are looked at together: key, n-gram and place of a word then fit into 64 bits.
CHUNK_SAMPLES = 1 << 14
#: Words up to which an index keeps the tables of its n-grams; they take about a hundred bytes a word.
KEPT_WORDS = 1 << 20
#: Texts that are tokenised before their words are numbered; lists of strings take much more memory than numbers.
_BATCH = 4096


@dataclass(eq=False)
class TextIndex:
    """The words of n samples: of each sample its caption, then its references; t texts and w words in all.

    Words and n-grams are numbered in alphabetical order. What is summed up over the n-grams of a sample is therefore
    the same to the last digit, whatever other samples say.

    Attributes:
        words: (w,) int32, number of each word.
        text_start: (t + 1,) where each text starts in ``words``.
        sample_start: (n + 1,) which text is the caption of each sample; its references follow.
        vocabulary: The words, in alphabetical order.
    """

    words: Ints
    text_start: Ints
    sample_start: Ints
    vocabulary: list[str]
    _ngrams: list[tuple[Ints, int]] = field(default_factory=list, repr=False)
    _chunks: list[Chunk] = field(default_factory=list, repr=False)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.sample_start) - 1

    @cached_property
    def lengths(self) -> Ints:
        """(t,) words of each text."""
        return np.diff(self.text_start)

    @cached_property
    def captions(self) -> Ints:
        """(n,) which texts are captions."""
        return self.sample_start[:-1]

    @cached_property
    def at_any_space(self) -> TextIndex:
        """The same texts with words split at spaces of any kind; this very index where no word holds one.

        A Penn Treebank token may hold a no-break space ("2 1/2", "(555) 123-4567"). The release splits there for BLEU
        and CIDEr, and does not for ROUGE-L.
        """
        pieces = [word.split() for word in self.vocabulary]
        if all(len(parts) == 1 for parts in pieces):
            return self
        vocabulary = sorted({piece for parts in pieces for piece in parts})
        rank = {piece: at for at, piece in enumerate(vocabulary)}
        flat = np.array([rank[piece] for parts in pieces for piece in parts], dtype=np.int32)
        words, long = _repeated(flat, np.array([len(parts) for parts in pieces], dtype=np.int64), self.words)
        return TextIndex(words, _starts(long)[self.text_start], self.sample_start, vocabulary)

    def ngrams(self, order: int) -> tuple[Ints, int]:
        """Return (w,) int32 the number of the n-gram that starts at each word, -1 for none, and how many are distinct.

        Every order is numbered when it is first asked for, and kept.
        """
        if not self._ngrams:
            self._ngrams.append((self.words, len(self.vocabulary)))
        while len(self._ngrams) < order:
            more = np.ones(len(self.words), dtype=np.bool_)
            more[self.text_start[1:][self.lengths > 0] - 1] = False
            shorter, size = self._ngrams[-1]
            sizes = size, len(self.vocabulary)
            self._ngrams.append(number_ngrams(shorter, sizes, self.words, more, len(self._ngrams) + 1))
        return self._ngrams[order - 1]

    def chunks(self) -> Iterator[Chunk]:
        """Cut the samples into runs of a bounded number of words; a larger sample is a run of its own.

        A small index keeps them with their tables; those of a large one are made anew, which is sooner done than kept.
        """
        if len(self.words) > KEPT_WORDS:
            return self._cut()
        self._chunks = self._chunks or list(self._cut())
        return iter(self._chunks)

    def _cut(self) -> Iterator[Chunk]:
        ends = self.text_start[self.sample_start]
        first = 0
        while first < self.samples:
            last = int(np.searchsorted(ends, ends[first] + CHUNK_WORDS, side="right")) - 1
            last = min(max(last, first + 1), first + CHUNK_SAMPLES, self.samples)
            yield Chunk(self, first, last)
            first = last


@dataclass(eq=False)
class Chunk:
    """Some consecutive samples of an index; their texts and they themselves are counted from 0.

    Attributes:
        index: What it is a part of.
        first: The first sample.
        last: One more than the last sample.
    """

    index: TextIndex
    first: int
    last: int
    _tables: dict[int, NgramTable] = field(default_factory=dict, repr=False)

    @property
    def samples(self) -> slice:
        """Its samples in the index."""
        return slice(self.first, self.last)

    @property
    def texts(self) -> slice:
        """Its texts in the index."""
        return slice(int(self.index.sample_start[self.first]), int(self.index.sample_start[self.last]))

    @cached_property
    def start(self) -> Ints:
        """(t + 1,) where each text starts among its words."""
        start = self.index.text_start[self.texts.start : self.texts.stop + 1]
        inside: Ints = start - start[0]
        return inside

    @cached_property
    def words(self) -> slice:
        """Its words in the index."""
        start = self.index.text_start
        return slice(int(start[self.texts.start]), int(start[self.texts.stop]))

    @cached_property
    def lengths(self) -> Ints:
        """(t,) words of each text."""
        return np.diff(self.start)

    @cached_property
    def captions(self) -> Ints:
        """(n,) which texts are captions."""
        start = self.index.sample_start
        inside: Ints = start[self.samples] - start[self.first]
        return inside

    @cached_property
    def of_caption(self) -> Flags:
        """(t,) whether each text is a caption."""
        flags = np.zeros(len(self.lengths), dtype=np.bool_)
        flags[self.captions] = True
        return flags

    @cached_property
    def sample(self) -> Ints:
        """(t,) the sample of each text."""
        return np.cumsum(self.of_caption) - 1

    @cached_property
    def text(self) -> Ints:
        """(w,) the text of each word."""
        return np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)

    def table(self, order: int) -> NgramTable:
        """Count the n-grams of one order."""
        table = self._tables.get(order)
        if table is None:
            numbers, size = self.index.ngrams(order)
            table = tabulate(numbers[self.words], size, self.text, self.sample, self.of_caption)
            if len(self.index.words) <= KEPT_WORDS:
                self._tables[order] = table
        return table


@lru_cache(maxsize=1)
def index_texts(captions: tuple[str, ...], references: tuple[tuple[str, ...], ...], tokeniser: str) -> TextIndex:
    """Tokenise captions and references and number their words; the last result is kept for the next metric.

    Args:
        captions: n captions.
        references: Of each its references.
        tokeniser: Name in ``TOKENISERS``.
    """
    split = TOKENISERS[tokeniser]
    return number_words(
        chain.from_iterable(chain((caption,), texts) for caption, texts in zip(captions, references, strict=True)),
        [1 + len(texts) for texts in references],
        split,
    )


def number_words(texts: Iterable[str], sizes: Sequence[int], split: Callable[[str], list[str]]) -> TextIndex:
    """Number the words of texts; equal texts are tokenised once.

    Args:
        texts: t texts, those of a sample one after the other.
        sizes: How many texts each of n samples has.
        split: Turns a text into words.
    """
    seen: defaultdict[str, int] = defaultdict(count().__next__)
    rows = np.fromiter(map(seen.__getitem__, texts), dtype=np.int64, count=sum(sizes))
    distinct = list(seen)
    del seen
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    parts, lengths = [np.zeros(0, dtype=np.int32)], np.zeros(len(distinct), dtype=np.int64)
    for start in range(0, len(distinct), _BATCH):
        split_texts = list(map(split, distinct[start : start + _BATCH]))
        here = np.fromiter(map(len, split_texts), dtype=np.int64, count=len(split_texts))
        lengths[start : start + _BATCH] = here
        # All in C: this loop over every word of every text is half of the time of a metric.
        flat = map(numbers.__getitem__, chain.from_iterable(split_texts))
        parts.append(np.fromiter(flat, dtype=np.int32, count=int(here.sum())))
    words = _alphabetical(np.concatenate(parts), numbers)
    if len(distinct) < len(rows):
        words, lengths = _repeated(words, lengths, rows)
    return TextIndex(words, _starts(lengths), _starts(np.array(sizes, dtype=np.int64)), sorted(numbers))


def _alphabetical(words: Ints, numbers: dict[str, int]) -> Ints:
    """Renumber words by their place in the alphabet."""
    rank = np.empty(len(numbers), dtype=np.int32)
    rank[[numbers[word] for word in sorted(numbers)]] = np.arange(len(numbers))
    return rank[words]


def _repeated(words: Ints, lengths: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the words of texts one after the other, and their lengths, given which of the distinct ones each is."""
    start, long = _starts(lengths)[:-1][rows], lengths[rows]
    shift = (start - _starts(long)[:-1]).astype(np.int32)
    places = np.repeat(shift, long)
    places += np.arange(len(places), dtype=np.int32)
    return words[places], long


def _starts(lengths: Ints) -> Ints:
    """Return (n + 1,) where each of n runs starts, and where the last ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
