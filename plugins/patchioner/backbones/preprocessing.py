"""Pictures into square pixels, as every backbone of this folder reads them (Patch-ioner's two transforms)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core.frames import Frame, crop_corner, resized

#: Mean and deviation of the pixels that the models were trained with, RGB in 0..1.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF_PIXELS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
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
        filter: Pillow's filter, antialiased; the paper's transforms are bicubic.
    """

    side: int
    patch: int
    fit: Literal["squash", "crop"]
    compat: Literal["paper", "reference"]
    pixels: tuple[tuple[float, ...], tuple[float, ...]]
    filter: Literal["bicubic", "bilinear"] = "bicubic"

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
        resampling = Image.Resampling[self.filter.upper()]
        fitted = [self._fitted(image.convert("RGB"), resampling) for image in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in fitted]))
        mean, deviation = (torch.tensor(values) for values in self.pixels)
        scaled = (pixels.float() / 255 - mean) / deviation
        return scaled.permute(0, 3, 1, 2).contiguous()

    def masks(self, masks: Sequence[NDArray[np.bool_]]) -> Tensor:
        """Return masks (height, width) as the preprocessed pictures show them, (b, 1, side, side) in 0..1.

        They go where their pictures go, but bilinear: an edge between two pixels comes out soft.
        """
        if not masks:
            return torch.zeros(0, 1, self.side, self.side)
        bilinear = Image.Resampling.BILINEAR
        # One after the other: as numbers of 32 bits a large picture's mask takes more memory than the picture.
        fitted = [self._fitted(Image.fromarray(mask.astype(np.float32)), bilinear) for mask in masks]
        return torch.from_numpy(np.stack([np.asarray(mask) for mask in fitted])).unsqueeze(1).clamp(0, 1)

    def _fitted(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        """Return a picture of side x side pixels, resampled as Pillow does."""
        if self.fit == "squash":
            return image.resize((self.side, self.side), resampling)
        return cropped(image, self.side, resampling)


def cropped(image: Image.Image, side: int, resampling: Image.Resampling) -> Image.Image:
    """Return the centre of a picture whose shorter side is scaled to ``side`` pixels, side x side of them."""
    square, (width, height) = (side, side), image.size
    scaled = resized(image.size, side)
    left, top = crop_corner(scaled, square)
    if max(scaled) <= _ELONGATED * side:
        whole = image.resize(scaled, resampling)
        return whole.crop((left, top, left + side, top + side))
    x, y = width / scaled[0], height / scaled[1]
    box = (left * x, top * y, min(width, (left + side) * x), min(height, (top + side) * y))
    return image.resize(square, resampling, box=box)
