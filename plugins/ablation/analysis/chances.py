"""Permutation tests over scenes: how often chance alone gives effects as large as those that are seen.

Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005, chapters 3 and 7: labels are exchangeable within
a block (here a scene) where the axis does nothing; signs of residuals are, where there is no interaction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regionkit.core.statistics import DRAWS, share_of

Floats = NDArray[np.float64]

#: Fewest draws, how many numbers they draw at most in all before they become fewer, and how many are held at a time.
_FEWEST, _DRAWN, _HELD = 1_000, 20_000_000, 1_000_000


def draws_for(scenes: int, levels: int) -> int:
    """Return how often labels are drawn: 10,000 times, and less often for many scenes, but 1,000 times at least."""
    return max(_FEWEST, min(DRAWS, _DRAWN // max(scenes * levels, 1)))


def p_of_levels(values: Floats, seed: int = 0) -> float | None:
    """Return the p of the levels of an axis being all alike.

    In every scene the labels of the levels are turned round by a random number of places, which is a permutation of
    exchangeable values; for two levels it is the sign flip of paired differences. What is compared is the sum of
    squared distances of level means from their mean.

    Args:
        values: (g, l) what each of g scenes stands for in the mean of each of l levels.
        seed: Of the draws.

    Returns:
        The p; None for fewer than two scenes.
    """
    scenes, levels = values.shape
    if scenes < 2:
        return None
    centred = values - values.mean(1, keepdims=True)
    random, draws = np.random.default_rng(seed), draws_for(scenes, levels)
    found = []
    for size in _pieces(draws, scenes):
        places = random.integers(0, levels, size=(size, scenes))
        sums = np.zeros((size, levels))
        for turn in range(levels):  # each made when it is needed: all of a thousand levels are gigabytes
            sums += (places == turn) @ np.roll(centred, turn, 1)
        found.append((sums**2).sum(1))
    return share_of(np.concatenate(found), float((centred.sum(0) ** 2).sum()))


def p_of_residuals(values: Floats, seed: int = 0) -> float | None:
    """Return the p of all residuals being zero: those of a scene change their sign together.

    Args:
        values: (g, k) the k residuals of each of g scenes.
        seed: Of the draws.

    Returns:
        The p; None for fewer than two scenes.
    """
    scenes, width = values.shape
    if scenes < 2:
        return None
    random, draws = np.random.default_rng(seed), draws_for(scenes, width)
    found = []
    for size in _pieces(draws, scenes):
        signs = 2.0 * random.integers(0, 2, size=(size, scenes)) - 1.0
        found.append(((signs @ values) ** 2).sum(1))
    return share_of(np.concatenate(found), float((values.sum(0) ** 2).sum()))


def _pieces(draws: int, scenes: int) -> list[int]:
    step = max(1, _HELD // scenes)
    return [min(step, draws - start) for start in range(0, draws, step)]
