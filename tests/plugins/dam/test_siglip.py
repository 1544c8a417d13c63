"""The vision tower: transformers' own numbers, every layout it is released in, what is refused."""

import dataclasses
import json

import pytest
import torch
from dam_golden import release_in, vision_tower
from safetensors.torch import save_file
from transformers import SiglipConfig as HubConfig
from transformers import SiglipModel, SiglipVisionConfig, SiglipVisionModel

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.testing import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.configs import SiglipConfig, siglip_ports
from regionkit.plugins.dam.siglip import Siglip
from regionkit.plugins.dam.siglip_layout import read_siglip
from regionkit.registry.assembly import build

param = pytest.param
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 45,
    "patch_size": 14,
}
PICTURES = [picture((64, 48), 1), picture((31, 90), 2)]


def hub_tower(**more):
    torch.manual_seed(0)
    return SiglipVisionModel(SiglipVisionConfig(**{**SIZES, **more})).eval()


def read(path, **options):
    artifact = read_siglip({"vision": path}, SiglipConfig(**options))
    config = dataclasses.replace(SiglipConfig(), **artifact.header.config)
    return Siglip.build(config, BuildContext(weights=WeightFile(path, artifact.header, {}, lambda: artifact.tensors)))


def bare(tensors, prefix=""):
    """Return a tower's tensors under the names that every version of transformers makes of them, with a prefix."""
    return {prefix + name.removeprefix("vision_model."): tensor.contiguous() for name, tensor in tensors.items()}


def folder_of(place, tensors, said):
    place.mkdir()
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    if said is not None:
        (place / "config.json").write_text(json.dumps(said))
    return place


@torch.no_grad()
def hub_patches(tower, backbone):
    pixels, _ = backbone.preprocess(PICTURES)
    return tower(pixels).last_hidden_state


@pytest.mark.parametrize(
    "prefix",
    [
        param("", id="flat"),
        param("vision_model.", id="vision-model"),
        param("vision_tower.vision_tower.vision_model.", id="of-a-whole-captioner"),
    ],
)
def test_patches_are_those_of_transformers_in_every_layout(tmp_path, prefix):
    tower = hub_tower()
    backbone = read(folder_of(tmp_path / "tower", bare(tower.state_dict(), prefix), SIZES))
    features = backbone.encode(PICTURES)
    assert features.patches.shape == (2, 3, 3, 32)
    assert torch.allclose(features.patches.flatten(1, 2), hub_patches(tower, backbone), atol=1e-6)
    assert backbone.space == "siglip-32x2-patch14-45/image[32]"
    assert backbone.block_space == "siglip-32x2-patch14-45/blocks[32]"


def test_a_whole_siglip_gives_its_tower_with_transformers_default_heads(tmp_path):
    vision = {"hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "image_size": 32, "patch_size": 16}
    text = {"hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "vocab_size": 99}
    torch.manual_seed(0)
    model = SiglipModel(HubConfig(vision_config=vision, text_config={**text, "num_attention_heads": 4})).eval()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    backbone = read(folder_of(tmp_path / "whole", tensors, {"model_type": "siglip", "vision_config": vision}))
    assert backbone.config.heads == 12
    with torch.no_grad():
        pixels, _ = backbone.preprocess(PICTURES)
        wanted = model.vision_model(pixels).last_hidden_state
    assert torch.allclose(backbone.encode(PICTURES).patches.flatten(1, 2), wanted, atol=1e-6)


def test_embed_and_blocks_are_the_way_of_encode_and_hand_gradients_on():
    backbone = vision_tower()
    pixels, _ = backbone.preprocess(PICTURES)
    tokens = backbone.embed(pixels).detach().requires_grad_()
    through = tokens
    for block in backbone.blocks:
        through = block(through)
    patches = backbone.vision.post_layernorm(through)
    assert torch.equal(patches, backbone.encode(PICTURES).patches.flatten(1, 2))
    patches.sum().backward()
    assert tokens.grad is not None
    assert backbone.prefix_tokens == 0


def test_the_tower_of_a_release_leaves_masks_to_the_focal_prompt_and_is_another_space(tmp_path):
    backbone = read(release_in(tmp_path / "dam") / "vision_tower")
    assert backbone.space == "siglip-dam-64x3-patch14-70/image[64]"
    assert not [name for name in backbone.state_dict() if "mask" in name or "head" in name]


def test_known_towers_go_by_their_names():
    assert siglip_ports(SiglipConfig()).blocks == "siglip-so400m-patch14-384/blocks[1152]"
    base = SiglipConfig(width=768, layers=12, patch=16, heads=12, intermediate=3072, resolution=224, model="mine")
    assert siglip_ports(base).writes.space == "siglip-mine-base-patch16-224/image[768]"
    assert SiglipConfig().grid == 27


def test_another_resolution_resamples_the_learned_positions():
    backbone = vision_tower()
    config = dataclasses.replace(backbone.config, resolution=98)
    artifact = backbone.artifact()
    wide = Siglip.build(config, BuildContext(weights=WeightFile("x", artifact.header, {}, lambda: artifact.tensors)))
    assert wide.encode(PICTURES).patches.shape == (2, 7, 7, 64)
    positions = wide.vision.embeddings.position_embedding.weight
    assert torch.allclose(positions.mean(0), backbone.vision.embeddings.position_embedding.weight.mean(0), atol=0.05)


@pytest.mark.parametrize("size", [param((1, 1), id="dot"), param((1, 4000), id="thread"), param((3000, 2), id="bar")])
def test_very_small_and_elongated_pictures(size):
    vision_tower().encode([picture(size)]).check_finite("the tower")


@pytest.mark.parametrize("mode", [param(mode, id=mode) for mode in ("1", "L", "P", "RGBA", "LA", "CMYK")])
def test_pictures_of_any_mode_are_their_conversion_to_rgb(mode):
    backbone, drawn = vision_tower(), picture((40, 30), 3)
    odd = drawn.convert("L").convert(mode) if mode == "LA" else drawn.convert(mode)
    assert torch.equal(backbone.encode([odd]).patches, backbone.encode([odd.convert("RGB")]).patches)


def test_it_has_no_text_tower():
    with pytest.raises(FeatureError, match="has no text tower"):
        vision_tower().encode_text(["a dog"])


def changed(tensors, drop="", **more):
    return {name: tensor for name, tensor in tensors.items() if name != drop} | more


@pytest.mark.parametrize(
    ("change", "said", "words"),
    [
        param({"odd.weight": torch.zeros(2)}, SIZES, "unknown: odd.weight", id="unknown-tensor"),
        param({"drop": "post_layernorm.weight"}, SIZES, "missing: vision.post_layernorm.weight", id="missing-tensor"),
        param({"drop": "embeddings.patch_embedding.weight"}, SIZES, "no vision tower of SigLIP", id="no-tower"),
        param({"embeddings.position_embedding.weight": torch.zeros(8, 32)}, SIZES, "form no square", id="no-square"),
        param({}, None, "how many heads a tower of width 32 has", id="heads-unsaid"),
        param({}, {**SIZES, "num_attention_heads": 5}, "do not share a width of 32 evenly", id="heads-impossible"),
        param({}, {**SIZES, "num_attention_heads": "4"}, "num_attention_heads '4'", id="heads-no-number"),
        param({}, {**SIZES, "hidden_act": "relu"}, "hidden_act 'relu'", id="other-activation"),
        param({}, {**SIZES, "image_size": 70}, "70 pixels are not 3 patches of 14", id="other-side"),
        param({}, [1], "no options by name", id="no-mapping"),
    ],
)
def test_what_a_checkpoint_may_not_be(tmp_path, change, said, words):
    place = folder_of(tmp_path / "tower", changed(bare(hub_tower().state_dict()), **change), said)
    with pytest.raises(WeightsError) as caught:
        read(place)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"resolution": 7}, "resolution: 7 is less than a patch, 14 pixels", id="tiny"),
        param({"layers": -1}, "layers: -1 is no size", id="negative"),
        param({"heads": 7}, "heads: 7 do not share a width of 1152 evenly", id="heads"),
        param({"batch": 0}, "batch: 0 must be 1 or more", id="batch"),
        param({"model": "a/b"}, "model: 'a/b' is made of other signs", id="model"),
    ],
)
def test_impossible_options(options, words):
    with pytest.raises(ValueError, match=words):
        SiglipConfig(**options)


@torch.no_grad()
def test_a_release_is_used_as_it_lies_in_its_folder(tmp_path):
    folder = release_in(tmp_path / "dam")
    backbone = build("backbone", {"name": "siglip", "weights": f"file:{folder}"})
    alone = build("backbone", {"name": "siglip", "weights": f"file:{folder / 'vision_tower'}"})
    assert torch.equal(backbone.encode(PICTURES).patches, alone.encode(PICTURES).patches)
