"""Regions as pictures, for decoders that look for themselves."""

from __future__ import annotations

from PIL import Image

from regionkit.core.contracts import RegionEncoder
from regionkit.core.features import RegionViews, Scene
from regionkit.core.regions import Region, Regions
from regionkit.core.spec import STILL_REGIONS
from regionkit.core.visual_prompts import render
from regionkit.plugins.baselines.configs import PictureConfig


class Picture(RegionEncoder):
    """Hand each region on as a picture: whole, cut out, ringed in red, framed, or sharp in a blurred picture.

    The backbone never runs; only what it refuses to look at is refused here too.
    Source of the styles: :mod:`regionkit.core.visual_prompts`.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: PictureConfig | None = None) -> None:
        self.config = config or PictureConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionViews:
        """Return one RGB picture a region, with the notes (``info``) of its original.

        Raises:
            RegionError: A region lies outside its image, whatever the style.
            ImageError: The backbone refuses a picture.
        """
        regions.require(self.accepts, "picture")
        if not len(regions):
            return RegionViews(())
        scene.backbone.check_images(scene.images)
        return RegionViews(
            tuple(
                self._draw(scene.images[index], region)
                for region, index in zip(regions.items, regions.image, strict=True)
            )
        )

    def _draw(self, image: Image.Image, region: Region) -> Image.Image:
        drawn = render(image, region, self.config.style, width=self.config.width, radius=self.config.radius)
        drawn.info = dict(image.info)  # where a picture comes from, which tiny backbones ask for
        return drawn
