"""The cosine schedule of the diffusion bridge: how much of a vector is left at each step, and the way back.

Ho et al., Denoising Diffusion Probabilistic Models, 2020; Nichol and Dhariwal, 2021 (cosine schedule); Song et al.,
Denoising Diffusion Implicit Models, 2021 (the deterministic way back).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize

#: The cosine's offset, and the most noise that one step adds (Nichol and Dhariwal, section 3.2).
_OFFSET, _LARGEST = 0.008, 0.999


class Schedule:
    """Steps 0 .. timesteps - 1 of a diffusion with the cosine schedule.

    Args:
        timesteps: Number of steps.

    Attributes:
        alphas: (timesteps,) share of the signal's variance that is left after each step, falling; float64.
    """

    def __init__(self, timesteps: int = 1000) -> None:
        places = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        curve = torch.cos((places + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
        left = curve / curve[0]
        self.alphas = torch.cumprod(1 - (1 - left[1:] / left[:-1]).clamp(0, _LARGEST), dim=0)

    def noised(self, clean: Tensor, step: Tensor | int, noise: Tensor) -> Tensor:
        """Return x_t = sqrt(alpha_t) x_0 + sqrt(1 - alpha_t) noise for (n, 1, d), at one step or one a row (n,)."""
        alpha = self._at(step, clean)
        return alpha.sqrt().to(clean) * clean + (1 - alpha).sqrt().to(clean) * noise

    def signal_to_noise(self, step: Tensor) -> Tensor:
        """Return alpha_t / (1 - alpha_t) of steps (n,): the weight of each in the loss of predicted x_0."""
        alpha = self.alphas[step.cpu()]
        return (alpha / (1 - alpha)).to(step.device, torch.float32)

    @staticmethod
    def times(start: int, steps: int) -> list[int]:
        """Return the steps + 1 times of the way back from ``start``: start - 1 first, -1, which is the end, last."""
        # In float32 and cut off: which of two neighbouring times is meant is part of the released procedure.
        return list(reversed(torch.linspace(-1, start - 1, steps + 1).int().tolist()))

    def denoised(
        self, noisy: Tensor, start: int, steps: int, scale: float, predict: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return x_0 of (n, 1, d) that stand at step ``start`` - 1, without drawing anything.

        Each step rescales what it reads to the length ``scale``, as Diffusion Bridge does.

        Args:
            noisy: The vectors.
            start: Number of steps that were made on the way there.
            steps: Steps of the way back.
            scale: Length of what the network reads.
            predict: The network: x_t (n, 1, d) and t (n,) to x_0.
        """
        vectors = noisy
        times = self.times(start, steps)
        for time, following in pairwise(times):
            vectors = scale * normalize(vectors, dim=-1)
            clean = predict(vectors, torch.full((len(vectors),), time, device=vectors.device))
            if following < 0:
                return clean
            alpha, after = float(self.alphas[time]), float(self.alphas[following])
            noise = (vectors / math.sqrt(alpha) - clean) / math.sqrt(1 / alpha - 1)
            vectors = math.sqrt(after) * clean + math.sqrt(1 - after) * noise
        return vectors

    def _at(self, step: Tensor | int, like: Tensor) -> Tensor:
        """Return alpha_t in float64, to be multiplied with ``like``."""
        if isinstance(step, int):
            return self.alphas[step]
        return self.alphas[step.cpu()].view(-1, *(1,) * (like.ndim - 1))
