"""Options of the ``viecap`` decoder, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from regionkit.plugins.zeroshot.entities_config import EntityOptions


@dataclass(frozen=True)
class ViecapConfig(EntityOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.viecap.Viecap`. Defaults are those of Patch-ioner.

    Attributes:
        top_k: Entities a region, at most.
        threshold: Least probability of an entity; 0.2 where the released class is not told otherwise.
        temperature: Of the softmax over the vocabulary.
        ensemble: Whether the vector of a word is the mean over seven sentences with it, and not that of one.
        each: With ``ensemble``: the seven stay apart, and the nearest speaks for the word. It is as much as is public
            of MERCap (Zero-Shot Image Captioning with Multi-type Entity Representations, AAAI 2025), which has several
            vectors an entity, without what refines them.
    """

    top_k: int = 3
    threshold: float = 0.4
    temperature: float = 0.01
    ensemble: bool = True
    each: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("top_k")
        if self.each and not self.ensemble:
            raise ValueError("each: true needs ensemble: true, whose sentences it keeps apart")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold: {self.threshold} must be a probability, from 0 to 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: {self.temperature} must be more than 0")
