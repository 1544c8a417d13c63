"""Region encoders that look at whole pictures: the original, or what is cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone, RegionEncoder, iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.frames import crop_corner
from regionkit.core.geometry import bounding_box
from regionkit.core.regions import Region, Regions
from regionkit.core.spec import STILL_REGIONS
from regionkit.plugins.baselines.configs import CropConfig, Token, WholeConfig

PixelBox = tuple[int, int, int, int]

#: Longer side of a cut-out that is scaled whole, in multiples of what its frame shows.
_LONGEST = 16


class Whole(RegionEncoder):
    """Give every region the vector of its whole picture: what a captioner of images would say of it."""

    accepts = STILL_REGIONS

    def __init__(self, config: WholeConfig | None = None) -> None:
        self.config = config or WholeConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d).

        Raises:
            RegionError: A region lies outside its image, although its place is not used.
            FeatureError: ``token: cls`` and the backbone has no class token.
        """
        regions.require(self.accepts, "whole")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        for region, index in zip(regions.items, regions.image, strict=True):
            bounding_box(region, scene.images[index].size)
        vectors = picture_vectors(scene.features, self.config.token)
        return RegionTokens.single(vectors[torch.tensor(regions.image, device=vectors.device)], scene.backbone.space)


class Crop(RegionEncoder):
    """Cut each region out of the original picture and encode the cut-out as a picture of its own.

    Source: the crop rows of Bianchi et al., arXiv 2510.02898, and of the works they compare with.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: CropConfig | None = None) -> None:
        self.config = config or CropConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d); equal cut-outs are encoded once.

        Raises:
            RegionError: A region lies outside its image.
            FeatureError: ``token: cls`` and the backbone has no class token, or it produced NaN.
        """
        regions.require(self.accepts, "crop")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        scene.backbone.check_images(scene.images)
        wanted = [
            (index, pixel_box(region, scene.images[index].size, self.config.min_side))
            for region, index in zip(regions.items, regions.image, strict=True)
        ]

        def cut(place: int) -> Image.Image:
            index, box = wanted[place]
            crop = cut_out(scene.images[index], box)
            return fill_frame(crop, scene.backbone) if self.config.fit == "centre" else crop

        vectors = vectors_of_each(scene.backbone, wanted, cut, self.config.token, self.config.batch_size)
        return RegionTokens.single(vectors, scene.backbone.space)


def vectors_of_each(
    backbone: Backbone, keys: Sequence[Hashable], make: Callable[[int], Image.Image], token: Token, batch_size: int
) -> Tensor:
    """Return the vectors (r, d) of r pictures that are made one batch at a time; equal ones are encoded once.

    Args:
        backbone: Encodes them.
        keys: r keys, equal where the pictures are.
        make: Makes the picture of a place 0..r-1.
        token: Which vector of a picture is meant.
        batch_size: Pictures that are made and encoded together.

    Raises:
        FeatureError: ``token`` is ``cls`` and the backbone has no class token, or it produced NaN.
    """
    first: dict[Hashable, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    places, rows = list(first.values()), {key: row for row, key in enumerate(first)}
    parts = []
    for part in iter_batches(len(places), batch_size):
        features = backbone.encode([make(place) for place in places[part]])
        features.check_finite(f"backbone '{type(backbone).__name__}'")
        parts.append(picture_vectors(features, token))
    vectors = torch.cat(parts)
    return vectors[torch.tensor([rows[key] for key in keys], device=vectors.device)]


def picture_vectors(features: Features, token: Token) -> Tensor:
    """Return one vector a picture, (b, d): the class token or the mean of the patches.

    Raises:
        FeatureError: ``cls`` is asked for and there is none.
    """
    if token == "mean" or (token == "auto" and features.cls is None):
        return features.patches.mean((1, 2))
    if features.cls is None:
        raise FeatureError(
            "token 'cls' needs a backbone with a class token, and this one has none",
            "set region_encoder.token to mean or auto, or choose another backbone: "
            "toolkit list-components --kind backbone",
        )
    return features.cls


def pixel_box(region: Region, image_size: tuple[int, int], min_side: int = 1) -> PixelBox:
    """Return the box around a region in whole pixels, as Pillow rounds them, inside the image.

    Args:
        region: A still region.
        image_size: (width, height).
        min_side: Smallest width and height, as far as the image has that many pixels.
    """
    x1, y1, x2, y2 = bounding_box(region, image_size).corners
    left, right = _span(x1, x2, image_size[0], min_side)
    top, bottom = _span(y1, y2, image_size[1], min_side)
    return left, top, right, bottom


def _span(start: float, end: float, limit: int, least: int) -> tuple[int, int]:
    first, last = round(start), round(end)
    length = min(max(last - first, least), limit)
    if last - first < length:
        first = int((start + end - length) / 2 + 0.5) if length > 1 else int(start)
    first = min(max(first, 0), limit - length)
    return first, first + length


def cut_out(image: Image.Image, box: PixelBox) -> Image.Image:
    """Cut ``box`` out of a picture, whose notes (``info``) go with it."""
    cut = image.crop(box)
    cut.info = dict(image.info)
    return cut


def fill_frame(image: Image.Image, backbone: Backbone) -> Image.Image:
    """Scale a picture until it just fills the backbone's frame, and cut the middle out; long ends are lost."""
    width, height = backbone.frame(image.size).size
    image = _shortened(image, _LONGEST * max(width, height) / min(width, height))
    # Exactly the frame on the tighter side; the other is rounded down as torchvision does.
    if width * image.height >= height * image.width:
        scaled = (width, width * image.height // image.width)
    else:
        scaled = (height * image.width // image.height, height)
    left, top = crop_corner(scaled, (width, height))
    resized = image.resize(scaled, Image.Resampling.BICUBIC)
    return cut_out(resized, (left, top, left + width, top + height))


def _shortened(image: Image.Image, longest: float) -> Image.Image:
    """Take as much off both ends of a picture's longer side as leaves it ``longest`` times the shorter one, or more.

    All of it would be cut off after scaling: of a line of 4000 pixels, one high, that would be gigabytes.
    """
    excess = max(image.size) - int(longest * min(image.size))
    if excess < 2:
        return image
    ends = excess // 2
    left, top = (ends, 0) if image.width > image.height else (0, ends)
    return cut_out(image, (left, top, image.width - left, image.height - top))
