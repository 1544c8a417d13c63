"""Regions drawn on their picture, which is then encoded as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import numpy as np
from PIL import Image

from regionkit.core.contracts import RegionEncoder
from regionkit.core.features import RegionTokens, Scene
from regionkit.core.geometry import region_mask
from regionkit.core.regions import Box, Region, Regions
from regionkit.core.spec import STILL_REGIONS
from regionkit.core.visual_prompts import pixel_bounds, render
from regionkit.plugins.baselines.configs import DrawnConfig
from regionkit.plugins.baselines.encoders import pixel_box, vectors_of_each

#: Shorter side of a picture, in widths of a line that scales with it.
_LINES = 100


class Drawn(RegionEncoder):
    """Show a backbone of whole pictures where to look: the region ringed or framed in red, or all else blurred.

    Source of the styles: :mod:`regionkit.core.visual_prompts`; the circle is that of Shtedritski et al., arXiv
    2304.06712, who compare such pictures with sentences in CLIP's space.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: DrawnConfig | None = None) -> None:
        self.config = config or DrawnConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d); regions that are drawn alike are encoded once.

        Raises:
            RegionError: A region lies outside its image.
            FeatureError: ``token: cls`` and the backbone has no class token, or it produced NaN.
        """
        regions.require(self.accepts, "drawn")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        scene.backbone.check_images(scene.images)
        shown = [
            (index, self._shown(region, scene.images[index].size))
            for region, index in zip(regions.items, regions.image, strict=True)
        ]
        keys = [(index, self._key(region, scene.images[index].size)) for index, region in shown]

        def draw(place: int) -> Image.Image:
            index, region = shown[place]
            return self._draw(scene.images[index], region)

        vectors = vectors_of_each(scene.backbone, keys, draw, self.config.token, self.config.batch_size)
        return RegionTokens.single(vectors, scene.backbone.space)

    def _shown(self, region: Region, image_size: tuple[int, int]) -> Region:
        """Return what is drawn around: the region's box in whole pixels, or the region itself where that is kept."""
        bounds = Box(*pixel_bounds(region, image_size))  # refuses what lies outside, whatever the style
        return region if self.config.style == "blur" else Box(*pixel_box(bounds, image_size, self.config.min_side))

    def _key(self, region: Region, image_size: tuple[int, int]) -> Hashable:
        """Return what is equal for regions of a picture that are drawn alike."""
        if isinstance(region, Box) and self.config.style != "blur":
            return region.corners
        return hashlib.sha256(np.packbits(region_mask(region, image_size)).tobytes()).digest()

    def _draw(self, image: Image.Image, region: Region) -> Image.Image:
        width = self.config.width or max(1, round(min(image.size) / _LINES))
        drawn = render(image, region, self.config.style, width=width, radius=self.config.radius)
        drawn.info = dict(image.info)  # where a picture comes from, which tiny backbones ask for
        return drawn
