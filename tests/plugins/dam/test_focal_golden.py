"""Focal crops, preprocessing, localized backbone and projector against the unmodified reference package."""

import hashlib
import json

import numpy as np
import pytest
import torch
from dam_golden import (
    ROWS,
    SMALL,
    focal_prompt,
    images,
    masks,
    outputs,
    projector,
    regions,
    scene,
    shared,
    vision_tower,
)
from safetensors.torch import load_file

from regionkit.core.features import RegionTokens
from regionkit.core.images import open_image, open_mask
from regionkit.core.regions import Box, Regions
from regionkit.plugins.dam.configs import FocalPromptConfig, SiglipConfig
from regionkit.plugins.dam.focal_crop import view_box
from regionkit.plugins.dam.projector import merged
from regionkit.plugins.dam.siglip import Siglip
from regionkit.plugins.dam.views import Pictures, Views

param = pytest.param
BOXES = json.loads((SMALL / "focal_crop_boxes.json").read_text())
HASHES = json.loads((SMALL / "preprocess_sha256.json").read_text())
REFERENCE = FocalPromptConfig(compat="reference")
# The tests ask for 1e-4; what is left is rounding.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def tower():
    return vision_tower()


@pytest.fixture(scope="module")
def encoder(tower):
    return focal_prompt(tower)


def crop_of(row, **options):
    mask = np.zeros((row["H"], row["W"]), dtype=np.bool_)
    x, y, width, height = row["mask_box_xywh"]
    mask[y : y + height, x : x + width] = True
    return list(view_box(mask, FocalPromptConfig(**options)))


@pytest.mark.parametrize(
    ("golden", "options"),
    [
        param("focal_crop_xyxy", {"compat": "reference"}, id="focal"),
        param("focal_crop_xyxy", {"min_on": "base"}, id="focal-by-option"),
        param("context_crop_xyxy", {"crop": "context"}, id="context-paper"),
        param("context_crop_xyxy", {"crop": "context", "compat": "reference"}, id="context-reference"),
        param("crop_xyxy", {"crop": "tight"}, id="tight"),
        param("crop_xyxy", {"crop": "masked"}, id="masked"),
    ],
)
def test_all_crops_of_the_reference(golden, options):
    assert len(BOXES) == 204
    wrong = [row["tag"] for row in BOXES if crop_of(row, **options) != row[golden]]
    assert not wrong


def test_the_papers_minimum_differs_from_the_released_codes_on_148_rows():
    assert sum(crop_of(row) != row["focal_crop_xyxy"] for row in BOXES) == 148


def views_of(backbone, config, pictures, bitmaps, boxes=None):
    places = tuple(range(len(pictures)))
    taken = Pictures(pictures, backbone, config)
    whole, local = taken.whole(places, bitmaps), taken.local(places, bitmaps)
    return torch.cat([whole.pixels, whole.masks, local.pixels, local.masks], dim=1)


def small_tower(side):
    return Siglip(SiglipConfig(resolution=side, patch=14, width=16, layers=1, heads=1, intermediate=16))


@pytest.mark.parametrize("key", [param(key, id=key) for key in HASHES])
def test_preprocessed_views_are_those_of_the_reference_to_the_bit(key):
    row, side = key.rsplit("_", 1)
    picture, mask = open_image(SMALL / f"{row}_image.png"), open_mask(SMALL / f"{row}_mask.png")
    tensor = views_of(small_tower(int(side)), REFERENCE, [picture], [mask]).half()
    assert tensor.shape == (1, 8, int(side), int(side))
    assert hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() == HASHES[key]


def test_preprocessed_views_value_by_value():
    tensors = load_file(shared("preprocess/tensors_fp16.safetensors"))
    for key in ("a_384", "b_small_84", "c_edge_70", "d_fullmask_84"):
        row, side = key.rsplit("_", 1)
        folder = shared("preprocess")
        picture, mask = open_image(folder / f"{row}_image.png"), open_mask(folder / f"{row}_mask.png")
        assert torch.equal(views_of(small_tower(int(side)), REFERENCE, [picture], [mask]).half(), tensors[key]), key


def test_rounding_to_half_precision_is_of_compat_reference_alone():
    tower = small_tower(70)
    rounded, exact = (views_of(tower, config, images(), masks()) for config in (REFERENCE, FocalPromptConfig()))
    assert torch.equal(rounded, rounded.half().float())
    assert not torch.equal(exact[:, :4], rounded[:, :4])
    assert torch.allclose(exact[:, :4], rounded[:, :4], atol=1e-3)


@torch.no_grad()
def test_global_state_is_the_references_z(tower, encoder):
    whole = Pictures(images(), tower, encoder.config).whole(range(4), masks())
    assert torch.allclose(encoder.global_state(tower, whole), outputs()["z_full"], atol=TOLERANCE)


@torch.no_grad()
def test_regional_state_is_the_references_z_prime(tower):
    encoder = focal_prompt(tower, identical_views="regional")
    tokens = encoder.encode(scene(tower), regions()).tokens
    assert torch.allclose(tokens, outputs()["zprime_all_treated_as_cimage"], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("golden", "options"),
    [
        param("llm_image_features", {}, id="released-default"),
        param("llm_image_features_treat_image_as_cimage", {"identical_views": "regional"}, id="treat-image-as-crop"),
        param("llm_image_features_masked_cross_attn", {"masked_attention": True}, id="masked-cross-attention"),
    ],
)
@torch.no_grad()
def test_projected_tokens_are_the_references(tower, golden, options):
    tokens = focal_prompt(tower, **options).encode(scene(tower), regions())
    projected = projector(tokens.space).bridge(tokens)
    assert projected.tokens.shape == (4, 9, 48)
    assert torch.allclose(projected.tokens, outputs()[golden], atol=TOLERANCE)


@torch.no_grad()
def test_projector_of_z():
    space = "golden/blocks[64]"
    z = outputs()["z_full"]
    tokens = RegionTokens(z, torch.ones(z.shape[:2], dtype=torch.bool), space)
    assert torch.allclose(projector(space).bridge(tokens).tokens, outputs()["projector_of_z"], atol=TOLERANCE)


@pytest.mark.parametrize("side", [param(5, id="5x5"), param(6, id="6x6"), param(27, id="27x27")])
def test_order_of_merged_tokens(side):
    numbered = torch.arange(1.0, side * side + 1).reshape(1, side * side, 1)
    assert torch.equal(merged(numbered).int(), outputs()[f"order_{side}x{side}"])


@torch.no_grad()
def test_a_region_that_covers_its_picture_takes_the_global_state(tower, encoder):
    row = ROWS.index("d_fullmask")
    tokens = encoder.encode(scene(tower), regions()).tokens
    assert torch.allclose(tokens[row], outputs()["z_full"][row], atol=TOLERANCE)
    assert not torch.allclose(tokens[row], outputs()["zprime_all_treated_as_cimage"][row], atol=1e-3)
    width, height = images()[row].size
    box = encoder.encode(scene(tower), Regions((Box(0, 0, width, height),), (row,))).tokens
    assert torch.equal(box[0], tokens[row])


@torch.no_grad()
def test_every_hidden_state_of_both_views():
    whole_model = shared("vision/weights.safetensors")
    golden = load_file(shared("vision/outputs.safetensors"))
    tower = vision_tower(whole_model)
    frames = tuple(tower.frame(picture.size) for picture in images())
    whole = Views(golden["images"][:, :3], golden["images"][:, 3:4], frames)
    local = Views(golden["images"][:, 4:7], golden["images"][:, 7:], frames)
    for layer in range(4):
        encoder = focal_prompt(tower, whole_model, select_layer=layer)
        assert torch.allclose(encoder.global_state(tower, whole), golden[f"global_hidden_{layer}"], atol=TOLERANCE)
        regional = encoder.regional_state(tower, local, golden["z_full"], whole)
        assert torch.allclose(regional, golden[f"regional_hidden_{layer}"], atol=TOLERANCE)
