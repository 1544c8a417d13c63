"""Numbering and counting n-grams of many texts with sorts alone; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Whole numbers: int32 where they are kept, since there are as many as words; int64 in between.
Ints = NDArray[Any]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class NgramTable:
    """How often the texts of some samples hold each n-gram of one order.

    The k entries are the pairs of a text and an n-gram that occur. Entries of one n-gram in one sample stand together,
    that of the caption first; they make one of g groups.

    Attributes:
        text: (k,) the text.
        count: (k,) how often it holds the n-gram.
        group: (k,) the group, ascending.
        of_caption: (k,) whether the text is a caption; all others are references.
        sample: (g,) the sample of each group, ascending.
        ngram: (g,) number of the n-gram, ascending within a sample.
        own: (g,) how often the caption of the group's sample holds the n-gram.
    """

    text: Ints
    count: Ints
    group: Ints
    of_caption: Flags
    sample: Ints
    ngram: Ints
    own: Ints


def sorted_places(keys: Ints, size: int) -> tuple[Ints, Ints]:
    """Sort keys from 0 to ``size`` - 1; return them and where each came from, equal ones in their order.

    A key and its place are packed into one number where 64 bits hold both: sorting numbers is many times faster than
    sorting places by their keys.
    """
    bits = max(len(keys) - 1, 0).bit_length()
    if max(size - 1, 0).bit_length() + bits > 63:
        places = np.argsort(keys, kind="stable")
        return keys[places], places
    packed = keys.astype(np.int64) << bits
    packed |= np.arange(len(keys))
    packed.sort()
    places = packed & ((1 << bits) - 1)
    packed >>= bits
    return packed, places


def number_ngrams(shorter: Ints, sizes: tuple[int, int], words: Ints, more: Flags, order: int) -> tuple[Ints, int]:
    """Number the n-grams of one order in alphabetical order.

    Args:
        shorter: (w,) number of the (n-1)-gram that starts at each of w words, -1 for none.
        sizes: How many (n-1)-grams and how many words are distinct.
        words: (w,) number of each word.
        more: (w,) whether another word of the same text follows.
        order: n, 2 or more.

    Returns:
        (w,) int32, -1 where the text ends too early, and how many are distinct.
    """
    numbers = np.full(len(words), -1, dtype=np.int32)
    starts = max(len(words) - order + 1, 0)
    fits = shorter[:starts] >= 0
    fits &= more[order - 2 : order - 2 + starts]
    at = np.flatnonzero(fits).astype(np.int32)
    if len(at) == 0:
        return numbers, 0
    # An n-gram is the (n-1)-gram at its start and one more word; numbering each order anew keeps keys below 2**63.
    keys = shorter[at].astype(np.int64)
    keys *= sizes[1]
    keys += words[at + (order - 1)]
    keys, places = sorted_places(keys, sizes[0] * sizes[1])
    rank = np.cumsum(_starts(keys), dtype=np.int32)
    numbers[at[places]] = rank - 1
    return numbers, int(rank[-1])


def tabulate(numbers: Ints, size: int, text: Ints, sample: Ints, of_caption: Flags) -> NgramTable:
    """Count the n-grams of one order in the texts of some samples.

    Args:
        numbers: (c,) number of the n-gram that starts at each of c words, -1 for none.
        size: One more than the largest number.
        text: (c,) the text of each word, counted from 0, ascending.
        sample: (t,) the sample of each text, counted from 0, ascending; its caption is its first text.
        of_caption: (t,) whether a text is a caption.
    """
    at = np.flatnonzero(numbers >= 0)
    text = text[at]
    keys = sample[text].astype(np.int64)
    keys *= size
    keys += numbers[at]
    keys, places = sorted_places(keys, size * (int(sample[-1]) + 1 if len(sample) else 0))
    text = text[places]
    first = _starts(keys)
    entry = first.copy()
    entry[1:] |= text[1:] != text[:-1]
    heads = np.flatnonzero(entry)
    text, first = text[heads], first[heads]
    of_group = keys[heads[first]]
    groups = np.cumsum(first, dtype=np.int32) - np.int32(1)
    count = np.diff(heads, append=len(keys)).astype(np.int32)
    of_group, ngram = np.divmod(of_group, max(size, 1))
    # The caption's entry is the first of its group, where there is one.
    of_caption = of_caption[text]
    own = np.where(of_caption[first], count[first], np.int32(0))
    return NgramTable(text, count, groups, of_caption, of_group.astype(np.int32), ngram.astype(np.int32), own)


def _starts(keys: Ints) -> Flags:
    """Mark the first of each run of equal keys."""
    first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return first
