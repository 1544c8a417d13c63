"""The one map from original pixels to the preprocessed picture to the patch grid.

A backbone describes what its preprocessing did as a :class:`Frame`; whatever reads regions asks the frame, and nothing
else in the toolkit scales a coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """How an original image became a preprocessed one: ``x' = x * scale_x - offset_x``, the same for y.

    Attributes:
        image_size: (width, height) of the original image in pixels.
        size: (width, height) of the preprocessed picture in pixels.
        scale: (x, y) factors from original to preprocessed pixels.
        offset: (x, y) pixels of the scaled picture that the crop cut off at the left and at the top.
        grid: (rows, columns) of patches over the preprocessed picture.
    """

    image_size: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    grid: tuple[int, int]

    @classmethod
    def squash(cls, image_size: tuple[int, int], size: tuple[int, int], grid: tuple[int, int]) -> Self:
        """Describe a resize to ``size`` that ignores the aspect ratio."""
        scale = (size[0] / image_size[0], size[1] / image_size[1])
        return cls(image_size, size, scale, (0.0, 0.0), grid)

    @classmethod
    def resize_crop(
        cls,
        image_size: tuple[int, int],
        resize: int,
        crop: int,
        grid: tuple[int, int],
        compat: Literal["paper", "reference"] = "paper",
    ) -> Self:
        """Describe a resize of the shorter side to ``resize`` and a centre crop of ``crop`` x ``crop``.

        ``paper`` says what happens to the pixels: the longer side is rounded down, as in torchvision's ``Resize``, and
        the crop's corner is :func:`crop_corner`. ``reference`` maps regions as the released Patch-ioner does for
        that very same picture: with the ratio before rounding, and a corner rounded down and never negative. The two
        differ by less than two pixels of the preprocessed picture.
        """
        width, height = resized(image_size, resize)
        if compat == "reference":
            ratio = resize / min(image_size)
            left, top = max(0, (width - crop) // 2), max(0, (height - crop) // 2)
            return cls(image_size, (crop, crop), (ratio, ratio), (float(left), float(top)), grid)
        left, top = crop_corner((width, height), (crop, crop))
        scale = (width / image_size[0], height / image_size[1])
        return cls(image_size, (crop, crop), scale, (float(left), float(top)), grid)

    @property
    def patch_size(self) -> tuple[float, float]:
        """(width, height) of a patch in preprocessed pixels."""
        return self.size[0] / self.grid[1], self.size[1] / self.grid[0]

    def to_frame(self, x: float, y: float) -> tuple[float, float]:
        """Map a point from original pixels to preprocessed pixels; it may fall outside the picture after a crop."""
        return x * self.scale[0] - self.offset[0], y * self.scale[1] - self.offset[1]

    def to_grid(self, x: float, y: float) -> tuple[float, float]:
        """Map a point from original pixels to (column, row) in units of patches, fractional."""
        frame_x, frame_y = self.to_frame(x, y)
        patch_width, patch_height = self.patch_size
        return frame_x / patch_width, frame_y / patch_height

    def cells(self) -> NDArray[np.float64]:
        """Return (rows, columns, 4): x1, y1, x2, y2 of each patch in original pixels.

        A patch of a picture that was padded may lie outside the image.
        """
        (rows, columns), scale = self.grid, self.scale * 2
        patch, offset = np.array(self.patch_size * 2), np.array(self.offset * 2)
        corners = np.empty((rows, columns, 4))
        corners[..., 0::2] = np.arange(columns)[None, :, None] + (0, 1)
        corners[..., 1::2] = np.arange(rows)[:, None, None] + (0, 1)
        return (corners * patch + offset) / scale

    def to_unit(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (n, 2) from original pixels to 0..1 of the preprocessed picture; outside that after a crop."""
        if self.offset == (0.0, 0.0) and all(
            scale == size / original
            for scale, size, original in zip(self.scale, self.size, self.image_size, strict=True)
        ):
            return points / np.array(self.image_size)  # a squash: no detour that could push a point over a patch edge
        return (points * self.scale - self.offset) / self.size


def crop_corner(scaled: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    """(left, top) corner of a centre crop of a picture of size ``scaled``, to the pixel that torchvision's takes.

    Negative where the picture is smaller than the crop and gets padded.
    """
    left, top = (
        round((size - wanted) / 2) if size >= wanted else -((wanted - size) // 2)
        for size, wanted in zip(scaled, crop, strict=True)
    )
    return left, top


def resized(image_size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(width, height) after scaling the shorter side to ``shorter`` pixels, the longer one rounded down."""
    width, height = image_size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter
