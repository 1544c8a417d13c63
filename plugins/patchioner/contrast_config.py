"""Options of the ``contrast`` recipe, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ContrastConfig:
    """Options of :class:`~regionkit.plugins.patchioner.contrast.Contrast`.

    Attributes:
        tasks: Tasks of the data set whose samples speak of whole pictures.
        splits: Splits of the data set that are trained on.
        images: Pictures of each split that are used.
        keep: Pictures that stay in memory once they were opened, with their captions; 0 opens each one anew.
        steps: Optimiser steps.
        batch_size: Pictures a step; each is held against the captions of all.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        warmup: Steps of linear warm-up.
        schedule: What follows the warm-up.
        clip: Limit of the gradient norm; 0 for none.
        temperature: What cosines are divided by at first; learned, and never below 0.01.
        evaluated: Pictures of which the caption is searched at the end.
        evaluated_splits: Splits for that.
    """

    tasks: tuple[str, ...] = ("image",)
    splits: tuple[str, ...] = ("train",)
    images: int = 4000
    keep: int = 0
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 5e-4  # CLIP, table of hyper-parameters: ViT-B
    weight_decay: float = 0.2  # the same table
    warmup: int = 100
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    clip: float = 1.0
    temperature: float = 0.07  # the same table
    evaluated: int = 200
    evaluated_splits: tuple[str, ...] = ("test",)

    def __post_init__(self) -> None:
        for name, least in (("images", 2), ("steps", 1), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} must be {least} or more")
        for name in ("keep", "weight_decay", "warmup", "clip", "evaluated"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: {self.learning_rate} must be more than 0")
        if not 0.01 <= self.temperature <= 1:
            raise ValueError(f"temperature: {self.temperature} must be from 0.01 to 1")
        for name in ("tasks", "splits"):
            if not getattr(self, name):
                raise ValueError(f"{name}: name at least one of the data set's")
