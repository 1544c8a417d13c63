"""CLIPScore, PAC-S and their kin with references, as functions of feature arrays.

Hessel et al., CLIPScore, arXiv 2104.08718, sections 3 and 4; Sarto et al., Positive-Augmented Contrastive Learning,
arXiv 2303.12112, section 3.2. Both releases compute the same two formulas and differ in the factor and in the model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The factors of the two releases, made for the cosines of their own models.
CLIP_FACTOR, PAC_FACTOR = 2.5, 2.0


def cosines(one: Floats, other: Floats) -> Floats:
    """Return the cosines (n,) of the rows of two arrays (n, d); 0 where one of the two is a null vector."""
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dots = np.einsum("nd,nd->n", one, other)
    found: Floats = np.divide(dots, scale, out=np.zeros(len(dots)), where=scale > 0)
    return found


def picture_score(pictures: Floats, captions: Floats, factor: float) -> Floats:
    """Return CLIP-S or PAC-S of n captions: the cosine with the picture, cut at 0, times a factor.

    Args:
        pictures: (n, d) vectors of the pictures, of any length.
        captions: (n, d) vectors of the captions, of any length.
        factor: :data:`CLIP_FACTOR` or :data:`PAC_FACTOR`.
    """
    return factor * np.maximum(cosines(pictures, captions), 0.0)


def best_reference(captions: Floats, references: Floats, owner: Ints) -> Floats:
    """Return the largest cosine of each of n captions with a reference of its own.

    Args:
        captions: (n, d) vectors, of any length.
        references: (m, d) vectors of all references.
        owner: (m,) which caption each reference belongs to; each caption has one or more.
    """
    best = np.full(len(captions), -np.inf)
    np.maximum.at(best, owner, cosines(captions[owner], references))
    return best


def with_references(scores: Floats, best: Floats) -> Floats:
    """Return RefCLIP-S or RefPAC-S: the harmonic mean of the score and the best cosine with a reference.

    As in both releases the score keeps its factor, and the cosine has none and is not cut at 0, where CLIPScore's
    paper cuts it (equation 2). The mean of two numbers that sum to 0 is taken as 0; the releases divide by 0 there,
    such as for a caption that fits neither picture nor references. A negative cosine, which the texts of these models
    do not have in practice, gives what the formula gives.

    Args:
        scores: (n,) of :func:`picture_score`.
        best: (n,) of :func:`best_reference`.
    """
    total = scores + best
    found: Floats = np.divide(2 * scores * best, total, out=np.zeros(len(total)), where=total != 0)
    return found
