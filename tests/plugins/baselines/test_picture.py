"""The encoder that hands regions on as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from regionkit.core.errors import ConfigError, RegionError
from regionkit.core.features import RegionViews, Scene
from regionkit.core.regions import Box, Mask, Regions, WholeImage
from regionkit.core.testing import GridBackbone, picture
from regionkit.core.visual_prompts import render
from regionkit.plugins.baselines.configs import PictureConfig
from regionkit.plugins.baselines.picture import Picture
from regionkit.registry.plan import plan_pipeline


def test_each_region_becomes_the_rendered_picture_of_its_own_image_without_a_run_of_the_backbone():
    images = [picture((50, 40), 1), picture((30, 60), 2)]
    regions = Regions((Box(3, 4, 20, 30), WholeImage(), Box(1, 1, 9, 50)), (0, 1, 1))
    backbone = GridBackbone()
    for style in ("whole", "crop", "circle", "box", "marked", "blur"):
        views = Picture(PictureConfig(style=style, width=2)).encode(Scene(images, backbone), regions)
        assert isinstance(views, RegionViews)
        for view, region, index in zip(views.pictures, regions.items, regions.image, strict=True):
            np.testing.assert_array_equal(view, render(images[index], region, style, width=2))
    assert backbone.forwards == 0


def test_notes_of_the_original_go_with_its_pictures():
    image = picture()
    image.info["regionkit"] = "mini-world"
    (view,) = Picture().encode(Scene([image], GridBackbone()), Regions((Box(1, 1, 9, 9),), (0,))).pictures
    assert view.info == {"regionkit": "mini-world"}


def test_no_regions_give_no_pictures_and_a_mask_of_another_size_is_refused():
    scene = Scene([picture()], GridBackbone())
    assert Picture().encode(scene, Regions((), ())).pictures == ()
    with pytest.raises(RegionError, match="a mask of 7 x 9 pixels does not fit"):
        Picture(PictureConfig(style="whole")).encode(scene, Regions((Mask(np.ones((9, 7), bool)),), (0,)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"width": 0}, "width: 0 must be 1 or more", id="width"),
        pytest.param({"radius": -1.0}, "radius: -1.0 must be 0 or more", id="radius"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        PictureConfig(**options)


def test_a_decoder_of_vectors_does_not_fit_behind_it():
    with pytest.raises(ConfigError, match="views"):
        plan_pipeline({"backbone": "mini-dense", "region_encoder": "picture", "bridge": "none", "decoder": "decap"})
