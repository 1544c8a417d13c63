"""Options of the ``captioning`` recipe, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CaptioningConfig:
    """Options of :class:`~regionkit.plugins.training.captioning.Captioning`.

    Attributes:
        tasks: Tasks of the data set whose regions are captioned, such as ``mask`` and ``image``.
        shares: How often each task is drawn; all alike where left out.
        splits: Splits of the data set that are trained on; every task is drawn from each of them alike.
        images: Pictures of each split that are used.
        freeze: Parts that are left as they are: ``backbone``, ``region_encoder``, ``bridge``, ``decoder``.
        reference: ``first`` takes the first reference caption of a region, ``any`` draws one each time.
        steps: Optimiser steps.
        batch_size: Regions a step.
        images_a_step: Draw the regions of a step from about this many places of the data set, so that several are of
            one picture, which saves passes through the backbone; 0 for as many as there are regions.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        warmup: Steps of linear warm-up.
        schedule: What follows the warm-up.
        clip: Limit of the gradient norm; 0 for none.
        evaluated: Regions a task and split that are captioned at the end.
        evaluated_splits: Splits for that.
    """

    tasks: tuple[str, ...] = ("mask",)
    shares: tuple[float, ...] = ()
    splits: tuple[str, ...] = ("train",)
    images: int = 4000
    freeze: tuple[str, ...] = ("backbone",)
    reference: Literal["first", "any"] = "first"
    steps: int = 1000
    batch_size: int = 32
    images_a_step: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    clip: float = 1.0
    evaluated: int = 200
    evaluated_splits: tuple[str, ...] = ("test",)

    def __post_init__(self) -> None:
        for name in ("images", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        for name in ("weight_decay", "warmup", "clip", "evaluated", "images_a_step"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: {self.learning_rate} must be more than 0")
        for name in ("tasks", "splits"):
            if not getattr(self, name):
                raise ValueError(f"{name}: name at least one of the data set's")
        if self.shares and len(self.shares) != len(self.tasks):
            raise ValueError(f"shares: {len(self.shares)} shares for {len(self.tasks)} tasks; give one a task")
        if self.shares and not (min(self.shares) >= 0 and 0 < sum(self.shares) < math.inf):
            raise ValueError("shares: give numbers of 0 or more, not all 0")
