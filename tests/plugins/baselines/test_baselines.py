"""The baselines: whole, crop and none."""

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, ImageError, PortError, RegionError
from regionkit.core.features import RegionTokens, Scene
from regionkit.core.frames import crop_corner, resized
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, check_bridge, check_region_encoder, picture
from regionkit.plugins.baselines.configs import CropConfig, UnbridgedConfig, WholeConfig
from regionkit.plugins.baselines.encoders import Crop, Whole, cut_out, fill_frame, pixel_box
from regionkit.plugins.baselines.unbridged import Unbridged

param = pytest.param


@pytest.mark.parametrize("token", ["auto", "cls", "mean"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_whole_conforms(token, fit):
    check_region_encoder(Whole(WholeConfig(token)), GridBackbone(fit=fit))


@pytest.mark.parametrize(
    "options",
    [
        param({}, id="default"),
        param({"fit": "squash", "token": "mean"}, id="squash-mean"),
        param({"min_side": 12, "batch_size": 2}, id="widened"),
    ],
)
@pytest.mark.parametrize("backbone", [param({}, id="with-cls"), param({"cls": False, "grid": (3, 5)}, id="bare")])
def test_crop_conforms(options, backbone):
    check_region_encoder(Crop(CropConfig(**options)), GridBackbone(**backbone))


def test_none_conforms():
    check_bridge(Unbridged(space="grid/text[16]"), writes="grid/text[16]")


def test_whole_gives_every_region_its_pictures_vector():
    backbone = GridBackbone()
    scene = Scene([picture(seed=1), picture(seed=2)], backbone)
    regions = Regions.of([[Box(0, 0, 9, 9)], [WholeImage(), Point.at(1, 1)]])
    assert torch.equal(Whole().encode(scene, regions).vectors(), scene.features.cls[[0, 1, 1]])
    means = Whole(WholeConfig("mean")).encode(scene, regions).vectors()
    assert torch.equal(means, scene.features.patches.mean((1, 2))[[0, 1, 1]])
    assert backbone.forwards == 1


@pytest.mark.parametrize("encoder", [Whole(WholeConfig("cls")), Crop(CropConfig(token="cls"))], ids=["whole", "crop"])
def test_no_class_token_where_one_is_asked_for(encoder):
    scene = Scene([picture()], GridBackbone(cls=False))
    with pytest.raises(FeatureError) as caught:
        encoder.encode(scene, Regions.of([[WholeImage()]]))
    assert str(caught.value) == (
        "token 'cls' needs a backbone with a class token, and this one has none\n"
        "  set region_encoder.token to mean or auto, or choose another backbone: "
        "toolkit list-components --kind backbone"
    )


@pytest.mark.parametrize("encoder", [Whole(), Crop()], ids=["whole", "crop"])
def test_regions_outside_are_refused(encoder):
    scene = Scene([picture((64, 48))], GridBackbone())
    with pytest.raises(RegionError, match="box 70,0,80,9 lies outside its image of 64 x 48 pixels"):
        encoder.encode(scene, Regions.of([[Box(70, 0, 80, 9)]]))


@pytest.mark.parametrize(
    ("region", "least", "box"),
    [
        param(Box(3.4, 5.6, 10.5, 20.4), 1, (3, 6, 10, 20), id="rounded-as-pillow-does"),
        param(Box(-9, -9, 999, 10), 1, (0, 0, 64, 10), id="clipped"),
        param(Box(5.1, 5.1, 5.2, 5.2), 1, (5, 5, 6, 6), id="at-least-a-pixel"),
        param(Box(63.9, 47.9, 64, 48), 1, (63, 47, 64, 48), id="last-pixel"),
        param(Point.at(30.5, 20.5), 1, (30, 20, 31, 21), id="point"),
        param(Point.at(30.5, 20.5), 11, (25, 15, 36, 26), id="point-widened"),
        param(Point.at(0, 48), 11, (0, 37, 11, 48), id="widened-into-the-image"),
        param(Box(0, 0, 10, 10), 500, (0, 0, 64, 48), id="no-more-than-there-is"),
        param(BoxSet((Box(1, 1, 3, 3), Box(20, 10, 30, 12))), 1, (1, 1, 30, 12), id="set"),
        param(Trace(((1, 1), (9.5, 4))), 1, (1, 1, 10, 5), id="trace"),
        param(Mask(np.pad(np.ones((4, 5), dtype=bool), ((2, 42), (3, 56)))), 1, (3, 2, 8, 6), id="mask"),
        param(Patch(0, 3, 4, 4), 1, (48, 0, 64, 12), id="patch"),
        param(WholeImage(), 1, (0, 0, 64, 48), id="image"),
    ],
)
def test_pixel_box(region, least, box):
    assert pixel_box(region, (64, 48), least) == box


def test_crop_is_the_class_token_of_the_cut_out():
    backbone = GridBackbone()
    image = picture((64, 48), seed=4)
    region = Box(5, 7, 45, 27)
    for fit in ("squash", "centre"):
        tokens = Crop(CropConfig(fit=fit)).encode(Scene([image], backbone), Regions.of([[region]]))
        cut = image.crop((5, 7, 45, 27))
        if fit == "centre":  # 40 x 20 scaled to 64 x 32, of which the middle 32 x 32 is left
            cut = cut.resize((64, 32), Image.Resampling.BICUBIC).crop((16, 0, 48, 32))
        assert torch.equal(tokens.vectors(), backbone.encode([cut]).cls)


def test_centre_loses_the_ends_of_long_boxes():
    image = Image.new("RGB", (90, 30), "blue")
    image.paste("red", (30, 0, 60, 30))
    filled = fill_frame(image, GridBackbone())
    assert filled.size == (32, 32)
    assert filled.getpixel((16, 16)) == (255, 0, 0)
    assert filled.getpixel((2, 16)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (33, 32), (7, 5)])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_a_filled_picture_has_the_frames_size(size, grid):
    backbone = GridBackbone(grid)
    assert fill_frame(picture(size), backbone).size == backbone.frame(size).size


class Marked(GridBackbone):
    """Takes only pictures with its mark, as the mini backbones do."""

    def check_images(self, images):
        for image in images:
            if image.info.get("mark") != "mine":
                raise ImageError("this backbone knows only its own pictures")

    def encode(self, images):
        self.check_images(images)
        return super().encode(images)


@pytest.mark.parametrize("fit", ["centre", "squash"])
def test_cut_outs_carry_the_notes_of_their_picture(fit):
    image = picture((64, 48))
    regions = Regions.of([[Box(0, 0, 30, 10), Point.at(3, 3)]])
    with pytest.raises(ImageError):
        Crop(CropConfig(fit=fit)).encode(Scene([image], Marked()), regions)
    image.info["mark"] = "mine"
    assert len(Crop(CropConfig(fit=fit)).encode(Scene([image], Marked()), regions)) == 2
    cut = cut_out(image, (0, 0, 3, 3))
    cut.info["mark"] = "changed"
    assert image.info["mark"] == "mine"


def test_equal_cut_outs_are_encoded_once_and_in_batches():
    backbone = GridBackbone()
    boxes = [Box(x, 0, x + 9, 9) for x in range(5)] * 2
    regions = Regions.of([boxes, boxes])
    tokens = Crop(CropConfig(batch_size=4)).encode(Scene([picture(seed=1), picture(seed=2)], backbone), regions)
    assert (backbone.encoded, backbone.forwards) == (10, 3)
    assert torch.equal(tokens.tokens[:5], tokens.tokens[5:10])
    assert not torch.equal(tokens.tokens[:5], tokens.tokens[10:15])


def test_no_region_needs_no_forward():
    backbone = GridBackbone()
    for encoder in (Whole(), Crop()):
        assert encoder.encode(Scene([picture()], backbone), Regions((), ())).tokens.shape == (0, 1, 16)
    assert backbone.forwards == 0


@pytest.mark.parametrize(("normalise", "length"), [(True, 1.0), (False, 8.0)])
def test_none_relabels_and_normalises(normalise, length):
    bridge = Unbridged.build(UnbridgedConfig(normalise), BuildContext(reads="a/image[16]", writes="a/text[16]"))
    tokens = RegionTokens.single(torch.full((3, 16), 2.0), "a/image[16]")
    out = bridge.bridge(tokens)
    torch.testing.assert_close(out.vectors().norm(dim=1), torch.full((3,), length))
    assert (out.space, tokens.space) == ("a/text[16]", "a/image[16]")
    assert UnbridgedConfig().corruption == "none"


def test_none_cannot_join_two_widths():
    with pytest.raises(PortError) as caught:
        Unbridged.build(UnbridgedConfig(), BuildContext(reads="a/image[768]", writes="a/text[512]"))
    assert str(caught.value) == (
        "bridge 'none' cannot join a/image[768] and a/text[512]: they differ in width\n"
        "  choose a bridge that changes the width: toolkit list-components --kind bridge"
    )


@pytest.mark.parametrize("option", ["min_side", "batch_size"])
def test_config_refuses(option):
    with pytest.raises(ValueError, match=f"{option}: 0 must be 1 or more"):
        CropConfig(**{option: 0})


@pytest.mark.parametrize("size", [(10, 85), (85, 10), (20, 170), (113, 49)])
def test_the_longer_side_is_rounded_down_as_the_frames_is(size):
    """224 / 10 * 85 is 1904, but int(85 * (224 / 10)) is 1903."""
    backbone, image = GridBackbone((28, 28)), picture(size)
    scaled = image.resize(resized(size, 224), Image.Resampling.BICUBIC)
    left, top = crop_corner(scaled.size, (224, 224))
    assert fill_frame(image, backbone).tobytes() == scaled.crop((left, top, left + 224, top + 224)).tobytes()


@pytest.mark.parametrize("size", [(30001, 1), (2, 40000)])
def test_a_line_is_not_scaled_as_a_whole(size, monkeypatch):
    image = Image.new("RGB", size, "blue")
    middle = tuple(side // 2 for side in size)
    image.paste("red", (max(middle[0] - 2, 0), max(middle[1] - 2, 0), middle[0] + 2, middle[1] + 2))
    made = []
    resize = Image.Image.resize

    def watched(self, wanted, *rest):
        made.append(wanted[0] * wanted[1])
        return resize(self, wanted, *rest)

    monkeypatch.setattr(Image.Image, "resize", watched)
    filled = fill_frame(image, GridBackbone())
    assert filled.size == (32, 32)
    assert filled.getpixel((16, 16))[0] > 200, "the middle is not in the middle"
    assert max(made) <= 17 * 32 * 32


def test_none_keeps_padding_of_half_precision_finite():
    tokens = RegionTokens(torch.zeros(1, 2, 16, dtype=torch.float16), torch.tensor([[True, False]]), "a/image[16]")
    tokens.tokens[0, 0] = 60000.0
    out = Unbridged().bridge(tokens).tokens
    assert out.dtype == torch.float16
    torch.testing.assert_close(out[0, :, 0], torch.tensor([0.25, 0.0], dtype=torch.float16))
