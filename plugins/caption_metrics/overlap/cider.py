"""CIDEr-D, equal to the official scores for equal tokens.

Vedantam et al., CIDEr: Consensus-based Image Description Evaluation, CVPR 2015, section 5 ("CIDEr-D"), as released in
coco-caption. Where the release departs from the paper, the release is followed: every published number comes from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.overlap.configs import CiderDConfig
from regionkit.plugins.caption_metrics.overlap.ngrams import NgramCounts, count_ngrams
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS

Floats = NDArray[np.float64]

#: Orders of n-grams, and the width of the length penalty in words, of the paper and of the release.
ORDERS = 4
SIGMA = 6.0
#: The release multiplies the mean cosine by 10; tables in the literature print that value times 100.
SCALE = 10.0


class CiderD(Metric):
    """CIDEr-D: cosine of clipped tf-idf n-gram vectors, with a penalty on the difference in length.

    The value is on the official scale from 0 to 10, which the release reports; papers print it times 100. Each sample
    is a document of its own, and document frequencies come from the references of this very run, so values over
    selections of different size are not comparable, and a single sample always scores 0. Even a perfect caption
    scores less than 10 when it is shorter than four words (2.5 for one word).
    """

    def __init__(self, config: CiderDConfig) -> None:
        self.config = config
        self._captions: list[str] = []
        self._references: list[tuple[str, ...]] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A sample has no reference.
        """
        for sample, caption in zip(samples, captions, strict=True):
            if not sample.references:
                raise DataError(f"cider-d: sample '{sample.id}' has no reference caption")
            self._captions.append(caption)
            self._references.append(sample.references)

    def compute(self) -> Score:
        """Judge everything taken in so far; the corpus value is the mean over samples."""
        split = TOKENISERS[self.config.tokeniser]
        captions = [split(caption) for caption in self._captions]
        references = [[split(text) for text in texts] for texts in self._references]
        scores = cider_d(captions, references)
        signature = (
            f"cider-d|release|n=1-{ORDERS}|sigma={SIGMA:g}|scale={SCALE:g}|tokeniser={self.config.tokeniser}"
            f"|idf=references of this run ({len(captions)} samples)"
        )
        return Score(float(scores.mean()) if len(scores) else 0.0, tuple(scores.tolist()), signature)


def cider_d(captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> Floats:
    """Score n tokenised captions against their tokenised references, one or more each.

    Returns:
        (n,) scores from 0 to 10.
    """
    number = len(captions)
    if number == 0:
        return np.zeros(0)
    owner = np.repeat(np.arange(number), [len(texts) for texts in references])
    counts = count_ngrams([*captions, *(text for texts in references for text in texts)], ORDERS)
    lengths: tuple[Floats, Floats] | None = None
    similarity = np.zeros(len(owner))
    for order, table in enumerate(counts, start=1):
        candidate, reference = table.take(slice(0, number)), table.take(slice(number, number + len(owner)))
        if order == 2:
            lengths = _totals(candidate, number), _totals(reference, len(owner))
        similarity += _cosine(candidate, reference, owner, number)
    # The release measures length in bigrams: the words less one, and 0 for a text of no or one word.
    assert lengths is not None
    difference = lengths[0][owner] - lengths[1]
    similarity *= np.exp(-(difference**2) / (2 * SIGMA**2)) / ORDERS
    return SCALE * np.bincount(owner, similarity, number) / np.bincount(owner, minlength=number)


def _totals(counts: NgramCounts, texts: int) -> Floats:
    return np.bincount(counts.text, counts.count, texts).astype(np.float64)


def _cosine(candidate: NgramCounts, reference: NgramCounts, owner: NDArray[np.int64], number: int) -> Floats:
    """Return (m,) clipped cosines between each of m references and the candidate ``owner`` that it belongs to."""
    sample = owner[reference.text]
    wanted = sample * reference.ngrams + reference.ngram
    seen = np.sort(wanted)  # sorted by hand: several times faster than the hash table of np.unique
    seen = seen[np.diff(seen, prepend=-1) > 0]
    frequency = np.bincount(seen % max(reference.ngrams, 1), minlength=reference.ngrams)
    # An n-gram that no reference holds counts as if one did.
    idf = np.log(float(number)) - np.log(np.maximum(frequency, 1.0))
    own = candidate.count * idf[candidate.ngram]
    theirs = reference.count * idf[reference.ngram]

    keys = candidate.text * candidate.ngrams + candidate.ngram
    place = np.searchsorted(keys, wanted)
    found = place < len(keys)
    found[found] = keys[place[found]] == wanted[found]
    # Clipping keeps a caption from gaining by repeating a word of the reference.
    clipped = np.minimum(own[place[found]], theirs[found]) * theirs[found]

    dot = np.bincount(reference.text[found], clipped, len(owner))
    norm = np.sqrt(np.bincount(candidate.text, own**2, number))[owner]
    norm = norm * np.sqrt(np.bincount(reference.text, theirs**2, len(owner)))
    return np.divide(dot, norm, out=np.zeros(len(owner)), where=norm > 0)
