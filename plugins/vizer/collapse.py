"""The alarm for a mapper that says the same of every caption.

The mapper's loss has no negatives: where visual features share a large part, one and the same vector for all captions
is close to each of them, and a small loss shows nothing. What does is whether a caption finds its own picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.errors import RegionkitError

#: Mapped captions that differ by less than this share of what their targets differ by are near-constant.
_SPREAD = 0.05
#: A loss below this claims alignment, so that chance-level retrieval contradicts it; random vectors have about 1.
_SMALL = 0.5
#: Retrieval within so many standard errors of chance is chance.
_ERRORS = 3.0


class MapperCollapsed(RegionkitError):
    """Stage 2 was to follow a mapper that tells no picture from another."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """How well mapped captions and visual features belong together.

    Attributes:
        loss: Mean of 1 - cos over the pairs.
        pairwise: Mean cosine between the targets of different pairs: what a mapper gets for a constant answer.
        spread: Variance of the mapped captions as unit vectors, 0 (all equal) to 1.
        target_spread: The same of the targets.
        recall: Share of captions whose own target is the nearest (R@1); equal targets count as one.
        chance: What a constant answer would get of that.
        count: Number of pairs.
    """

    loss: float
    pairwise: float
    spread: float
    target_spread: float
    recall: float
    chance: float
    count: int

    @property
    def collapsed(self) -> bool:
        """Whether mapped captions are near-constant, or at chance in retrieval although the loss is small."""
        if self.target_spread <= 1e-6:  # one picture again and again: nothing could be told apart
            return False
        error = math.sqrt(self.chance * (1 - self.chance) / max(self.count, 1))
        at_chance = self.recall <= self.chance + _ERRORS * error
        return (self.loss < _SMALL and at_chance) or self.spread < _SPREAD * self.target_spread

    def figures(self) -> dict[str, float]:
        """Return what reports show; ``collapsed`` stands there only where it is true."""
        shown = {"pairwise cos": self.pairwise, "spread": self.spread, "R@1": self.recall}
        return {**shown, "collapsed": 1.0} if self.collapsed else shown


def alignment_of(mapped: Tensor, targets: Tensor) -> Alignment:
    """Measure how well mapped captions (r, d) fit targets (r, d), row by row."""
    mapped, targets = normalize(mapped.detach().float(), dim=-1), normalize(targets.detach().float(), dim=-1)
    count = len(mapped)
    if not count:
        return Alignment(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    table, among = mapped @ targets.T, targets @ targets.T
    same = among > 1 - 1e-5
    others = ~torch.eye(count, dtype=torch.bool, device=among.device)
    own = table.diagonal()
    # Another target beats a caption's own where it is nearer; what lies on the same spot is no other.
    best_other = table.masked_fill(same, -2.0).max(1).values
    return Alignment(
        loss=float(1 - own.mean()),
        pairwise=float(among[others].mean()) if count > 1 else 1.0,
        spread=_spread(mapped),
        target_spread=_spread(targets),
        recall=float((own > best_other).float().mean()),
        chance=float(same.float().mean()),
        count=count,
    )


def _spread(vectors: Tensor) -> float:
    """Return the variance of unit vectors (r, d): the mean squared distance from their mean."""
    return max(float(1 - vectors.mean(0).square().sum()), 0.0)
