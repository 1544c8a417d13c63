"""BLEU written out word by word, to hold the fast one against. No numpy, no cleverness."""

from __future__ import annotations

import math
from collections import Counter

Statistics = tuple[list[int], list[int], int, int]


def counts(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of one order."""
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))


def plain_statistics(caption: list[str], references: list[list[str]]) -> Statistics:
    """Return matches and totals of orders 1 to 4, the words of the caption, and those of the closest reference."""
    matches, totals = [], []
    for order in range(1, 5):
        own = counts(caption, order)
        best: Counter[tuple[str, ...]] = Counter()
        for text in references:
            best |= counts(text, order)
        matches.append(sum((own & best).values()))
        totals.append(sum(own.values()))
    closest = min((abs(len(text) - len(caption)), len(text)) for text in references)[1]
    return matches, totals, len(caption), closest


def plain_bleu(matches: list[int], totals: list[int], length: int, closest: int) -> list[float]:
    """Return BLEU-1 to BLEU-4."""
    scores, product = [], 1.0
    for order in range(1, 5):
        product *= (matches[order - 1] + 1e-15) / (totals[order - 1] + 1e-9)
        scores.append(product ** (1 / order))
    ratio = (length + 1e-15) / (closest + 1e-9)
    return [score * math.exp(1 - 1 / ratio) if ratio < 1 else score for score in scores]


def plain_corpus(all_statistics: list[Statistics]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of many captions together."""
    matches, totals, lengths, closest = zip(*all_statistics, strict=True)
    pooled = [[sum(column) for column in zip(*rows, strict=True)] for rows in (matches, totals)]
    return plain_bleu(*pooled, sum(lengths), sum(closest))
