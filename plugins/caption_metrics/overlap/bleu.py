"""BLEU, equal to the scores of the official caption evaluation for equal tokens; no torch.

Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation, ACL 2002, with the choices of
coco-caption, from which published captioning numbers come: the reference of closest length, of two equally close ones
the shorter; and two tiny constants in place of smoothing, so that a caption without any match scores nearly 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regionkit.plugins.caption_metrics.overlap.ngrams import Ints
from regionkit.plugins.caption_metrics.overlap.texts import Chunk, TextIndex

Floats = NDArray[np.float64]

ORDERS = 4
#: What the release adds to matches and to totals.
TINY, SMALL = 1e-15, 1e-9
#: Columns of :func:`statistics`.
MATCHES, TOTALS, LENGTH, REFERENCE = slice(0, ORDERS), slice(ORDERS, 2 * ORDERS), 2 * ORDERS, 2 * ORDERS + 1


def statistics(index: TextIndex) -> Floats:
    """Return (n, 10): matches of orders 1 to 4, n-grams of orders 1 to 4, words, words of the closest reference.

    A match is clipped: an n-gram counts as often as the one reference holds it that holds it most often.
    """
    rows = np.zeros((index.samples, 2 * ORDERS + 2))
    for chunk in index.chunks():
        here = rows[chunk.samples]
        length = chunk.lengths[chunk.captions]
        here[:, LENGTH] = length
        here[:, REFERENCE] = _closest(chunk, length)
        here[:, TOTALS] = np.maximum(length[:, None] - np.arange(ORDERS), 0)
        for order in range(1, ORDERS + 1):
            here[:, order - 1] = _matches(chunk, order)
    return rows


def bleu(rows: Floats) -> Floats:
    """Return (d, 4) BLEU-1 to BLEU-4, from 0 to 1, of d rows of statistics: of single captions or of sums."""
    precision = np.cumprod((rows[:, MATCHES] + TINY) / (rows[:, TOTALS] + SMALL), axis=1)
    ratio = (rows[:, LENGTH] + TINY) / (rows[:, REFERENCE] + SMALL)
    # exp(1 - r / c) of the paper; an empty caption comes out as exp of a huge negative number, which is 0.
    penalty = np.exp(np.minimum(1 - 1 / ratio, 0))
    return precision ** (1 / np.arange(1, ORDERS + 1)) * penalty[:, None]


def _matches(chunk: Chunk, order: int) -> Ints:
    table = chunk.table(order)
    best = np.zeros(len(table.ngram), dtype=np.int32)
    reference = ~table.of_caption
    np.maximum.at(best, table.group[reference], table.count[reference])
    matches = np.bincount(table.sample, np.minimum(best, table.own), len(chunk.captions))
    return matches


def _closest(chunk: Chunk, length: Ints) -> Ints:
    """Return (n,) lengths of the references that are closest to ``length`` (n,), of two the shorter."""
    of, sample = chunk.lengths[~chunk.of_caption], chunk.sample[~chunk.of_caption]
    # By distance, then by length: the first of each sample is the one.
    order = np.lexsort((of, np.abs(of - length[sample]), sample))
    start = np.searchsorted(sample, np.arange(len(length)))
    return of[order[start]]
