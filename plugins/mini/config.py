"""Options of the mini-world's parts, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Side of a patch in pixels, of every mini backbone.
PATCH = 8
#: Side in pixels of the pictures that mini backbones are trained with.
TRAINED_SIDE = 96
#: Far beyond what a mini backbone can be asked to see: what is more is a slip, and would fill the memory.
_MOST_PIXELS = 8192


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of a tiny backbone.

    Attributes:
        objectives: What meets the sentence in training: ``cls``, ``mean`` (of the patches), ``phrases``, ``regions``
            (the patches that an object covers, which alone of all needs to know where things are).
        mixer: What mixes the patches: ``none``, a block with a CLS token (``cls``), a block without one (``mean``), or
            several blocks with a CLS token (``blocks``).
        reader: Whether a CLS vector is read from unmixed patches.
        first: Channels after the first convolution.
        width: Channels of the patch grid before projection.
        depth: Residual 3x3 convolutions on the patch grid.
        dim: Width of the space shared with the text tower.
        text_width: Width of the text tower.
        text_length: Most words of a sentence; longer ones are cut.
        heads: Attention heads.
        grid: Patches along each side of a picture.
        blocks: Blocks of the mixer ``blocks``.
    """

    objectives: tuple[str, ...] = ("mean",)
    mixer: Literal["none", "cls", "mean", "blocks"] = "none"
    reader: bool = False
    first: int = 48
    width: int = 96
    depth: int = 2
    dim: int = 128
    text_width: int = 96
    text_length: int = 32
    heads: int = 4
    grid: int = 12
    blocks: int = 0


#: The backbones. See networks.py for what each is trained for.
NETWORKS: dict[str, NetworkConfig] = {
    "mini-clip": NetworkConfig(objectives=("cls",), mixer="cls", depth=1),
    "mini-mean": NetworkConfig(mixer="mean", depth=1),
    "mini-local": NetworkConfig(),
    "mini-dense": NetworkConfig(objectives=("cls", "phrases"), reader=True),
    "mini-vit": NetworkConfig(objectives=("cls", "phrases", "regions"), mixer="blocks", depth=0, blocks=4),
}


@dataclass(frozen=True)
class MiniBackboneConfig:
    """Options of a mini backbone.

    Attributes:
        weights: ``auto`` takes the shipped weights, ``none`` starts untrained, ``file:PATH`` says which.
        force: Accept pictures that are not of the mini-world's making.
        resolution: Side in pixels that pictures are squashed to, a multiple of 8. The weights were trained at 96; at
            others the grid has a patch for every 8 pixels and learned places are resampled to it.
    """

    weights: str = "auto"
    force: bool = False
    resolution: int = TRAINED_SIDE

    def __post_init__(self) -> None:
        """Check that patches fill the picture."""
        if self.resolution < 2 * PATCH or self.resolution % PATCH:
            raise ValueError(
                f"resolution: {self.resolution} must be a multiple of {PATCH}, a patch, from {2 * PATCH} on; "
                f"the weights were trained at {TRAINED_SIDE}"
            )
        if self.resolution > _MOST_PIXELS:
            raise ValueError(f"resolution: {self.resolution} is more than {_MOST_PIXELS}")


@dataclass(frozen=True)
class MiniDatasetConfig:
    """The mini data set has no options: split, seed and number of scenes come with the question."""


@dataclass(frozen=True)
class MiniCaptionsConfig:
    """Options of the text corpus.

    Attributes:
        size: Captions; any number, since each is made from its own number.
        seed: Which captions.
    """

    size: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class MiniContrastConfig:
    """Options of the recipe that trains a mini backbone from pictures and captions.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pictures a step; every picture is drawn once and never shown again.
        texts: Captions without pictures that wrong answers are drawn from.
        other_texts: How many of them a step.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        rescaled: Percent of the pictures that are enlarged or reduced parts of scenes, so that the backbone knows
            objects at other scales; their captions tell no sizes.
    """

    steps: int = 1200
    batch_size: int = 64
    texts: int = 20_000
    other_texts: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    rescaled: int = 0

    def __post_init__(self) -> None:
        """Check what has bounds."""
        if not 0 <= self.rescaled <= 100:
            raise ValueError(f"rescaled: {self.rescaled} is no percentage, it goes from 0 to 100")
