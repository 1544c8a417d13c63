"""The region encoder that hands backbones a mask: what becomes of each kind of region, in both readings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_family_layouts import write_alphaclip
from hypothesis import given, settings
from hypothesis import strategies as st
from official_layouts import context_of

from regionkit.core.errors import FeatureError, RegionError
from regionkit.core.features import Scene
from regionkit.core.frames import Frame
from regionkit.core.geometry import region_mask
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, MaskedBackbone, check_region_encoder, picture
from regionkit.plugins.patchioner.alpha_mask import AlphaMask, released_cells
from regionkit.plugins.patchioner.alpha_mask_config import AlphaMaskConfig
from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.alphaclip_layout import read_alphaclip

param = pytest.param
SIZE = (64, 48)


class Recording(MaskedBackbone):
    """Remembers the pairs that it was handed; its frame has 32 x 32 pixels in 4 x 4 patches."""

    def __init__(self, fit="squash"):
        super().__init__()
        self.fit = fit
        self.images, self.masks, self.calls = [], [], []

    def encode_masked(self, images, masks):
        self.images += images
        self.masks += [mask.copy() for mask in masks]
        self.calls.append(len(masks))
        return super().encode_masked(images, masks)


def encoder(**options):
    return AlphaMask(AlphaMaskConfig(**options))


def handed(region, size=SIZE, fit="squash", **options):
    """Return the picture and the mask that a backbone gets for a region."""
    backbone = Recording(fit)
    encoder(**options).encode(Scene([picture(size)], backbone), Regions((region,), (0,)))
    assert len(backbone.masks) == 1
    return backbone.images[0], backbone.masks[0]


def block(shape, rows, columns):
    mask = np.zeros(shape, dtype=np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


# ---------------------------------------------------------------- compat: paper


@pytest.mark.parametrize(
    "region",
    [
        param(Box(3.5, 4, 20, 30.2), id="box"),
        param(BoxSet((Box(0, 0, 10, 10), Box(5, 5, 30, 20))), id="box-set"),
        param(Mask(np.tri(48, 64, dtype=np.bool_)), id="mask"),
        param(Patch(1, 2, 3, 5), id="patch"),
        param(WholeImage(), id="image"),
    ],
)
def test_a_region_is_its_pixels_in_the_original(region):
    image, mask = handed(region)
    assert image.size == SIZE
    assert np.array_equal(mask, region_mask(region, SIZE))


@pytest.mark.parametrize(
    "region",
    [param(Point.at(20, 30), id="point"), param(Trace(((20.0, 30.0), (21.0, 31.0), (50.0, 5.0))), id="trace")],
)
def test_points_mark_the_patches_that_they_lie_in(region):
    """A patch is 16 x 12 pixels of this picture."""
    wanted = block((48, 64), (24, 36), (16, 32))
    if isinstance(region, Trace):
        wanted |= block((48, 64), (0, 12), (48, 64))
    assert np.array_equal(handed(region)[1], wanted)
    assert np.array_equal(handed(region, points="pixel")[1], region_mask(region, SIZE))


def test_what_the_crop_cut_away_is_asked_about_at_the_rim():
    """Of 96 x 32 pixels the crop shows columns 32 to 64; what lies left of it takes the nearest patches."""
    _, mask = handed(Box(0, 8, 20, 16), size=(96, 32), fit="crop")
    assert np.array_equal(mask, block((32, 96), (8, 16), (32, 40)))
    _, mask = handed(Box(0, 8, 40, 16), size=(96, 32), fit="crop")
    assert np.array_equal(mask, block((32, 96), (8, 16), (0, 40)))


# ---------------------------------------------------------------- compat: reference


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        param(Box(0, 0, 64, 48), (0, 32), (0, 32), id="whole"),
        param(Box(4, 6, 12, 18), (4, 12), (2, 6), id="even"),
        param(Box(5, 7, 12.9, 18.9), (4, 12), (2, 6), id="rounded-down"),
        param(Box(63, 47, 64, 48), (31, 32), (31, 32), id="last-pixel"),
        param(Box(10, 10, 11, 11), (6, 7), (5, 6), id="nothing-left"),
    ],
)
def test_released_boxes_end_before_floor_of_x_plus_w(box, rows, columns):
    """In 32 x 32 pixels of a frame, where x is halved and y is two thirds of it."""
    image, mask = handed(box, compat="reference")
    assert image.size == (32, 32)
    assert np.array_equal(mask, block((32, 32), rows, columns))
    assert np.array_equal(handed(BoxSet((box, box)), compat="reference")[1], mask)


def released_box(x, y, w, h, cells, cell):
    """The release's formula: int(x // P) up to int((x + w) // P), clamped to the grid, ends left out."""
    first = [max(0, min(int(at // cell), cells - 1)) for at in (x, y)]
    last = [max(0, min(int(at // cell), cells)) for at in (x + w, y + h)]
    mask = np.zeros((cells, cells), dtype=np.bool_)
    if last[0] > first[0] and last[1] > first[1]:
        mask[first[1] : last[1], first[0] : last[0]] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(0, 895)] * 4), st.sampled_from([1, 16]))
def test_boxes_are_those_of_the_released_formula(corners, cell):
    """On quarters of a pixel, which no rounding moves over an edge; where the release has nothing, one cell."""
    x, y = min(corners[0], corners[2]) / 4, min(corners[1], corners[3]) / 4
    w, h = abs(corners[0] - corners[2]) / 4 + 0.25, abs(corners[1] - corners[3]) / 4 + 0.25
    frame = Frame.squash((224, 224), (224, 224), (224 // cell, 224 // cell))
    mask = released_cells(Box(x, y, x + w, y + h), frame)
    wanted = released_box(x, y, w, h, 224 // cell, cell)
    if wanted.any():
        assert np.array_equal(mask, wanted)
    else:
        assert mask[int(y // cell), int(x // cell)]
        assert mask.any(0).sum() == 1 or mask.any(1).sum() == 1


def test_released_traces_are_one_pixel_a_point_of_the_frame():
    trace = Trace(((0.0, 0.0), (33.0, 25.0), (64.0, 48.0), (70.0, 10.0)))
    _, mask = handed(trace, compat="reference")
    assert np.argwhere(mask).tolist() == [[0, 0], [16, 16], [31, 31]]
    _, mask = handed(trace, compat="reference", points="patch")
    wanted = block((32, 32), (0, 8), (0, 8)) | block((32, 32), (16, 24), (16, 24)) | block((32, 32), (24, 32), (24, 32))
    assert np.array_equal(mask, wanted)


def test_whole_pictures_are_ones_and_what_the_release_has_no_masks_for_is_all_that_it_touches():
    assert handed(WholeImage(), compat="reference")[1].all()
    assert np.array_equal(handed(Patch(0, 1, 2, 2), compat="reference")[1], block((32, 32), (0, 16), (16, 32)))
    corner = Mask(block((48, 64), (47, 48), (63, 64)))
    assert np.argwhere(handed(corner, compat="reference")[1]).tolist() == [[31, 31]]


def test_a_crop_maps_boxes_and_traces_into_what_is_seen():
    """Of 96 x 32 pixels the frame shows columns 32 to 64; the release moves a box that starts left of it."""
    image, mask = handed(Box(40, 8, 50, 16), size=(96, 32), fit="crop", compat="reference")
    assert image.tobytes() == picture((96, 32)).crop((32, 0, 64, 32)).tobytes()
    assert np.array_equal(mask, block((32, 32), (8, 16), (8, 18)))
    _, mask = handed(Box(20, 8, 50, 16), size=(96, 32), fit="crop", compat="reference")
    assert np.array_equal(mask, block((32, 32), (8, 16), (0, 30)))
    _, mask = handed(Trace(((40.0, 8.0), (10.0, 8.0))), size=(96, 32), fit="crop", compat="reference")
    assert np.argwhere(mask).tolist() == [[8, 8]]


# ---------------------------------------------------------------- tokens


def test_the_token_is_the_class_token_of_the_masked_picture():
    backbone, image = MaskedBackbone(), picture(SIZE)
    box = Box(0, 0, 32, 48)
    tokens = encoder().encode(Scene([image], backbone), Regions((box,), (0,)))
    wanted = backbone.encode_masked([image], [region_mask(box, SIZE)])
    assert torch.equal(tokens.tokens[0, 0], wanted.cls[0])
    assert tokens.space == backbone.space


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        # Patches are 16 x 12 pixels: the box covers one row of them fully and half of the next, half a column beside.
        param({}, [[1, 0.5, 0, 0], [0.5, 0.25, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], id="paper-by-area"),
        param({"compat": "reference"}, [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], id="reference-floors"),
    ],
)
def test_the_mean_of_patches_is_weighed_by_the_mask(options, weights):
    backbone, image = Recording(), picture(SIZE)
    scene, regions = Scene([image], backbone), Regions((Box(0, 0, 24, 18),), (0,))
    made = encoder(token="patches", **options)
    vector = made.encode(scene, regions).tokens[0, 0]
    patches = MaskedBackbone().encode_masked(backbone.images, backbone.masks).patches[0].double()
    wanted = torch.tensor(weights, dtype=torch.float64)
    wanted = wanted / wanted.sum()
    torch.testing.assert_close(vector.double(), torch.einsum("hw,hwd->d", wanted, patches), rtol=0, atol=1e-6)
    torch.testing.assert_close(made.attention(scene, regions)[0].double(), wanted, rtol=0, atol=1e-6)


def test_the_class_token_weighs_no_patches_and_a_backbone_without_one_is_told_apart():
    scene, regions = Scene([picture()], MaskedBackbone()), Regions((WholeImage(),), (0,))
    with pytest.raises(FeatureError, match="alpha-mask with token 'cls' reads the class token alone") as error:
        encoder().attention(scene, regions)
    assert "set region_encoder.token to patches" in str(error.value)

    class Headless(MaskedBackbone):
        def encode_masked(self, images, masks):
            return replace(super().encode_masked(images, masks), cls=None)

    with pytest.raises(FeatureError, match="alpha-mask with token 'cls' needs a backbone with a class token"):
        encoder().encode(Scene([picture()], Headless()), regions)


# ---------------------------------------------------------------- forward passes


def test_equal_pairs_are_encoded_once_and_never_more_than_a_batch_at_a_time():
    backbone = Recording()
    box, other = Box(0, 0, 32, 24), Box(8, 8, 40, 40)
    first = [box, BoxSet((box, box)), Mask(region_mask(box, SIZE)), other, WholeImage()]
    regions = Regions.of([first, [box, WholeImage(), Box(0, 0, *SIZE)]])
    scene = Scene([picture(SIZE, 1), picture(SIZE, 2)], backbone)
    tokens = encoder(batch=2).encode(scene, regions).vectors()
    assert backbone.calls == [2, 2, 1]
    assert torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens[0], tokens[2])
    assert torch.equal(tokens[6], tokens[7])
    assert not torch.equal(tokens[0], tokens[5])
    assert backbone.encoded == 5  # no pass without a mask
    torch.testing.assert_close(tokens, encoder().encode(scene, regions).vectors(), rtol=0, atol=1e-6)


def test_regions_that_make_no_sense_are_refused():
    scene = Scene([picture(SIZE)], MaskedBackbone())
    for compat in ("paper", "reference"):
        made = encoder(compat=compat)
        for region in (Box(70, 0, 80, 10), Box(-4, -4, -1, -1), BoxSet((WHOLE, Box(70, 0, 80, 10)))):
            with pytest.raises(RegionError, match="lies outside its image of 64 x 48 pixels"):
                made.encode(scene, Regions((region,), (0,)))
        with pytest.raises(RegionError, match="mask-track"):
            made.encode(scene, Regions((MaskTrack((Mask(np.ones((48, 64), bool)), None)),), (0,)))


WHOLE = Box(0, 0, *SIZE)


def test_a_backbone_without_masks_says_so():
    with pytest.raises(FeatureError, match="backbone 'GridBackbone' takes no masks beside its pictures"):
        encoder().encode(Scene([picture()], GridBackbone()), Regions((WholeImage(),), (0,)))


@pytest.mark.parametrize(
    ("token", "compat", "fit"),
    [
        param("cls", "paper", "squash", id="paper"),
        param("patches", "paper", "crop", id="paper-patches-cropped"),
        param("cls", "reference", "crop", id="reference-cropped"),
        param("patches", "reference", "squash", id="reference-patches"),
    ],
)
def test_conforms(token, compat, fit):
    check_region_encoder(encoder(token=token, compat=compat), Recording(fit))


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_conforms_on_alphaclip(compat, tmp_path):
    files = write_alphaclip(tmp_path)
    config = AlphaClipConfig(resolution=64, compat=compat)
    backbone = AlphaClip.build(config, context_of(read_alphaclip(files, config), files))
    check_region_encoder(encoder(compat=compat), backbone)


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_the_released_picture_goes_through_the_network_as_it_would_without_a_detour(fit, compat, tmp_path):
    """In ``reference`` the picture is brought to the frame before the backbone sees it, for masks are drawn there."""
    files = write_alphaclip(tmp_path)
    config = AlphaClipConfig(resolution=64, fit=fit, compat=compat)
    backbone = AlphaClip.build(config, context_of(read_alphaclip(files, config), files))
    for image in (picture((101, 67), 4), picture((30, 71), 5), picture((64, 64), 6)):
        tokens = encoder(compat="reference").encode(Scene([image], backbone), Regions((WholeImage(),), (0,)))
        torch.testing.assert_close(tokens.tokens[0, 0], backbone.encode([image]).cls[0], rtol=0, atol=1e-6)


def test_a_frame_of_another_kind_is_refused_where_masks_are_drawn_in_it():
    class Padded(MaskedBackbone):
        def frame(self, image_size):
            return replace(super().frame(image_size), offset=(-4.0, 0.0))

    scene, regions = Scene([picture()], Padded()), Regions((WholeImage(),), (0,))
    with pytest.raises(FeatureError, match="this backbone's is neither a squash nor a square from the centre") as error:
        encoder(compat="reference").encode(scene, regions)
    assert "set region_encoder.compat to paper" in str(error.value)


def test_options_are_checked():
    with pytest.raises(ValueError, match="batch: 0 must be 1 or more"):
        AlphaMaskConfig(batch=0)
    assert AlphaMaskConfig().marks_patches
    assert not AlphaMaskConfig(compat="reference").marks_patches
    assert AlphaMaskConfig(compat="reference", points="patch").marks_patches
