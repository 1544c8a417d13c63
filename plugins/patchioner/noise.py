"""Noise injection: train the decoder on blurred text embeddings, so that image vectors fall into the blur.

Nukrai et al., Text-Only Training for Image Captioning using Noise-Injected CLIP (CapDec), 2022; the "+ Noise"
rows of Patch-ioner.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, GapBridge
from regionkit.core.features import RegionTokens
from regionkit.plugins.patchioner.configs import NoiseConfig


class Noise(GapBridge):
    """Add Gaussian noise to unit text embeddings in training; pass unit region vectors on at inference.

    Args:
        config: Options.
        space: The text space that the decoder reads, ``name[dim]``; that of the tokens where it is empty.
    """

    def __init__(self, config: NoiseConfig | None = None, space: str = "") -> None:
        self.config = config or NoiseConfig()
        self.space = space

    @classmethod
    def build(cls, config: NoiseConfig, context: BuildContext) -> Self:
        """Make the bridge; it has no weights."""
        return cls(config, context.writes)

    @property
    def corruption(self) -> str:
        """What a decoder behind this bridge was trained with."""
        return self.config.corruption

    def corrupt(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Normalise, add noise of the given deviation, normalise again: (n, d) to (n, d).

        Gaussian noise has that deviation in each coordinate; noise of a ball is at most as long as that.
        """
        unit = normalize(embeddings, dim=-1)
        # Drawn where the generator lives, so that a seed means the same noise on every device.
        noise = torch.randn(unit.shape, generator=generator, dtype=unit.dtype, device=generator.device)
        if self.config.kind == "ball":  # a random direction, and a length under which volume grows evenly
            share = torch.rand(len(unit), 1, generator=generator, dtype=unit.dtype, device=generator.device)
            noise = normalize(noise, dim=-1) * share ** (1 / unit.shape[1])
        return normalize(unit + self.config.deviation * noise.to(unit.device), dim=-1)

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Relabel tokens (r, t, d) as text, as unit vectors unless ``normalise`` is off; padding stays as it is.

        Raises:
            FeatureError: A value is NaN or infinite.
        """
        tokens.check_finite("the region encoder before bridge 'noise'")
        return tokens.relabelled(self.space, unit=self.config.normalises)
