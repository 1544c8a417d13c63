"""Pictures and masks as the two views of a focal prompt: pixels that a backbone reads, masks in -1..1 beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone
from regionkit.core.frames import Frame
from regionkit.core.regions import Regions
from regionkit.plugins.dam.configs import FocalPromptConfig
from regionkit.plugins.dam.focal_crop import PixelBox, pixels_of, view_box

#: A picture this many times longer than wide is cropped before it is scaled, so that memory stays in bounds.
_ELONGATED = 16


@dataclass(frozen=True, eq=False, slots=True)
class Views:
    """Views of r regions as a backbone reads them.

    Attributes:
        pixels: (r, 3, height, width), as ``Backbone.preprocess`` gives them.
        masks: (r, 1, height, width): 1 inside the region, -1 outside, in between along its rim.
        frames: r frames, from pixels of the view to the patch grid.
    """

    pixels: Tensor
    masks: Tensor
    frames: tuple[Frame, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.frames[0].grid


class Pictures:
    """The pictures of a scene, each preprocessed at most once, and the views that are taken of them.

    Args:
        images: b pictures of any mode; alpha and palettes are dropped by Pillow's conversion to RGB.
        backbone: What preprocesses them.
        config: The options.
    """

    def __init__(self, images: Sequence[Image.Image], backbone: Backbone, config: FocalPromptConfig) -> None:
        self.images = images
        self.backbone = backbone
        self.config = config
        self._colour: dict[int, Image.Image] = {}
        self._whole: dict[int, tuple[Tensor, Frame]] = {}

    def masks(self, regions: Regions) -> list[NDArray[np.bool_]]:
        """Return the pixels (H, W) of each region in its picture.

        Raises:
            RegionError: A region lies outside its image.
        """
        pairs = zip(regions.items, regions.image, strict=True)
        return [pixels_of(region, self.images[index].size, self.config.point_radius) for region, index in pairs]

    def whole(self, places: Sequence[int], masks: Sequence[NDArray[np.bool_]]) -> Views:
        """Return the whole pictures with the masks (H, W) of r regions.

        Args:
            places: r indices of pictures.
            masks: r masks of those pictures' sizes.
        """
        fresh = [index for index in dict.fromkeys(places) if index not in self._whole]
        if fresh:
            pixels, frames = self._preprocess([self._rgb(index) for index in fresh])
            self._whole |= {index: (pixels[row], frames[row]) for row, index in enumerate(fresh)}
        pixels = torch.stack([self._whole[index][0] for index in places])
        return self._views(pixels, tuple(self._whole[index][1] for index in places), masks)

    def local(self, places: Sequence[int], masks: Sequence[NDArray[np.bool_]]) -> Views:
        """Return what is cut out around each of r regions, as ``crop`` says; equal cut-outs are preprocessed once."""
        if self.config.crop == "full":
            return self.whole(places, masks)
        boxes = [view_box(mask, self.config) for mask in masks]
        cut = [mask[y1:y2, x1:x2] for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True)]
        if self.config.crop == "masked":
            pictures = [_blackened(self._rgb(i).crop(b), m) for i, b, m in zip(places, boxes, cut, strict=True)]
            pixels, frames = self._preprocess(pictures)
            return self._views(pixels, frames, cut)
        keys: list[tuple[int, PixelBox]] = list(zip(places, boxes, strict=True))
        distinct = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        pixels, frames = self._preprocess([self._rgb(index).crop(box) for index, box in distinct])
        rows = [distinct[key] for key in keys]
        return self._views(pixels[rows], tuple(frames[row] for row in rows), cut)

    def _views(self, pixels: Tensor, frames: tuple[Frame, ...], masks: Sequence[NDArray[np.bool_]]) -> Views:
        size = (pixels.shape[-1], pixels.shape[-2])
        framed = np.stack([framed_mask(mask, frame, size) for mask, frame in zip(masks, frames, strict=True)])
        # The very arithmetic of pictures with mean and deviation of a half: the released code makes pictures of masks.
        values = ((torch.from_numpy(framed).float() / 255 - 0.5) / 0.5).unsqueeze(1)
        return Views(pixels, self._rounded(values), frames)

    def _preprocess(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        pixels, frames = self.backbone.preprocess(pictures)
        return self._rounded(pixels), frames

    def _rounded(self, values: Tensor) -> Tensor:
        """Round to half precision in compat ``reference``: so the released code hands its views over."""
        return values.half().to(values.dtype) if self.config.compat == "reference" else values

    def _rgb(self, index: int) -> Image.Image:
        if index not in self._colour:
            self._colour[index] = self.images[index].convert("RGB")
        return self._colour[index]


def _blackened(picture: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(np.asarray(picture) * mask[..., None].astype(np.uint8))


def framed_mask(mask: NDArray[np.bool_], frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a mask (H, W) as preprocessing would make it of a black and white picture: 0..255, resampled bicubically.

    Args:
        mask: At the size of the picture that the frame describes.
        frame: What preprocessing did to that picture.
        size: (width, height) of the preprocessed pixels. They may reach beyond the patches, where a side is no multiple
            of the patch.
    """
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    width, height = frame.image_size
    scaled = max(1, round(width * frame.scale[0])), max(1, round(height * frame.scale[1]))
    left, top = (round(offset) for offset in frame.offset)
    if max(scaled) <= _ELONGATED * max(size):
        whole = picture.resize(scaled, Image.Resampling.BICUBIC)
        if scaled == size and not (left or top):
            return np.asarray(whole)
        return np.asarray(whole.crop((left, top, left + size[0], top + size[1])))
    x, y = width / scaled[0], height / scaled[1]
    box = (max(0, left * x), max(0, top * y), min(width, (left + size[0]) * x), min(height, (top + size[1]) * y))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, box=box))
