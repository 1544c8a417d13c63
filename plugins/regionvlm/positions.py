"""Places as waves: one function for numerals and for patches, so that a model trained from nothing can match them."""

from __future__ import annotations

import torch
from torch import Tensor

#: Ratio between the longest and the shortest wave; the shortest has a period of 2 pi hundredths of the picture.
_RANGE = 100.0


def waves(hundredths: Tensor, dim: int) -> Tensor:
    """Return (n, dim): sines and cosines of places (n,) in hundredths of the picture, in rising wavelength.

    The mean square of a row is 1/2. An odd last column is zero.
    """
    half = dim // 2
    frequencies = _RANGE ** (-torch.arange(half, dtype=torch.float32, device=hundredths.device) / max(half, 1))
    angles = hundredths.float().unsqueeze(1) * frequencies
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, dim - 2 * half))


def patch_waves(grid: tuple[int, int], dim: int) -> Tensor:
    """Return (rows * columns, dim): the centre of each patch, x in the first half of the columns, y in the second."""
    rows, columns = grid
    y = waves((torch.arange(rows) + 0.5) * (100 / rows), dim - dim // 2)
    x = waves((torch.arange(columns) + 0.5) * (100 / columns), dim // 2)
    both = torch.cat([x.repeat(rows, 1), y.repeat_interleave(columns, dim=0)], dim=1)
    return both
