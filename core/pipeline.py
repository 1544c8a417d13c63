"""A captioner: four parts in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from PIL import Image

from regionkit.core.compute import device_of, fast_products
from regionkit.core.contracts import Backbone, Decoder, GapBridge, RegionEncoder
from regionkit.core.errors import ImageError, RegionError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.regions import Region, Regions
from regionkit.core.seams import bridged, captions, encoded


class Pipeline:
    """Captions regions of images with a backbone, a region encoder, a bridge and a decoder.

    ``regionkit.registry.load`` assembles one by name and checks that the parts fit; built by hand, parts are trusted to
    fit. What parts hand on is checked in either case, see ``regionkit.core.seams``.

    Example:
        >>> from regionkit.registry import load
        >>> from regionkit.core.regions import Box
        >>> load("mini").caption(image, [Box(8, 8, 60, 60)])  # doctest: +SKIP
    """

    def __init__(self, backbone: Backbone, region_encoder: RegionEncoder, bridge: GapBridge, decoder: Decoder) -> None:
        self.backbone = backbone
        self.region_encoder = region_encoder
        self.bridge = bridge
        self.decoder = decoder

    @overload
    def caption(
        self,
        images: Image.Image,
        regions: Sequence[Region],
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption]: ...

    @overload
    def caption(
        self,
        images: Sequence[Image.Image],
        regions: Sequence[Sequence[Region]],
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[list[Caption]]: ...

    def caption(
        self,
        images: Image.Image | Sequence[Image.Image],
        regions: Sequence[Region] | Sequence[Sequence[Region]],
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption] | list[list[Caption]]:
        """Caption every region; all regions of all images share one forward pass of the backbone.

        Args:
            images: One picture, or b pictures.
            regions: The regions of that picture, or b lists of regions, in pixels of the original images.
            prompt: Passed to decoders that take one.
            options: How captions are written: longest length, beams, samples; greedily by default. A decoder refuses
                what it cannot do. Of samples, regions are numbered through all images of the call.

        Returns:
            One caption a region: a list for one picture, a list of lists for b pictures.

        Raises:
            RegionError: A region lies outside its image, or is of a kind that the region encoder does not take.
            ImageError: What is given as a picture is none.
            FeatureError: A part handed on what its contract does not allow; the message names it.
        """
        if isinstance(images, Image.Image):
            flat = Regions.of([regions])  # type: ignore[list-item]
            return self.caption_scene(Scene([images], self.backbone), flat, prompt, options)
        several = isinstance(images, Sequence) and not isinstance(images, str)
        strangers = [image for image in (images if several else [images]) if not isinstance(image, Image.Image)]
        if strangers:
            raise ImageError(
                f"a picture is a PIL image, this one is a {type(strangers[0]).__name__}",
                "open files with regionkit.core.images.open_image, arrays with PIL.Image.fromarray",
            )
        if len(images) != len(regions):
            raise RegionError(
                f"{len(images)} images and {len(regions)} lists of regions", "give one list of regions for each image"
            )
        flat = Regions.of(regions)  # type: ignore[arg-type]
        found = self.caption_scene(Scene(images, self.backbone), flat, prompt, options)
        nested: list[list[Caption]] = [[] for _ in images]
        for index, caption in zip(flat.image, found, strict=True):
            nested[index].append(caption)
        return nested

    @torch.inference_mode()
    def caption_scene(
        self,
        scene: Scene,
        regions: Regions,
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption]:
        """Caption the regions of a scene, whose features may have been computed before."""
        if not len(regions):
            return []
        with fast_products(device_of(self.decoder)):
            return captions(self.decoder, self.inputs(scene, regions), prompt, options)

    def inputs(self, scene: Scene, regions: Regions) -> RegionTokens | RegionViews:
        """Return what the decoder reads: encoded and bridged regions."""
        found = encoded(self.region_encoder, scene, regions)
        return found if isinstance(found, RegionViews) else bridged(self.bridge, found)
