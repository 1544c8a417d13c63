"""Pictures into square pixels, as every backbone of this folder reads them (Patch-ioner's two transforms)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regionkit.core.frames import Frame, crop_corner, resized

#: Mean and deviation of the pixels that the models were trained with, RGB in 0..1.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: A picture this many times longer than wide is cropped before it is scaled, so that memory stays in bounds.
_ELONGATED = 16


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes pixels (Patch-ioner's two transforms).

    Attributes:
        side: Side of the preprocessed picture.
        patch: Side of a patch in it.
        fit: ``squash`` ignores the aspect ratio, ``crop`` resizes the shorter side and takes the centre.
        compat: How a crop maps regions, see :meth:`Frame.resize_crop`.
        pixels: Mean and deviation, RGB in 0..1.
    """

    side: int
    patch: int
    fit: Literal["squash", "crop"]
    compat: Literal["paper", "reference"]
    pixels: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.side // self.patch

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe what is done to a picture of (width, height) pixels."""
        grid = (self.grid, self.grid)
        if self.fit == "squash":
            return Frame.squash(image_size, (self.side, self.side), grid)
        return Frame.resize_crop(image_size, self.side, self.side, grid, self.compat)

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Return normalised pixels (b, 3, side, side)."""
        if not images:
            return torch.zeros(0, 3, self.side, self.side)
        pixels = torch.from_numpy(np.stack([np.asarray(self._fitted(image)) for image in images]))
        mean, deviation = (torch.tensor(values) for values in self.pixels)
        scaled = (pixels.float() / 255 - mean) / deviation
        return scaled.permute(0, 3, 1, 2).contiguous()

    def _fitted(self, image: Image.Image) -> Image.Image:
        """Return a picture of side x side pixels in RGB, resampled as Pillow does."""
        image, square = image.convert("RGB"), (self.side, self.side)
        if self.fit == "squash":
            return image.resize(square, Image.Resampling.BICUBIC)
        width, height = image.size
        scaled = resized(image.size, self.side)
        left, top = crop_corner(scaled, square)
        if max(scaled) <= _ELONGATED * self.side:
            whole = image.resize(scaled, Image.Resampling.BICUBIC)
            return whole.crop((left, top, left + self.side, top + self.side))
        x, y = width / scaled[0], height / scaled[1]
        box = (left * x, top * y, min(width, (left + self.side) * x), min(height, (top + self.side) * y))
        return image.resize(square, Image.Resampling.BICUBIC, box=box)
