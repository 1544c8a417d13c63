"""Which pixels a region is, what is cut out around it, and masks on the way through a backbone's preprocessing."""

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Regions, Trace, WholeImage
from regionkit.plugins.dam.configs import FocalPromptConfig, SiglipConfig
from regionkit.plugins.dam.focal_crop import pixels_of, tight_box, view_box, widened
from regionkit.plugins.dam.siglip import Siglip
from regionkit.plugins.dam.views import Pictures
from regionkit.registry.assembly import build

param = pytest.param
SIZE = (200, 100)


def crop(region, size=SIZE, **options):
    config = FocalPromptConfig(**options)
    return view_box(pixels_of(region, size, config.point_radius), config)


@pytest.mark.parametrize(
    ("region", "options", "wanted"),
    [
        param(Box(90, 40, 110, 60), {"min_side": 0}, (70, 20, 130, 80), id="three-times"),
        param(Box(90, 40, 110, 60), {"scale": 2.0, "min_side": 0}, (80, 30, 120, 70), id="two-times"),
        param(Box(90, 40, 111, 61), {"scale": 1.5, "min_side": 0}, (85, 35, 116, 66), id="one-and-a-half"),
        param(Box(90, 40, 110, 60), {"scale": 1.0, "min_side": 0}, (90, 40, 110, 60), id="scale-1-is-tight"),
        param(Box(98, 48, 102, 52), {}, (76, 26, 124, 74), id="paper-48-on-the-crop"),
        param(Box(98, 48, 102, 52), {"compat": "reference"}, (28, 0, 172, 100), id="released-48-before"),
        param(Box(98, 48, 102, 52), {"min_on": "base", "min_side": 10}, (85, 35, 115, 65), id="base-10"),
        param(Box(98, 48, 102, 52), {"crop": "context"}, (94, 44, 106, 56), id="context-has-no-minimum"),
        param(Box(0, 0, 4, 4), {}, (0, 0, 26, 26), id="corner-is-cut-not-moved"),
        param(Box(196, 96, 200, 100), {}, (174, 74, 200, 100), id="last-corner"),
        param(Box(0, 0, 1, 1), {"compat": "reference"}, (0, 0, 73, 73), id="truncated-towards-zero"),
        param(Box(90, 40, 110, 60), {"crop": "tight"}, (90, 40, 110, 60), id="tight"),
        param(Box(90, 40, 110, 60), {"crop": "full"}, (0, 0, 200, 100), id="full"),
        param(WholeImage(), {}, (0, 0, 200, 100), id="whole-image"),
        param(BoxSet((Box(10, 10, 12, 12), Box(50, 50, 60, 60))), {"crop": "tight"}, (10, 10, 60, 60), id="box-set"),
        param(Patch(1, 2, 2, 4), {"crop": "tight"}, (100, 50, 150, 100), id="patch"),
        param(Box(-30, -5, 10, 10), {"crop": "tight"}, (0, 0, 10, 10), id="box-partly-outside"),
        param(Box(10.6, 3.2, 11.1, 4), {"crop": "tight"}, (10, 3, 12, 4), id="every-touched-pixel"),
    ],
)
def test_local_views(region, options, wanted):
    assert crop(region, **options) == wanted


def test_a_point_becomes_a_disc_that_scales_with_the_picture():
    for size, radius in (((200, 100), 2), ((2000, 1000), 20), ((30, 20), 1)):
        x, y = size[0] // 2, size[1] // 2
        assert tight_box(pixels_of(Point.at(x, y), size, -1)) == (
            x - radius,
            y - radius,
            x + radius + 1,
            y + radius + 1,
        )
    assert pixels_of(Point.at(7.9, 3.2), SIZE, 0).sum() == 1
    assert pixels_of(Point.at(7.9, 3.2), SIZE, 0)[3, 7]
    assert pixels_of(Point.at(7.9, 3.2), SIZE, 0.5).sum() == 1
    assert pixels_of(Point.at(7.9, 3.2), SIZE, 1).sum() == 5


@pytest.mark.parametrize("radius", [0, 0.9, 1, 1.5, 2, 3.7, 40])
def test_discs_are_all_pixels_within_the_radius(radius):
    random = np.random.default_rng(3)
    mask = random.random((31, 23)) < 0.02
    mask[0, 0] = mask[30, 22] = True
    rows, columns = np.nonzero(mask)
    y, x = np.mgrid[:31, :23]
    near = (((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2) <= radius * radius).any(-1)
    assert np.array_equal(widened(mask, radius), near)


def test_a_trace_is_the_discs_of_its_points_inside_the_picture():
    trace = Trace(((-5.0, 3.0), (10.0, 50.0), (14.0, 50.0), (500.0, 3.0)))
    mask = pixels_of(trace, SIZE, 3)
    assert tight_box(mask) == (7, 47, 18, 54)
    assert np.array_equal(mask, pixels_of(Point(((10.0, 50.0), (14.0, 50.0))), SIZE, 3))


def test_other_regions_do_not_grow():
    for region in (Box(3, 4, 9, 8), WholeImage(), Patch(0, 0, 3, 3)):
        assert np.array_equal(pixels_of(region, SIZE, 50), pixels_of(region, SIZE, 0))


BACKBONES = {
    "squash": lambda: Siglip.build(
        SiglipConfig(resolution=45, patch=14, width=8, layers=1, heads=1, intermediate=8), BuildContext()
    ),
    "crop": lambda: build(
        "backbone",
        {"name": "clip", "weights": "none", "resolution": 64, "fit": "crop", "width": 64, "layers": 1, "dim": 16}
        | {"text_width": 64, "text_layers": 1, "vocabulary": 514},
    ),
}


@pytest.mark.parametrize(
    "size", [param((64, 48), id="wide"), param((33, 150), id="high"), param((3, 700), id="thread")]
)
@pytest.mark.parametrize("fit", BACKBONES)
def test_masks_are_preprocessed_as_the_backbone_does_pictures(fit, size):
    backbone = BACKBONES[fit]()
    bitmap = np.zeros(size[::-1], dtype=np.bool_)
    bitmap[size[1] // 3 : size[1] // 3 + 9, : max(1, size[0] // 2)] = True
    drawn = Image.fromarray(bitmap.astype(np.uint8) * 255).convert("RGB")
    views = Pictures([drawn], backbone, FocalPromptConfig()).whole([0], [bitmap])
    black, white = (backbone.preprocess([Image.new("RGB", size, word)])[0] for word in ("black", "white"))
    wanted = 2 * ((views.pixels - black) / (white - black))[:, :1] - 1
    assert views.masks.shape == wanted.shape
    assert torch.allclose(views.masks, wanted, atol=1e-4)
    assert set(views.masks.unique().tolist()) != {-1.0, 1.0}  # not rounded back to two values


def test_a_cropped_view_takes_its_mask_along():
    backbone = BACKBONES["squash"]()
    image = Image.new("RGB", (120, 90), "gray")
    regions = Regions.of([[Box(50, 40, 60, 50), Mask(np.ones((90, 120), dtype=np.bool_))]])
    taken = Pictures([image], backbone, FocalPromptConfig(min_side=0))
    local = taken.local(regions.image, taken.masks(regions))
    centre = local.masks[0, 0, 16:29, 16:29]
    assert bool((centre > 0.9).all())
    assert bool((local.masks[0, 0, :13] < -0.9).all())
    assert bool((local.masks[1] == 1).all())
