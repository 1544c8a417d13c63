"""CIDEr-D written out word by word, to hold the fast one against. No numpy, no cleverness."""

from __future__ import annotations

import math
from collections import Counter


def grams(words: list[str]) -> list[Counter[tuple[str, ...]]]:
    """Count the n-grams of orders 1 to 4."""
    return [Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1)) for n in range(1, 5)]


def plain_cider_d(captions: list[list[str]], references: list[list[list[str]]]) -> list[float]:
    """Score tokenised captions; one value a caption, from 0 to 10."""
    frequency: Counter[tuple[str, ...]] = Counter()
    for texts in references:
        frequency.update({gram for text in texts for counts in grams(text) for gram in counts})

    def weights(counts: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
        size = math.log(len(captions))
        return {gram: count * (size - math.log(max(1, frequency[gram]))) for gram, count in counts.items()}

    scores = []
    for caption, texts in zip(captions, references, strict=True):
        own = grams(caption)
        total = 0.0
        for text in texts:
            theirs = grams(text)
            length = sum(own[1].values()) - sum(theirs[1].values())
            penalty = math.exp(-(length**2) / (2 * 6.0**2))
            for order in range(4):
                a, b = weights(own[order]), weights(theirs[order])
                norm = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
                dot = sum(min(a[gram], b[gram]) * b[gram] for gram in a if gram in b)
                total += penalty * (dot / norm if norm else 0.0) / 4
        scores.append(10 * total / len(texts))
    return scores
