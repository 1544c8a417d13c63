"""The localized backbone: untrained it changes nothing, options do what they say, any vision transformer will do."""

import dataclasses

import numpy as np
import pytest
import torch
from dam_golden import focal_prompt, images, regions, scene, vision_tower
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionError, WeightsError
from regionkit.core.features import Scene
from regionkit.core.images import open_image, open_mask
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Regions, Trace, WholeImage
from regionkit.core.spec import Space
from regionkit.core.testing import GridBackbone, picture
from regionkit.core.testing.examples import example_regions
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.configs import FocalPromptConfig, SiglipConfig
from regionkit.plugins.dam.focal_crop import view_box
from regionkit.plugins.dam.focal_prompt import FocalPrompt, blocks_run
from regionkit.plugins.dam.siglip import Siglip
from regionkit.plugins.dam.views import Pictures
from regionkit.registry.assembly import build

param = pytest.param
SIZES = {"patch": 14, "width": 32, "heads": 2, "intermediate": 48}
BOX = Box(20, 10, 40, 30)


def tower(layers=3, side=42):
    return Siglip.build(SiglipConfig(resolution=side, layers=layers, **SIZES), BuildContext())


def made(backbone, seed=0, weights=None, **options):
    width = Space.parse(backbone.block_space).dim
    context = BuildContext(
        reads=backbone.block_space, writes=f"own[{width}]", backbone=backbone, seed=seed, weights=weights
    )
    return FocalPrompt.build(FocalPromptConfig(**options), context)


@torch.no_grad()
def plain(backbone, pictures, depth):
    """Return the patches of the plain backbone after some blocks."""
    pixels, frames = backbone.preprocess(pictures)
    tokens = backbone.embed(pixels)
    for block in list(backbone.blocks)[:depth]:
        tokens = block(tokens)
    return tokens[:, tokens.shape[1] - frames[0].grid[0] * frames[0].grid[1] :]


@torch.no_grad()
def tokens_of(encoder, backbone, pictures, items):
    return encoder.encode(Scene(pictures, backbone), Regions.of(items)).tokens


def stirred(encoder, seed=1):
    """Give gates and mask embedding values, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.startswith("mask_embedding") or name.endswith("_factor"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return encoder


BACKBONES = {
    "siglip": lambda: tower(),
    "clip": lambda: build("backbone", CLIP),
    "dinov2-talk2dino": lambda: build("backbone", TALK2DINO),
    "mini-vit": lambda: build("backbone", {"name": "mini-vit", "weights": "none", "force": True}),
}
TEXT = {"text_width": 64, "text_layers": 1, "vocabulary": 514, "weights": "none"}
CLIP = {"name": "clip", "resolution": 64, "width": 64, "layers": 3, "dim": 32, **TEXT}
TALK2DINO = {"name": "dinov2-talk2dino", "resolution": 56, "patch": 14, "width": 64, "layers": 3, "text_dim": 32} | TEXT


@pytest.fixture(scope="module", params=[param(name, id=name) for name in BACKBONES])
def backbone(request):
    return BACKBONES[request.param]()


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_untrained_it_gives_the_plain_hidden_states_of_any_backbone_exactly(backbone, compat):
    pictures = [picture((64, 48), 1), picture((50, 70), 2)]
    depth = len(backbone.blocks) - 1
    rounding = {"atol": 0.0} if compat == "paper" else {"atol": 0.05}
    whole = made(backbone, crop="full", context="none", compat=compat)
    same = tokens_of(whole, backbone, pictures, [[BOX], [WholeImage()]])
    assert torch.allclose(same, plain(backbone, pictures, depth), rtol=0, **rounding)
    crop = made(backbone, compat=compat, min_side=0)
    cut = [one.crop(view_box(_mask(BOX, one), crop.config)) for one in pictures]
    crossed = tokens_of(crop, backbone, pictures, [[BOX], [BOX]])
    assert torch.allclose(crossed, plain(backbone, cut, depth), rtol=0, **rounding)


def _mask(box, image):
    inside = np.zeros(image.size[::-1], dtype=np.bool_)
    inside[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] = True
    return inside


ROWS = [  # of the paper's Table 8, in its order: crop, context, tokens in multiples of the patches
    param("full", "none", 1, id="full-image-only"),
    param("tight", "none", 1, id="local-crop-only"),
    param("tight", "concat", 2, id="full-and-local-crop-concatenated"),
    param("tight", "cross-attention", 1, id="full-and-local-crop-cross-attention"),
    param("focal", "none", 1, id="focal-crop-only"),
    param("focal", "cross-attention", 1, id="full-and-focal-crop-cross-attention"),
]


@pytest.mark.parametrize(("crop", "context", "times"), ROWS)
def test_every_row_of_table_8_sees_what_it_should(crop, context, times):
    backbone = tower()
    encoder = stirred(made(backbone, crop=crop, context=context, min_side=24))
    image = picture((96, 80), 5)
    region = Box(8, 8, 20, 20)
    tokens = tokens_of(encoder, backbone, [image], [[region]])
    assert tokens.shape == (1, times * 9, 32)
    x1, y1, x2, y2 = view_box(_mask(region, image), encoder.config)
    assert (x1, y1, x2, y2) == {"full": (0, 0, 96, 80), "tight": (8, 8, 20, 20), "focal": (0, 0, 32, 32)}[crop]
    far = image.copy()
    far.paste((255, 0, 0), (70, 50, 90, 70))  # outside every crop
    moved = bool((tokens_of(encoder, backbone, [far], [[region]]) != tokens).any())
    assert moved == (crop == "full" or context != "none")


def test_masked_crops_are_black_outside_the_region():
    backbone = tower()
    encoder = made(backbone, crop="masked", context="none")
    image = picture((64, 48), 1)
    bitmap = np.zeros((48, 64), dtype=np.bool_)
    bitmap[10:30, 20:40] = True
    bitmap[12:20, 22:30] = False
    other = np.asarray(image).copy()
    other[~bitmap] = 200
    one = tokens_of(encoder, backbone, [image], [[Mask(bitmap)]])
    assert torch.equal(one, tokens_of(encoder, backbone, [Image.fromarray(other)], [[Mask(bitmap)]]))
    black = np.asarray(image) * bitmap[..., None]
    assert torch.equal(one, plain(backbone, [Image.fromarray(black.astype(np.uint8)).crop((20, 10, 40, 30))], 2))


def test_regions_of_many_pictures_in_one_batch_equal_each_alone_on_any_backbone(backbone):
    _check_batches(backbone, batch_size=16)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("context", ["cross-attention", "concat", "none"])
def test_regions_of_many_pictures_in_one_batch_equal_each_alone(batch_size, context):
    _check_batches(tower(), batch_size=batch_size, context=context)


def _check_batches(backbone, **options):
    encoder = stirred(made(backbone, min_side=8, **options))
    pictures = [picture((64, 48), 1), picture((40, 56), 2), picture((50, 50), 3)]
    items = [list(example_regions(one.size).values())[:-1] for one in pictures[:2]] + [[BOX]]
    together = tokens_of(encoder, backbone, pictures, items)
    singles = [
        tokens_of(encoder, backbone, [p], [[item]]) for p, some in zip(pictures, items, strict=True) for item in some
    ]
    assert torch.allclose(together, torch.cat(singles), atol=2e-5)


def test_pictures_are_preprocessed_once_and_equal_crops_too(monkeypatch):
    backbone = tower()
    seen = []
    original = Siglip.preprocess
    monkeypatch.setattr(Siglip, "preprocess", lambda self, some: seen.append(len(some)) or original(self, some))
    encoder = made(backbone, batch_size=2)
    tokens_of(encoder, backbone, [picture((64, 48), 1), picture((64, 48), 2)], [[BOX, BOX, Box(0, 0, 9, 9)], [BOX]])
    assert seen == [1, 1, 2, 1]  # the crop of two equal regions, their picture; two other crops, the second picture


def test_blocks_behind_the_selected_layer_are_not_run():
    backbone = tower(layers=4)
    ran = []
    for number, layer in enumerate(backbone.vision.encoder.layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    encoder = made(backbone, context="none", select_layer=-3)
    tokens_of(encoder, backbone, [picture()], [[BOX]])
    assert ran == [0, 1]
    assert len(made(backbone, select_layer=-3).adapters) == 2
    assert blocks_run(-1, 4) == 4
    assert blocks_run(0, 4) == 0


@pytest.mark.parametrize("gate", ["tanh", "scalar"])
def test_adapters_follow_the_paper_or_the_released_code(gate):
    encoder = stirred(made(tower(), gate=gate))
    adapter = encoder.adapters[0]
    h, z = torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    with torch.no_grad():
        a = adapter.cross_attn(adapter.layer_norm1(h), z)
        if gate == "tanh":  # eq. 6 and 7
            wanted = h + torch.tanh(adapter.attn_factor) * a
            wanted = wanted + torch.tanh(adapter.mlp_factor) * adapter.mlp(adapter.layer_norm2(h))
        else:
            wanted = h + adapter.attn_factor * a
            wanted = wanted + adapter.mlp_factor * adapter.mlp(adapter.layer_norm2(wanted))
        assert torch.allclose(adapter(h, z), wanted, atol=1e-6)
    assert FocalPromptConfig().form == "tanh"
    assert FocalPromptConfig(compat="reference").form == "scalar"
    assert FocalPromptConfig(compat="reference", gate="tanh").form == "tanh"


@pytest.mark.parametrize("context", ["cross-attention", "concat", "none"])
def test_gradients_reach_all_that_is_added_through_a_frozen_backbone(context):
    backbone = tower().requires_grad_(False)
    encoder = stirred(made(backbone, context=context, min_side=0)).train()
    tokens = encoder.encode(Scene([picture((64, 48))], backbone), Regions.of([[BOX, Point.at(30, 20)]])).tokens
    (tokens * torch.randn(tokens.shape)).sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert not without
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in encoder.parameters() if parameter.ndim > 1)
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_an_untrained_gate_learns_first():
    backbone = tower().requires_grad_(False)
    encoder = made(backbone)
    tokens = encoder.encode(Scene([picture((64, 48))], backbone), Regions.of([[BOX]])).tokens
    (tokens * torch.randn(tokens.shape)).sum().backward()
    assert all(float(adapter.attn_factor.grad.abs()) > 0 for adapter in encoder.adapters)
    assert float(encoder.mask_embedding.weight.grad.abs().sum()) > 0


def test_masked_attention_looks_at_the_region_alone():
    backbone = tower(side=56)
    encoder = stirred(made(backbone, masked_attention=True, crop="tight"))
    whole = _views_of(backbone, encoder, [Box(0, 0, 15, 15)], (56, 56))
    assert encoder._keep(whole, 16).int().reshape(4, 4).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert encoder._keep(whole, 17)[0, 0].item() is False  # a class token is no part of the region
    dot = Box(700, 700, 701, 701)
    lost = _views_of(backbone, encoder, [dot], (1500, 1500))
    assert bool(encoder._keep(lost, 16).all())  # a region that the small picture has lost: better all than none
    image = Image.new("RGB", (1500, 1500), "green")
    assert bool(tokens_of(encoder, backbone, [image], [[dot]]).isfinite().all())


def _views_of(backbone, encoder, items, size):
    taken = Pictures([Image.new("RGB", size, "green")], backbone, encoder.config)
    return taken.whole([0] * len(items), taken.masks(Regions.of([items])))


def test_identical_views_take_the_global_state_or_attend_to_themselves():
    backbone = tower()
    both = [stirred(made(backbone, identical_views=rule)) for rule in ("global", "regional")]
    image = picture((64, 48))
    plainly, attending = (tokens_of(one, backbone, [image], [[WholeImage(), BOX]]) for one in both)
    whole = stirred(made(backbone, crop="full", context="none"))
    assert torch.allclose(plainly[0], tokens_of(whole, backbone, [image], [[WholeImage()]])[0], atol=1e-5)
    assert not torch.allclose(plainly[0], attending[0], atol=1e-3)
    assert torch.allclose(plainly[1], attending[1], atol=1e-5)


def test_a_box_and_a_mask_of_the_same_pixels_are_one_region():
    backbone = tower()
    encoder = stirred(made(backbone))
    image = picture((64, 48))
    items = [BOX, Mask(_mask(BOX, image)), BoxSet((BOX, Box(25, 12, 30, 20))), Box(20.4, 10.2, 39.6, 29.9)]
    tokens = tokens_of(encoder, backbone, [image], [items])
    assert torch.allclose(tokens, tokens[:1].expand_as(tokens), atol=1e-6)
    patches = tokens_of(encoder, backbone, [image], [[Patch(1, 2, 4, 4), Box(32, 12, 48, 24)]])
    assert torch.allclose(patches[0], patches[1], atol=1e-6)


def test_weights_round_trip_with_their_options():
    backbone = tower()
    encoder = stirred(made(backbone, gate="scalar", crop="tight"))
    artifact = encoder.artifact()
    header = artifact.header
    assert (header.kind, header.name, header.space) == ("region_encoder", "focal-prompt", backbone.block_space)
    assert header.writes == "own[32]"
    assert header.config["heads"] == 2  # the backbone's
    assert header.config["intermediate"] == 128
    assert not {"weights", "batch_size"} & set(header.config)
    again = made(backbone, seed=7, weights=WeightFile("x", header, {}, lambda: artifact.tensors), **dict(header.config))
    image = picture((64, 48))
    assert torch.equal(tokens_of(encoder, backbone, [image], [[BOX]]), tokens_of(again, backbone, [image], [[BOX]]))
    with pytest.raises(WeightsError, match="they belong to a backbone of other sizes"):
        made(tower(layers=4), weights=WeightFile("x", header, {}, lambda: artifact.tensors), **dict(header.config))


def test_backbones_without_blocks_are_refused_with_what_to_do():
    grid = GridBackbone()
    with pytest.raises(FeatureError) as caught:
        FocalPrompt.build(FocalPromptConfig(), BuildContext(reads="a[16]", writes="b[16]", backbone=grid))
    assert str(caught.value) == (
        "focal-prompt works between the blocks of a backbone, and backbone 'GridBackbone' exposes none\n"
        "  choose a vision transformer that exposes its blocks: toolkit list-components --kind backbone"
    )
    backbone = tower()
    with pytest.raises(FeatureError, match="runs 2 blocks of its backbone, and 'GridBackbone' exposes 0"):
        tokens_of(made(backbone), grid, [picture()], [[BOX]])
    with pytest.raises(FeatureError, match="takes hidden state -5 of a backbone with 3 blocks"):
        made(backbone, select_layer=-5)
    with pytest.raises(FeatureError, match="5 heads do not share the backbone's width of 32 evenly"):
        made(backbone, heads=5)
    wider = Siglip.build(dataclasses.replace(backbone.config, width=64), BuildContext())
    with pytest.raises(FeatureError, match="build focal-prompt with the backbone that it is used with"):
        tokens_of(made(backbone), wider, [picture()], [[BOX]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"scale": 0.5}, "scale: 0.5 must be at least 1", id="scale"),
        param({"scale": float("nan")}, "scale: nan must be at least 1", id="scale-nan"),
        param({"min_side": -1}, "min_side: -1 must be 0", id="min-side"),
        param({"point_radius": -2}, "point_radius: -2 must be 0", id="radius"),
        param({"heads": -1}, "heads: -1 must be 0", id="heads"),
        param({"batch_size": 0}, "batch_size: 0 must be 1 or more", id="batch"),
    ],
)
def test_impossible_options(options, words):
    with pytest.raises(ValueError, match=words):
        FocalPromptConfig(**options)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        param(
            Mask(np.ones((10, 10), dtype=np.bool_)), "a mask of 10 x 10 pixels does not fit its image", id="mask-size"
        ),
        param(Box(70, 0, 80, 9), "lies outside its image of 64 x 48 pixels", id="box-outside"),
        param(Point.at(-3, 4), "lies outside its image", id="point-outside"),
    ],
)
def test_regions_that_cannot_be(region, words):
    backbone = tower()
    with pytest.raises(RegionError, match=words):
        tokens_of(made(backbone), backbone, [picture((64, 48))], [[region]])
    with pytest.raises(RegionError, match="a mask covers no pixel"):
        Mask(np.zeros((48, 64), dtype=np.bool_))


SMALLEST = [
    param(Box(63, 47, 64, 48), id="corner-box"),
    param(Point.at(64, 48), id="corner-point"),
    param(Point(tuple((float(i % 64), float(i % 48)) for i in range(10_000))), id="ten-thousand-points"),
    param(Trace(((-20.0, 5.0), (1.0, 1.0))), id="trace-partly-outside"),
    param(Patch(47, 63, 48, 64), id="one-pixel-patch"),
]


@pytest.mark.parametrize("region", SMALLEST)
@pytest.mark.parametrize("crop", ["focal", "context", "tight", "masked", "full"])
def test_regions_of_a_pixel_and_at_the_border(region, crop):
    backbone = tower()
    tokens = tokens_of(stirred(made(backbone, crop=crop)), backbone, [picture((64, 48))], [[region]])
    assert bool(tokens.isfinite().all())


@pytest.mark.parametrize("size", [param((1, 1), id="dot"), param((2, 3000), id="thread"), param((5000, 3), id="bar")])
def test_small_and_elongated_pictures_on_squashing_and_cropping_backbones(backbone, size):
    width, height = size
    region = Box(0, height / 3, width, max(height / 2, height / 3 + 0.5))
    tokens = tokens_of(stirred(made(backbone)), backbone, [picture(size)], [[region, WholeImage(), Point.at(0, 0)]])
    assert bool(tokens.isfinite().all())
    if hasattr(backbone.frame(size), "offset") and type(backbone).__name__ == "Clip":
        cropping = build("backbone", {**CLIP, "fit": "crop"})
        tokens = tokens_of(stirred(made(cropping)), cropping, [picture(size)], [[region, WholeImage()]])
        assert bool(tokens.isfinite().all())


@pytest.mark.parametrize("mode", [param(mode, id=mode) for mode in ("1", "L", "P", "RGBA", "LA")])
def test_pictures_of_any_mode_are_converted_to_rgb_before_they_are_cropped(mode):
    backbone = tower()
    encoder = stirred(made(backbone))
    odd = picture((64, 48)).convert("L").convert(mode) if mode == "LA" else picture((64, 48)).convert(mode)
    if "A" in mode:
        odd.putalpha(Image.linear_gradient("L").resize((64, 48)))  # partly transparent: the colour counts
    plainly = tokens_of(encoder, backbone, [odd.convert("RGB")], [[BOX]])
    assert torch.equal(tokens_of(encoder, backbone, [odd], [[BOX]]), plainly)


@pytest.mark.parametrize("mode", [param(mode, id=mode) for mode in ("1", "L", "P", "RGBA")])
def test_mask_files_of_any_mode_are_one_region(tmp_path, mode):
    inside = np.zeros((48, 64), dtype=np.uint8)
    inside[10:30, 20:40] = 255
    drawn = Image.fromarray(inside)
    if mode == "RGBA":
        file = Image.new("RGBA", (64, 48), (255, 255, 255, 0))
        file.putalpha(drawn)
    else:
        file = drawn.convert(mode)
    file.save(tmp_path / "mask.png")
    backbone = tower()
    encoder = stirred(made(backbone))
    image = picture((64, 48))
    one = tokens_of(encoder, backbone, [image], [[Mask(open_mask(tmp_path / "mask.png"))]])
    assert torch.equal(one, tokens_of(encoder, backbone, [image], [[BOX]]))


def test_pictures_turned_by_exif_are_upright_before_regions_are_read(tmp_path):
    upright = picture((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # the file is to be turned a quarter to the right
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    backbone = tower()
    encoder = stirred(made(backbone))
    turned = open_image(tmp_path / "turned.png")
    assert turned.size == (64, 48)
    assert torch.equal(
        tokens_of(encoder, backbone, [turned], [[BOX]]), tokens_of(encoder, backbone, [upright], [[BOX]])
    )


def test_golden_weights_do_not_depend_on_the_size_of_a_batch():
    backbone = vision_tower()
    one, all_ = (focal_prompt(backbone, batch_size=size) for size in (1, 16))
    with torch.no_grad():
        assert torch.allclose(
            one.encode(scene(backbone), regions()).tokens, all_.encode(scene(backbone), regions()).tokens, atol=1e-5
        )
    assert len(images()) == 4
