"""A region as a mask beside its picture, for backbones that take masks (AlphaCLIP, arXiv 2312.03818).

Patch-ioner (arXiv 2510.02898) compares with it: one forward pass a region, where pooling needs one a picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone, RegionEncoder
from regionkit.core.errors import FeatureError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.frames import Frame
from regionkit.core.geometry import Rules, bounding_box, patch_weights, region_mask
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Regions, Trace
from regionkit.core.spec import STILL_REGIONS
from regionkit.plugins.patchioner.alpha_mask_config import AlphaMaskConfig
from regionkit.plugins.patchioner.backbones.preprocessing import cropped

#: Positions this close to an edge lie on it, as in ``regionkit.core.geometry``.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class _Pair:
    """A picture with a mask (height, width), and weights of its patches (h, w) that sum to 1, where they are used."""

    image: Image.Image
    mask: NDArray[np.bool_]
    weights: NDArray[np.float64]

    def key(self, index: int) -> tuple[int, bytes]:
        """Return what equal pairs of one picture share."""
        digest = hashlib.blake2b(np.packbits(self.mask).tobytes())
        digest.update(self.weights.tobytes())
        return index, digest.digest()


class AlphaMask(RegionEncoder):
    """Encode each region's picture once more, with a mask of the region beside it.

    Boxes of a set, and points of a trace, are one mask together. Regions of one picture with the same mask are encoded
    once.

    Source: Sun et al., Alpha-CLIP, section 3.2; the released code of Patch-ioner for ``compat: reference``.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: AlphaMaskConfig | None = None) -> None:
        self.config = config or AlphaMaskConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Encode r regions of b images.

        Args:
            scene: b images; its shared features are not used.
            regions: r still regions in pixels of the original images.

        Returns:
            tokens (r, 1, d) in the space that the backbone has for pictures with masks.

        Raises:
            RegionError: A region lies outside its image or is a mask track.
            FeatureError: The backbone takes no masks, or has no class token where one is asked for.
        """
        regions.require(self.accepts, "alpha-mask")
        backbone = scene.backbone
        if not len(regions):
            return RegionTokens.none(backbone.space)
        backbone.check_images(scene.images)
        known: dict[tuple[int, bytes], int] = {}
        waiting: list[_Pair] = []
        places: list[int] = []
        vectors: list[Tensor] = []
        for region, index in zip(regions.items, regions.image, strict=True):
            pair = self._pair(region, scene.images[index], backbone)
            key = pair.key(index)
            if key not in known:
                known[key] = len(known)
                waiting.append(pair)
            places.append(known[key])
            if len(waiting) == self.config.batch:
                vectors.append(self._vectors(backbone, waiting))
                waiting = []
        if waiting:
            vectors.append(self._vectors(backbone, waiting))
        return RegionTokens.single(torch.cat(vectors)[places], backbone.space)

    def attention(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, h, w): the weights of the patches in :meth:`encode`, each map summing to 1.

        Raises:
            RegionError: As :meth:`encode`.
            FeatureError: The token is ``cls``, which weighs no patches.
        """
        regions.require(self.accepts, "alpha-mask")
        if self.config.token == "cls":
            raise FeatureError(
                "alpha-mask with token 'cls' reads the class token alone and weighs no patches",
                "set region_encoder.token to patches",
            )
        if not len(regions):
            grid = scene.backbone.frame(scene.images[0].size).grid if scene.images else (0, 0)
            return torch.zeros(0, *grid)
        pairs = zip(regions.items, regions.image, strict=True)
        maps = [self._pair(region, scene.images[index], scene.backbone).weights for region, index in pairs]
        return torch.from_numpy(np.stack(maps)).float()

    def _pair(self, region: Region, image: Image.Image, backbone: Backbone) -> _Pair:
        """Draw the mask of a region, and weigh the patches where they are asked for."""
        frame = backbone.frame(image.size)
        if self.config.compat == "reference":
            unit = replace(frame, grid=(frame.size[1], frame.size[0]))  # a cell for each preprocessed pixel
            inside = released_cells(region, frame if self._by_patch(region) else unit)
            mask = _enlarged(inside, frame) if self._by_patch(region) else inside
            image = _framed(image, frame)
        else:
            mask = self._mask(region, image.size, frame)
        if self.config.token == "cls":
            return _Pair(image, mask, np.zeros(0))
        reference = self.config.compat == "reference"
        area = Rules(mask_rule="area")
        weights = released_cells(region, frame) * 1.0 if reference else patch_weights(Mask(mask), frame, area)
        return _Pair(image, mask, weights / weights.sum())

    def _by_patch(self, region: Region) -> bool:
        return self.config.marks_patches and isinstance(region, Point | Trace)

    def _mask(self, region: Region, size: tuple[int, int], frame: Frame) -> NDArray[np.bool_]:
        """Return the mask (height, width) of a region in pixels of the original picture."""
        if self._by_patch(region):
            return _cells(patch_weights(region, frame) > 0, frame)
        mask = region_mask(region, size)
        (left, top), (right, bottom) = (
            ((x + frame.offset[0]) / frame.scale[0], (y + frame.offset[1]) / frame.scale[1])
            for x, y in ((0, 0), frame.size)
        )
        seen = mask[max(math.floor(top), 0) : math.ceil(bottom), max(math.floor(left), 0) : math.ceil(right)]
        # What the crop cut away is asked about at the rim, as core's rule is for patches.
        return mask if seen.any() else _cells(patch_weights(region, frame) > 0, frame)

    def _vectors(self, backbone: Backbone, pairs: Sequence[_Pair]) -> Tensor:
        """Return one vector a pair, (n, d)."""
        features = backbone.encode_masked([pair.image for pair in pairs], [pair.mask for pair in pairs])
        features.check_finite(f"backbone '{type(backbone).__name__}'")
        if self.config.token == "patches":
            return _pooled(features, np.stack([pair.weights for pair in pairs]))
        if features.cls is None:
            raise FeatureError(
                "alpha-mask with token 'cls' needs a backbone with a class token, and this one has none",
                "set region_encoder.token to patches",
            )
        return features.cls


def released_cells(region: Region, frame: Frame) -> NDArray[np.bool_]:
    """Return the cells (rows, columns) of the frame's grid that the released code puts a region in.

    It knows boxes and traces; what it does not know takes every cell that the region touches.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    if isinstance(region, Patch):
        region = bounding_box(region, frame.image_size)
    if not isinstance(region, Box | BoxSet):
        return patch_weights(region, frame) > 0
    inside = np.zeros(frame.grid, dtype=np.bool_)
    for box in region.boxes if isinstance(region, BoxSet) else (region,):
        (left, right), (top, bottom) = _released_spans(bounding_box(box, frame.image_size), frame)
        inside[top:bottom, left:right] = True
    return inside


def _released_spans(box: Box, frame: Frame) -> list[tuple[int, int]]:
    """Return the columns and the rows of a box, ends excluded; x and y are clamped to the frame before w and h."""
    corner, spans = frame.to_frame(box.x1, box.y1), []
    for axis, extent in enumerate((box.x2 - box.x1, box.y2 - box.y1)):
        size, cell = frame.size[axis], frame.patch_size[axis]
        start = min(max(corner[axis], 0.0), size - 1.0)
        length = min(max(extent * frame.scale[axis], 0.0), size - start)
        first = min(math.floor(start / cell + _ROUNDING), frame.grid[1 - axis] - 1)
        spans.append((first, max(math.floor((start + length) / cell + _ROUNDING), first + 1)))
    return spans


def _framed(image: Image.Image, frame: Frame) -> Image.Image:
    """Return the preprocessed picture as one of its own, which preprocessing leaves as it is.

    Raises:
        FeatureError: The frame is neither a squash nor a square from the centre.
    """
    picture, bicubic = image.convert("RGB"), Image.Resampling.BICUBIC
    if frame == Frame.squash(frame.image_size, frame.size, frame.grid):
        return picture.resize(frame.size, bicubic)
    side = frame.size[0]
    readings: tuple[Literal["paper", "reference"], ...] = ("paper", "reference")
    if frame in [Frame.resize_crop(frame.image_size, side, side, frame.grid, one) for one in readings]:
        return cropped(picture, side, bicubic)
    raise FeatureError(
        "alpha-mask in compat 'reference' draws masks in the preprocessed picture, and this backbone's is neither a "
        "squash nor a square from the centre",
        "set region_encoder.compat to paper",
    )


def _enlarged(inside: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """Return cells of patches as pixels of the preprocessed picture."""
    (width, height), (rows, columns) = frame.patch_size, frame.grid
    down = np.minimum((np.arange(frame.size[1]) + 0.5) / height, rows - 1).astype(np.int64)
    across = np.minimum((np.arange(frame.size[0]) + 0.5) / width, columns - 1).astype(np.int64)
    return inside[np.ix_(down, across)]


def _cells(inside: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """Return cells of patches as pixels of the original picture, all that they touch."""
    width, height = frame.image_size
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in frame.cells()[inside]:
        top, left = (min(max(math.floor(edge + _ROUNDING), 0), most - 1) for edge, most in ((y1, height), (x1, width)))
        bottom, right = (max(math.ceil(edge - _ROUNDING), start + 1) for edge, start in ((y2, top), (x2, left)))
        mask[top:bottom, left:right] = True
    return mask


def _pooled(features: Features, weights: NDArray[np.float64]) -> Tensor:
    """Return the mean (n, d) of patches weighed by (n, h, w)."""
    patches = features.patches.flatten(1, 2)
    # In double precision, so that a vector does not depend on how many others are made with it.
    wide = patches.dtype if patches.device.type == "mps" else torch.float64
    rows = torch.from_numpy(weights).flatten(1).to(wide).to(patches.device)
    return (rows.unsqueeze(1) @ patches.to(wide)).squeeze(1).to(patches.dtype)
