"""The encoder that draws regions on their picture and encodes it as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regionkit.core.errors import FeatureError, ImageError, RegionError
from regionkit.core.features import Scene
from regionkit.core.regions import Box, Mask, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, check_region_encoder, picture
from regionkit.core.visual_prompts import render
from regionkit.plugins.baselines.configs import DrawnConfig
from regionkit.plugins.baselines.drawn import Drawn
from regionkit.registry.assembly import build

param = pytest.param


@pytest.mark.parametrize(
    "options",
    [
        param({}, id="circle"),
        param({"style": "box", "width": 3, "token": "mean", "batch_size": 2}, id="box"),
        param({"style": "blur", "radius": 2.0}, id="blur"),
        param({"min_side": 15}, id="widened"),
    ],
)
@pytest.mark.parametrize("backbone", [param({}, id="with-cls"), param({"cls": False, "grid": (3, 5)}, id="bare")])
def test_drawn_conforms(options, backbone):
    check_region_encoder(Drawn(DrawnConfig(**options)), GridBackbone(**backbone))


@pytest.mark.parametrize("style", ["circle", "box", "blur"])
@pytest.mark.parametrize("token", ["cls", "mean"])
def test_a_region_is_the_vector_of_the_whole_annotated_picture(style, token):
    backbone = GridBackbone()
    images = [picture((64, 48), 1), picture((30, 60), 2)]
    regions = Regions((Box(3.4, 4, 20, 30), Trace(((5, 5), (9, 50))), Point.at(40, 20)), (0, 1, 0))
    config = DrawnConfig(style=style, token=token, width=2, radius=3.0)
    vectors = Drawn(config).encode(Scene(images, backbone), regions).vectors()
    for vector, region, index in zip(vectors, regions.items, regions.image, strict=True):
        features = backbone.encode([render(images[index], region, style, width=2, radius=3.0)])
        wanted = features.cls[0] if token == "cls" else features.patches[0].mean((0, 1))
        assert torch.equal(vector, wanted)


def test_it_sees_the_whole_picture_and_not_the_crop():
    """A box far away from what changes: its vector changes, a crop's would not."""
    backbone = GridBackbone()
    plain = Image.new("RGB", (64, 48), "blue")
    other = plain.copy()
    other.paste("yellow", (40, 30, 60, 44))
    regions = Regions((Box(2, 2, 12, 12), Box(2, 2, 12, 12)), (0, 1))
    vectors = Drawn(DrawnConfig("box")).encode(Scene([plain, other], backbone), regions).vectors()
    assert (vectors[0] - vectors[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("size", "width", "lines"),
    [
        param((64, 48), 0, 1, id="at-least-one-pixel"),
        param((900, 400), 0, 4, id="a-hundredth-of-the-shorter-side"),
        param((900, 400), 7, 7, id="as-asked"),
    ],
)
def test_lines_scale_with_the_picture(size, width, lines):
    class Seen(GridBackbone):
        def encode(self, images):
            self.pictures = [*images]
            return super().encode(images)

    backbone = Seen()
    region = Box(10, 8, size[0] - 10, size[1] - 8)
    Drawn(DrawnConfig("box", width=width)).encode(Scene([Image.new("RGB", size)], backbone), Regions((region,), (0,)))
    row = np.asarray(backbone.pictures[0])[size[1] // 2, :, 0]
    assert np.flatnonzero(row[: size[0] // 2]).tolist() == list(range(10, 10 + lines))


def test_a_line_around_a_point_does_not_hide_it():
    image, region = Image.new("RGB", (64, 48), "blue"), Regions((Point.at(30, 20),), (0,))
    for least, hidden in ((1, True), (11, False)):
        encoder = Drawn(DrawnConfig("box", min_side=least))
        shown = encoder._draw(image, encoder._shown(region.items[0], image.size))
        assert (shown.getpixel((30, 20)) == (255, 0, 0)) is hidden
    assert shown.getpixel((25, 15)) == (255, 0, 0), "the box of 11 pixels lies around the point"


def mask_of(*box: int) -> Mask:
    bitmap = np.zeros((48, 64), dtype=bool)
    left, top, right, bottom = box
    bitmap[top:bottom, left:right] = True
    return Mask(bitmap)


@pytest.mark.parametrize(
    ("style", "passes"),
    [param("circle", 3, id="by-their-box"), param("blur", 4, id="by-their-pixels")],
)
def test_regions_that_are_drawn_alike_are_encoded_once_and_in_batches(style, passes):
    backbone = GridBackbone()
    hollow = Mask(mask_of(4, 4, 20, 20).bitmap & ~mask_of(8, 8, 12, 12).bitmap)
    mine = [Box(4, 4, 20, 20), mask_of(4, 4, 20, 20), Box(4, 4, 20, 20), hollow, WholeImage()]
    scene = Scene([picture((64, 48), 1), picture((64, 48), 2)], backbone)
    regions = Regions((*mine, Box(4, 4, 20, 20)), (0, 0, 0, 0, 0, 1))
    tokens = Drawn(DrawnConfig(style, batch_size=2, width=2)).encode(scene, regions).vectors()
    assert (backbone.encoded, backbone.forwards) == (passes, -(-passes // 2))
    assert torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens[0], tokens[2])
    assert torch.equal(tokens[0], tokens[3]) is (style == "circle")
    assert not torch.equal(tokens[0], tokens[5])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 55), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30)),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 4),
)
def test_each_region_is_what_it_is_alone_whatever_the_batch(boxes, batch_size):
    backbone, image = GridBackbone(), picture((64, 48), 3)
    regions = [Box(x, y, x + width, y + height) for x, y, width, height in boxes]
    encoder = Drawn(DrawnConfig("box", batch_size=batch_size, width=2))
    together = encoder.encode(Scene([image], backbone), Regions.of([regions])).vectors()
    for region, vector in zip(regions, together, strict=True):
        assert torch.equal(encoder.encode(Scene([image], backbone), Regions((region,), (0,))).vectors()[0], vector)


class Marked(GridBackbone):
    """Takes only pictures with its mark, as the mini backbones do."""

    def check_images(self, images):
        for image in images:
            if image.info.get("mark") != "mine":
                raise ImageError("this backbone knows only its own pictures")

    def encode(self, images):
        self.check_images(images)
        return super().encode(images)


@pytest.mark.parametrize("style", ["circle", "box", "blur"])
def test_annotated_pictures_carry_the_notes_of_their_original(style):
    image, regions = picture((64, 48)), Regions.of([[Box(0, 0, 30, 10), Point.at(3, 3)]])
    encoder = Drawn(DrawnConfig(style))
    with pytest.raises(ImageError, match="only its own pictures"):
        encoder.encode(Scene([image], Marked()), regions)
    image.info["mark"] = "mine"
    before = image.tobytes()
    assert len(encoder.encode(Scene([image], Marked()), regions)) == 2
    assert image.tobytes() == before


def test_a_backbone_of_the_mini_world_takes_them():
    backbone = build("backbone", "mini-clip")
    data = build("dataset", "mini")
    image = data.image(data.samples("image", "test", 0, 1)[0].image_id)
    tokens = Drawn(DrawnConfig()).encode(Scene([image], backbone), Regions((Box(8, 8, 40, 40),), (0,)))
    assert tokens.space == backbone.space
    tokens.check_finite("drawn")


def test_what_is_refused():
    scene = Scene([picture((64, 48))], GridBackbone(cls=False))
    with pytest.raises(RegionError, match="box 70,0,80,9 lies outside its image of 64 x 48 pixels"):
        Drawn().encode(scene, Regions.of([[Box(70, 0, 80, 9)]]))
    with pytest.raises(RegionError, match="a mask of 7 x 9 pixels does not fit"):
        Drawn().encode(scene, Regions((Mask(np.ones((9, 7), bool)),), (0,)))
    with pytest.raises(FeatureError, match="token 'cls' needs a backbone with a class token"):
        Drawn(DrawnConfig(token="cls")).encode(scene, Regions.of([[WholeImage()]]))
    assert Drawn().encode(scene, Regions((), ())).tokens.shape == (0, 1, 16)
    assert scene.backbone.encoded == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        param({"width": -1}, r"width: -1 must be 0 \(scales with the picture\) or more", id="width"),
        param({"radius": float("nan")}, "radius: nan must be 0 or more", id="radius"),
        param({"width": 10**12}, "width: 1000000000000 must be 0 .*, at most 10000", id="huge-width"),
        param({"style": "blur", "radius": 1e30}, "radius: 1e.30 must be 0 or more, at most 10000", id="huge-radius"),
        param({"min_side": 0}, "min_side: 0 must be 1 or more", id="min-side"),
        param({"batch_size": 0}, "batch_size: 0 must be 1 or more", id="batch"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        DrawnConfig(**options)
