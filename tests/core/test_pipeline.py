"""A pipeline of the testing kit's parts: what comes back in which order, and what callers get wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.contracts import GapBridge, RegionEncoder
from regionkit.core.errors import FeatureError, ImageError, RegionError
from regionkit.core.features import RegionTokens
from regionkit.core.geometry import patch_weights
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Box, Point, Regions, WholeImage
from regionkit.core.testing import GridBackbone, NearestTextDecoder

COLOURS = ("red", "green", "blue", "white")


class Mean(RegionEncoder):
    def __init__(self, scale=1.0):
        self.scale = scale

    def encode(self, scene, regions):
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        features = scene.features
        rows = []
        for region, index in zip(regions.items, regions.image, strict=True):
            weights = patch_weights(region, features.frames[index])
            rows.append((features.patches[index] * features.patches.new_tensor(weights)[..., None]).mean((0, 1)))
        return RegionTokens.single(features.patches.new_tensor(np.stack(rows)) * self.scale, scene.backbone.space)


class Same(GapBridge):
    def bridge(self, tokens):
        return tokens


@pytest.fixture
def pipeline():
    backbone = GridBackbone()
    return Pipeline(backbone, Mean(), Same(), NearestTextDecoder(COLOURS, backbone.encode_text(COLOURS)))


def halves(left, right, size):
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def test_images_of_several_sizes_in_one_forward_pass(pipeline):
    images = [halves("red", "blue", (64, 48)), halves("green", "white", (40, 56)), halves("blue", "red", (32, 32))]
    regions = [[Box(40, 0, 64, 48), Point.at(1, 40)], [], [Box(0, 0, 8, 8)]]
    captions = pipeline.caption(images, regions)
    assert [[caption.text for caption in found] for found in captions] == [["blue", "red"], [], ["blue"]]
    assert pipeline.backbone.forwards == 1
    assert [caption.text for caption in pipeline.caption(images[0], regions[0])] == ["blue", "red"]


def test_nothing_to_caption_needs_no_forward(pipeline):
    image = Image.new("RGB", (8, 8))
    assert pipeline.caption(image, []) == []
    assert pipeline.caption([], []) == []
    assert pipeline.caption([image, image], [[], []]) == [[], []]
    assert pipeline.backbone.forwards == 0


def test_values_that_are_not_finite_name_the_encoder(pipeline):
    pipeline.region_encoder = Mean(scale=float("inf"))
    with pytest.raises(FeatureError, match="region encoder 'Mean' produced NaN or infinite values for region 0"):
        pipeline.caption(Image.new("RGB", (8, 8), "red"), [WholeImage()])


IMAGE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("images", "regions", "expected", "message"),
    [
        pytest.param(
            IMAGE,
            Box(0, 0, 2, 2),
            RegionError,
            "is expected, this is one region (box)",
            id="bare-region",
        ),
        pytest.param(IMAGE, [[WholeImage()]], RegionError, "[WholeImage()] is no region", id="nested-once-too-often"),
        pytest.param([IMAGE], [WholeImage()], RegionError, "is expected, this is one region (image)", id="flat"),
        pytest.param(IMAGE, [(0, 0, 2, 2)], RegionError, "(0, 0, 2, 2) is no region", id="tuple"),
        pytest.param([IMAGE], [[], []], RegionError, "1 images and 2 lists of regions", id="lists"),
        pytest.param("a.png", [], ImageError, "a picture is a PIL image, this one is a str", id="name"),
        pytest.param(Path("a.png"), [], ImageError, "a picture is a PIL image, this one is a PosixPath", id="path"),
        pytest.param(np.zeros((4, 4, 3)), [], ImageError, "this one is a ndarray\n  open files with", id="array"),
        pytest.param([IMAGE, "a.png"], [[], []], ImageError, "this one is a str", id="one-name"),
    ],
)
def test_mistakes_of_callers(pipeline, images, regions, expected, message):
    with pytest.raises(expected) as caught:
        pipeline.caption(images, regions)
    assert message in str(caught.value)


def test_every_region_has_an_image():
    with pytest.raises(ValueError, match="1 regions and 2 image indices"):
        Regions((WholeImage(),), (0, 1))
