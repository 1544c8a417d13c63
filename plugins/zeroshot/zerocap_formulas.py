"""The formulas of ZeroCap, each on rows that know nothing of each other.

Tewel et al., arXiv 2111.14447, section 3, and the released code.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Added to the norm of a gradient by the released code.
_TINY = 1e-15


def guide_target(cosines: Tensor, temperature: float) -> Tensor:
    """Return the guide's distribution (rows, k) over candidates of these cosines."""
    return (cosines / temperature).softmax(dim=-1)


def guide_loss(likely: Tensor, best: Tensor, target: Tensor) -> Tensor:
    """Return (rows,) cross-entropies between the guide's distribution and the model's.

    Args:
        likely: (rows, ids) log-probabilities under the model, over all ids.
        best: (rows, k) candidates.
        target: (rows, k) the guide's distribution over them.
    """
    return -(target * likely.gather(1, best)).sum(dim=-1)


def divergence(likely: Tensor, old: Tensor) -> Tensor:
    """Return (rows,) Kullback-Leibler divergences of log-probabilities (rows, ids) from old ones."""
    return (likely.exp() * (likely - old)).sum(dim=-1)


def descended(delta: Tensor, gradient: Tensor, step: float, power: float) -> Tensor:
    """Take a step of descent: ``delta - step gradient / (|gradient| + tiny) ** power``, with the norm of each row.

    Args:
        delta: (rows, ...) what was added so far to the keys, or the values, of a layer.
        gradient: The same shape.
        step: Its length.
        power: Of the norm; 1 makes steps of one length.
    """
    norms = gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.dim() - 1)) + _TINY
    moved: Tensor = delta - step * gradient / norms**power
    return moved


def fused(new: Tensor, old: Tensor, share: float) -> Tensor:
    """Return the geometric mean (rows, ids) of two distributions as log-probabilities; it does not sum to 1 yet."""
    return share * new + (1 - share) * old


def raised(logits: Tensor, factor: float) -> Tensor:
    """Make logits larger by a factor above 1: positive ones are multiplied with it, others divided."""
    return torch.where(logits > 0, logits * factor, logits / factor)


def damped(logits: Tensor, factor: float) -> Tensor:
    """Make logits smaller by a factor above 1: positive ones are divided by it, others multiplied."""
    return torch.where(logits > 0, logits / factor, logits * factor)
