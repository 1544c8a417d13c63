"""Options of the learned aggregator, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: Options that weights decide; they are stored in their header.
ARCHITECTURE: tuple[str, ...] = ("heads", "mlp_ratio")


@dataclass(frozen=True, slots=True)
class LearnedPoolConfig:
    """Options of :class:`~regionkit.plugins.patchioner.learned_pool.LearnedPool`.

    Source: Bianchi et al., arXiv 2510.02898, section 14, of which no code was released. The paper gives the sum, alpha
    and how it is trained; the form of the block is ours.

    Attributes:
        heads: Attention heads of the block; they divide the width of the backbone's patches.
        mlp_ratio: Width of the block's feed-forward layer, in multiples of the patches'.
        alpha: A share of the attention to take instead of the trained one: 0 is ``patch-pool``. An untrained encoder
            starts from it. Left out, it is what was trained, and 0.1 before training.
        box_rule: As for ``patch-pool``.
        set_weighting: As for ``patch-pool``.
        mask_rule: As for ``patch-pool``.
        compat: As for ``patch-pool``, whose mean this one starts from.
        weights: ``auto`` chooses weights that were trained on the backbone's patches, ``none`` starts untrained,
            ``file:PATH`` or a name of ``toolkit weights list`` says which. Where there are several trainings for one
            backbone, on traces and on boxes, a name must say which.
    """

    heads: int = 8
    mlp_ratio: float = 4.0
    alpha: float | None = None
    box_rule: Literal["auto", "intersect", "coverage", "reference"] = "auto"
    set_weighting: Literal["auto", "per_patch", "per_box"] = "auto"
    mask_rule: Literal["any", "area"] = "any"
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"heads: {self.heads} must be 1 or more")
        if not (math.isfinite(self.mlp_ratio) and self.mlp_ratio > 0):
            raise ValueError(f"mlp_ratio: {self.mlp_ratio!r} must be more than 0; transformers take 4")
        if self.alpha is not None and not math.isfinite(self.alpha):
            raise ValueError(f"alpha: {self.alpha!r} must be a finite number; the paper starts from 0.1")
