"""Options of the mapper and of ViZer's two recipes, free of torch.

Byun et al., Unifying Vision-Language Latents for Zero-label Image Caption Enhancement, arXiv 2510.12931. The paper
leaves much open (hidden positions, pooling, learning rates, sizes of batches); ``docs/vizer.md`` says how it was read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


def _at_least(options: Any, least: float, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name}: {value} must be {least:g} or more")


@dataclass(frozen=True, slots=True)
class MapperConfig:
    """Options of the bridge ``mapper``.

    Attributes:
        width: Width of the hidden layers.
        depth: Linear layers, with a GELU between each two; 1 is a linear map.
        pool: How the hidden states of a text become one vector. ``mean``: their mean is mapped. ``mlp_mean``: each is
            mapped, the mean is taken then. ``token``: each is mapped and compared alone, as the mean of unit vectors.
            ``last``: the last one is mapped.
        center: Whether targets lose their running mean before they are compared. Pooled features of a vision encoder
            share a large part, so that a mapper which always says the same has a cosine near 1.
        weights: ``none`` starts untrained; ``file:PATH`` or a name of ``toolkit weights list`` says which; ``auto``
            is for pipelines, recipes want one of the others.
    """

    width: int = 256  # best of the paper's Table 2
    depth: int = 2  # paper, 4.1
    pool: Literal["mean", "mlp_mean", "token", "last"] = "mean"  # the paper has one cosine an image, and no word on it
    center: bool = True  # not in the paper, whose formula has none; false is its letter
    weights: str = "auto"

    def __post_init__(self) -> None:
        _at_least(self, 1, "width", "depth")


#: Options that a file of the mapper's weights decides; they are stored in its header.
ARCHITECTURE: tuple[str, ...] = ("width", "depth", "pool", "center")


@dataclass(frozen=True)
class StageConfig:
    """What both stages are told: the pictures, what the decoder may write, the optimisation.

    Attributes:
        task: Task of the data set; one picture may pose it several times.
        split: Split of the data set.
        data_seed: Selects other pictures where the data are generated.
        images: Pictures to train on; 0 for as many as the data set gives.
        prompt: Prompt of the decoder; empty for none.
        max_tokens: Longest caption that the decoder writes, the end token included.
        steps: Optimiser steps; 0 takes as many as ``epochs`` need.
        epochs: Passes over the data; incomplete batches at the end of a pass are dropped.
        batch_size: Regions a step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        warmup: Steps of linear warm-up.
        schedule: What follows the warm-up.
        clip: Limit of the gradient norm; 0 for none.
    """

    task: str = "image"
    split: str = "train"
    data_seed: int = 0
    images: int = 0
    prompt: str = ""  # paper, 4.1: SmolVLM-Base gets the image alone
    max_tokens: int = 32  # the paper does not say
    steps: int = 0
    epochs: int = 1  # paper, 4.1
    batch_size: int = 64  # the paper does not say
    learning_rate: float = 1e-3  # the paper does not say
    weight_decay: float = 0.01  # paper, 4.1
    warmup: int = 0
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    clip: float = 1.0

    def __post_init__(self) -> None:
        _at_least(self, 1, "epochs", "max_tokens")
        _at_least(self, 2, "batch_size")
        _at_least(self, 0, "steps", "warmup", "clip", "images", "weight_decay", "data_seed")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: {self.learning_rate} must be more than 0")


@dataclass(frozen=True)
class AlignmentConfig(StageConfig):
    """Options of the recipe ``mapper-alignment``, ViZer's first stage.

    Attributes:
        variant: ``GT`` reads the captions of the data, ``G`` those that the decoder writes itself.
        context: ``image``: hidden states of the caption after the region, as stage 2 has them. ``text``: of the caption
            alone, the letter of the paper's formula for GT.
        positions: ``pred``: the states that predict the caption's tokens, end token included. ``tok``: those at the
            tokens, the letter of the paper, which never reads the state that picks the first word.
        target: What the mapper should hit. ``image``: mean of all patches of the picture, or what a decoder that reads
            pictures sees of its own. ``region``: mean of the patches under the region.
    """

    variant: Literal["GT", "G"] = "GT"
    context: Literal["image", "text"] = "image"  # text alone differs from what stage 2 shows the mapper
    positions: Literal["pred", "tok"] = "pred"  # not the paper's letter: only these states pick the first word
    target: Literal["image", "region"] = "image"  # paper, F_I of the whole picture


@dataclass(frozen=True)
class ZeroLabelConfig(StageConfig):
    """Options of the recipe ``zero-label``, ViZer's second stage, and of its controls.

    Attributes:
        positions: As in stage 1; ``auto`` is how the mapper was trained, ``pred`` for an untrained one.
        target: As in stage 1; ``auto`` is how the mapper was trained, ``image`` for an untrained one.
        context: As in stage 1; the paper's second stage has the picture in context.
        estimator: ``teacher-force``: the decoder's own caption is read back and the mapper's loss reaches the adapter
            through its hidden states, the caption itself being taken as given. ``reinforce``: captions are sampled and
            rewarded, the reward of the greedy caption being the baseline (self-critical).
        reward: Of ``reinforce``: ``alignment``, the cosine that the other estimator raises; or ``references``, the F1
            of words with the nearest reference, which reads captions of the data and is no zero-label training: the
            paper's RL baseline with an oracle for its judge.
        control: ``shuffled`` gives each picture the target of another one of its batch: what is gained then is not
            learned from pictures. The control of a random mapper is ``mapper: {name: mapper, weights: none}``.
        kl: Weight of the divergence from the decoder without its adapter, a token; 0 for none.
        allow_collapsed: Train with a mapper that its own recipe found to be collapsed.
    """

    positions: Literal["auto", "pred", "tok"] = "auto"
    target: Literal["auto", "image", "region"] = "auto"
    context: Literal["image", "text"] = "image"
    estimator: Literal["teacher-force", "reinforce"] = "teacher-force"  # a generated caption "as a hypothesis", 3.2
    reward: Literal["alignment", "references"] = "alignment"
    control: Literal["none", "shuffled"] = "none"
    kl: float = 0.0  # not in the paper
    allow_collapsed: bool = False
    batch_size: int = 32  # the paper does not say
    learning_rate: float = 1e-4  # the paper does not say; larger ones drift off the language
    schedule: Literal["linear", "cosine", "constant"] = "constant"

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, 0, "kl")
        if self.reward == "references" and self.estimator != "reinforce":
            raise ValueError("reward: references is a reward of estimator: reinforce")
