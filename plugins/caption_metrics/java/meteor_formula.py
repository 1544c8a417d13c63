"""The formula of METEOR 1.5 for English, from the statistics of an alignment; numpy alone.

Denkowski and Lavie, Meteor Universal: Language Specific Translation Evaluation for Any Target Language, WMT 2014,
section 2; parameters of its English model. The program that makes the statistics is in ``meteor.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Numbers that the program gives of an alignment: lengths of candidate and reference; how many of these are function
#: words; for each of four matchers the content words of both and the function words of both that it matched; chunks;
#: matched words of both.
STATISTICS = 23
_CHUNKS = 20
#: Weights of exact, stem, synonym and paraphrase matches.
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])
#: Precision against recall; how steeply and how far fragments cost; content words against function words.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75


def summable(statistics: Floats) -> Floats:
    """Return statistics (n, 23) as they are summed over samples.

    A caption that is its reference, aligned from end to end in one chunk, has no fragments. In sums, too, the official
    program counts no chunk for it.
    """
    rows = statistics.copy()
    whole = (rows[:, _CHUNKS] == 1) & (rows[:, 21] == rows[:, 0]) & (rows[:, 22] == rows[:, 1])
    rows[whole, _CHUNKS] = 0
    return rows


def meteor_of(sums: Floats) -> Floats:
    """Return METEOR (d,) of sums (d, 23) of :func:`summable` rows, from 0 to 1; of a single row, the segment's score.

    Nothing matched, or nothing there to match, is 0.
    """
    matches = sums[:, 4:_CHUNKS].reshape(-1, 4, 4)  # matcher; content of both, function words of both
    weighted = DELTA * matches[:, :, :2] + (1 - DELTA) * matches[:, :, 2:]
    lengths = DELTA * (sums[:, 0:2] - sums[:, 2:4]) + (1 - DELTA) * sums[:, 2:4]
    precision, recall = _divide(np.einsum("m,dms->ds", MATCHERS, weighted), lengths).T
    mean = _divide(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragments = _divide(sums[:, _CHUNKS], (sums[:, 21] + sums[:, 22]) / 2)
    return mean * (1 - GAMMA * fragments**BETA)


def _divide(above: Floats, below: Floats) -> Floats:
    """Divide, and take 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
