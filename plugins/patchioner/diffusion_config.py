"""Options of the diffusion bridge and of the recipe that trains it; torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: Far beyond any network of this kind: what is more is a slip, and would fill the memory before anything is said.
_MOST = 1_000_000


def _require(condition: bool, option: str, value: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{option}: {value!r} {wanted}")


@dataclass(frozen=True)
class DiffusionConfig:
    """Denoising of image vectors by a diffusion model of text embeddings (Diffusion Bridge).

    Attributes:
        inference_step: The step of the diffusion at which a region vector enters, as if it were a noisy text.
        steps: Denoising steps from there; no noise is drawn.
        scale: Length of the vectors that the network reads.
        image_mean: What is taken off a region's unit vector before: the mean ``image`` vector or the mean ``text``
            embedding. ``auto`` takes that of images where the weights hold one, as the released code does; training on
            text alone makes none.
        augment_step: The step up to which a decoder's training texts are noised before they are denoised again.
        dim: Width of the sinusoidal embedding of the step.
        init_dim: Channels of the network before its first level.
        mults: Channels of its levels, in multiples of ``init_dim``; every level but the last halves the length.
        heads: Heads of its attention, each 32 wide.
        timesteps: Steps of the whole diffusion.
        average: Of an official checkpoint take the moving average of the weights instead of the weights themselves,
            which is what the released inference loads. Weights of our recipe are the average.
        batch: Vectors that pass through the network together.
        compat: A decoder's training texts are noised to the very step at which their denoising starts; ``reference``
            noises them one step further, as the released script does.
        weights: ``auto`` chooses by the spaces; ``none`` starts untrained.
    """

    inference_step: int = 600  # released script, --inference_step
    steps: int = 5  # released script, sampling_timesteps
    scale: float = 5.0  # released code, rescale
    image_mean: Literal["auto", "image", "text"] = "auto"  # the paper of Patch-ioner does not say
    augment_step: int = 400  # what the released code noises its captions with; its script has it as an argument
    dim: int = 512  # released script
    init_dim: int = 32  # released script
    mults: tuple[int, ...] = (1, 2, 4, 8)  # released script
    heads: int = 4  # released code, its default
    timesteps: int = 1000  # released script
    average: bool = False
    batch: int = 64
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mults", tuple(self.mults))  # headers are JSON, which has lists alone
        for name in ("steps", "init_dim", "heads", "timesteps", "batch"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("dim", "init_dim", "heads", "timesteps"):
            _require(getattr(self, name) <= _MOST, name, getattr(self, name), f"is more than {_MOST}")
        _require(self.dim >= 4 and self.dim % 2 == 0, "dim", self.dim, "must be even and at least 4")
        _require(
            bool(self.mults) and all(mult >= 1 for mult in self.mults),
            "mults",
            self.mults,
            "must be one or more numbers of 1 or more",
        )
        _require(max(self.mults) <= _MOST, "mults", self.mults, f"holds more than {_MOST}")
        valid = math.isfinite(self.scale) and self.scale > 0
        _require(valid, "scale", self.scale, "must be more than 0; the release has 5")
        for name in ("inference_step", "augment_step"):
            step = getattr(self, name)
            _require(
                self.steps <= step <= self.timesteps,
                name,
                step,
                f"must lie between steps ({self.steps}) and timesteps ({self.timesteps})",
            )
        if self.compat == "reference":
            _require(
                self.augment_step < self.timesteps,
                "augment_step",
                self.augment_step,
                f"must be less than timesteps ({self.timesteps}) with compat reference, which noises one step further",
            )

    @property
    def corruption(self) -> str:
        """What a decoder behind this bridge was trained with, such as ``diffusion(augment_step=400)``."""
        steps = f", steps={self.steps}" if self.steps != DiffusionConfig.steps else ""
        return f"diffusion(augment_step={self.augment_step}{steps})"


#: Options that a weight file decides; they are stored in its header.
ARCHITECTURE: tuple[str, ...] = ("dim", "init_dim", "mults", "heads", "timesteps", "scale")


@dataclass(frozen=True)
class TextDiffusionConfig:
    """Options of :class:`~regionkit.plugins.patchioner.text_diffusion.TextDiffusion`.

    The defaults are those of the released training script of Diffusion Bridge and of the trainer that it calls.

    Attributes:
        steps: Optimiser steps.
        batch_size: Text embeddings a step.
        learning_rate: Learning rate of Adam.
        warmup: Steps of linear warm-up.
        schedule: What follows the warm-up.
        clip: Limit of the gradient norm; 0 for none.
        average: Decay of the moving average of the weights, which are what is exported; 0 exports the last weights.
        average_every: Steps between two updates of the average.
        average_after: Steps during which the average is a copy; its decay rises from 0 after them.
        snr_limit: Most weight that a step of the diffusion has in the loss; 0 for its signal-to-noise ratio whatever
            it is, as released, which is 24,000 at the first step and 0.5 at the 600th.
        limit: Train on this many captions, drawn without replacement; 0 for all.
        pictures: Pictures of the data set whose regions make the mean image vector, where the recipe has a data set.
        tasks: Tasks whose regions these are.
        split: Split of the data set.
    """

    steps: int = 3_000_000  # released script
    batch_size: int = 64  # released script
    learning_rate: float = 8e-5  # released script
    warmup: int = 0
    schedule: Literal["linear", "cosine", "constant"] = "constant"  # released trainer
    clip: float = 1.0  # released trainer, max_grad_norm
    average: float = 0.995  # released script, ema_decay
    average_every: int = 10  # released trainer, ema_update_every
    average_after: int = 100  # of the average's library, update_after_step
    snr_limit: float = 0.0
    limit: int = 0
    pictures: int = 1000
    tasks: tuple[str, ...] = ("box",)
    split: str = "train"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "average_every", "pictures"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("warmup", "clip", "limit", "snr_limit", "average_after"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must be 0 or more")
        _require(0 <= self.average < 1, "average", self.average, "must be at least 0 and less than 1")
        _require(bool(self.tasks), "tasks", self.tasks, "must name a task; boxes are what regions mostly are")
        valid = math.isfinite(self.learning_rate) and self.learning_rate > 0
        _require(valid, "learning_rate", self.learning_rate, "must be more than 0; the release has 8e-5")
