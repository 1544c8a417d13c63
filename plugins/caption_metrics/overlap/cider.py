"""CIDEr-D, equal to the official scores for equal tokens; no torch.

Vedantam et al., CIDEr: Consensus-based Image Description Evaluation, CVPR 2015, section 5 ("CIDEr-D"), as released in
coco-caption. Where the release departs from the paper, the release is followed: every published number comes from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regionkit.plugins.caption_metrics.overlap.documents import DocumentFrequencies
from regionkit.plugins.caption_metrics.overlap.texts import Chunk, TextIndex

Floats = NDArray[np.float64]

#: Width of the length penalty in words, of the paper and of the release.
SIGMA = 6.0
#: The release multiplies the mean cosine by 10; tables in the literature print that value times 100.
SCALE = 10.0


def cider_d(index: TextIndex, frequencies: DocumentFrequencies) -> Floats:
    """Return (n,) CIDEr-D of the captions of an index, from 0 to 10."""
    scores = np.zeros(index.samples)
    # An n-gram that no document holds counts as if one did.
    rare = [np.log(max(frequencies.documents, 1)) - np.log(np.maximum(count, 1)) for count in frequencies.counts]
    for chunk in index.chunks():
        reference = ~chunk.of_caption
        sample = chunk.sample[reference]
        similarity = np.sum([_cosine(chunk, order, weight) for order, weight in enumerate(rare, start=1)], axis=0)
        similarity = similarity[reference]
        # The release measures length in bigrams: the words less one, and 0 for a text of no or one word.
        length = np.maximum(chunk.lengths - 1, 0)
        difference = length[chunk.captions][sample] - length[reference]
        similarity *= np.exp(-(difference**2) / (2 * SIGMA**2)) / len(rare)
        number = len(chunk.captions)
        scores[chunk.samples] = SCALE * np.bincount(sample, similarity, number) / np.bincount(sample, minlength=number)
    return scores


def _cosine(chunk: Chunk, order: int, rare: Floats) -> Floats:
    """Return (t,) clipped cosines between each text and the caption of its sample; of captions, anything."""
    table = chunk.table(order)
    texts = len(chunk.lengths)
    weight = rare[table.ngram]
    theirs = table.count * weight[table.group]
    own = (table.own * weight)[table.group]
    norm = np.sqrt(np.bincount(table.text, theirs**2, texts))
    # Clipping keeps a caption from gaining by repeating a word of the reference.
    dot = np.bincount(table.text, np.minimum(own, theirs) * theirs, texts)
    both = norm * norm[chunk.captions][chunk.sample]
    cosine: Floats = np.divide(dot, both, out=np.zeros(texts), where=both > 0)
    return cosine
