"""ROUGE-L, equal to the scores of the official caption evaluation for equal tokens; no torch.

Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004, as in coco-caption: the best precision and the best
recall over all references, each for itself, and beta = 1.2. The common subsequence comes from the bits of one machine
word a text, after Hyyrö, Bit-Parallel LCS-length Computation Revisited, 2004.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from regionkit.plugins.caption_metrics.overlap.ngrams import Ints, sorted_places
from regionkit.plugins.caption_metrics.overlap.texts import Chunk, TextIndex

Floats = NDArray[np.float64]
Bits = NDArray[np.uint64]

#: Weight of recall against precision.
BETA = 1.2
#: Words of a caption whose places fit into the bits of one machine word; longer ones are compared one by one.
_WIDTH = 64
_ONES_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


def rouge_l(index: TextIndex) -> Floats:
    """Return (n,) ROUGE-L of the captions of an index, from 0 to 1.

    An empty text counts as one empty word, as in the release: an empty caption scores 1 where a reference is empty too.
    """
    scores = np.zeros(index.samples)
    for chunk in index.chunks():
        reference = ~chunk.of_caption
        sample = chunk.sample[reference]
        length = np.maximum(chunk.lengths, 1)
        common = _common(chunk)
        precision, recall = np.zeros((2, len(chunk.captions)))
        np.maximum.at(precision, sample, common / length[chunk.captions][sample])
        np.maximum.at(recall, sample, common / length[reference])
        both = (precision > 0) & (recall > 0)
        value = (1 + BETA**2) * precision * recall
        scores[chunk.samples] = np.divide(value, recall + BETA**2 * precision, out=np.zeros(len(value)), where=both)
    return scores


def _common(chunk: Chunk) -> Ints:
    """Return (m,) lengths of the longest common subsequence of each reference and the caption of its sample."""
    references = np.flatnonzero(~chunk.of_caption)
    own = chunk.captions[chunk.sample[references]]
    common = _of_short(chunk, references)
    for pair in np.flatnonzero(chunk.lengths[own] > _WIDTH):
        common[pair] = _of_long(_words(chunk, own[pair]), _words(chunk, references[pair]))
    common[(chunk.lengths[own] == 0) & (chunk.lengths[references] == 0)] = 1
    return common


def _of_short(chunk: Chunk, references: Ints) -> Ints:
    """Compare all references at once, word by word, with captions of at most 64 words."""
    # Longest first: those that still have a word at a step are the first of the array.
    order = references[np.argsort(-chunk.lengths[references], kind="stable")]
    lengths, start, places = chunk.lengths[order], chunk.start[order], _places(chunk)
    left = np.full(len(order), ~np.uint64(0))
    active = np.searchsorted(-lengths, -np.arange(int(lengths.max(initial=0))), side="left")
    for step, still in enumerate(active):
        bits = left[:still]
        here = places[start[:still] + step]
        hit = bits & here
        # Bits that are 0 mark places where a common subsequence grew; eq. of Hyyrö's algorithm.
        left[:still] = (bits + hit) | (bits & ~here)
    ones = _ONES_OF_BYTE[np.ascontiguousarray(left).view(np.uint8)].reshape(len(left), 8).sum(axis=1, dtype=np.int64)
    common = np.zeros(len(chunk.lengths), dtype=np.int64)
    common[order] = _WIDTH - ones
    return common[references]


def _places(chunk: Chunk) -> Bits:
    """Return (w,) for each word of each text, the places as bits at which the caption of the sample holds it."""
    words = chunk.index.words[chunk.words]
    size = len(chunk.index.vocabulary)
    keys, order = sorted_places(chunk.sample[chunk.text] * size + words, size * len(chunk.captions))
    within = np.arange(len(words)) - chunk.start[chunk.text]
    # Places beyond the last bit belong to captions that are compared in another way.
    shifted = np.uint64(1) << np.minimum(within, _WIDTH - 1).astype(np.uint64)
    bits = np.where(chunk.of_caption[chunk.text], shifted, np.uint64(0))
    if not len(keys):
        return bits
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    of_group = np.bitwise_or.reduceat(bits[order], first)
    bits[order] = np.repeat(of_group, np.diff(first, append=len(keys)))
    return bits


def _words(chunk: Chunk, text: int) -> list[int]:
    start = chunk.words.start + chunk.start[text]
    words: list[int] = chunk.index.words[start : start + chunk.lengths[text]].tolist()
    return words


def _of_long(one: list[int], other: list[int]) -> int:
    """Return the length of the longest common subsequence; the same algorithm on Python's integers of any length."""
    places: defaultdict[int, int] = defaultdict(int)
    for place, word in enumerate(one):
        places[word] |= 1 << place
    full = left = (1 << len(one)) - 1
    for word in other:
        if here := places.get(word):
            left = ((left + (left & here)) | (left & ~here)) & full
    return len(one) - left.bit_count()
