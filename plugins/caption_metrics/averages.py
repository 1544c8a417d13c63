"""The two ways in which values of samples become one: their mean, and a ratio of sums."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean; 0 for nothing. It is the same to the last digit in whatever order the samples come."""
    return fsum(values) / len(values) if values else 0.0


def ratio_of(sums: Floats) -> Floats:
    """Return the first column over the second (d,) of sums (d, 2); 0 where the second is 0."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
