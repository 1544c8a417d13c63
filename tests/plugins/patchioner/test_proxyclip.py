"""ProxyCLIP: golden vectors, the formula, batch mates, pixels, official layouts, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_file
from hypothesis import given, settings
from hypothesis import strategies as st
from official_layouts import (
    context_of,
)
from PIL import Image
from proxyclip_release import write_parts
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate, layer_norm, normalize

from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.backbones.clip_layout import OPENAI_VISION, read_openai
from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS, IMAGENET_PIXELS
from regionkit.plugins.patchioner.backbones.proxyclip import ProxyClip, proxy_attention
from regionkit.plugins.patchioner.backbones.proxyclip_config import ProxyClipConfig
from regionkit.plugins.patchioner.backbones.proxyclip_layout import read_proxyclip
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

param = pytest.param
#: 12 x 12 patches of 8 pixels, and 6 x 6 of CLIP's 16.
DINO_SIDE = 96
CONFIG = ProxyClipConfig(resolution=DINO_SIDE)


def built(folder: Path, config: ProxyClipConfig = CONFIG, layout: str = "facebook", clip: str = "openai") -> ProxyClip:
    files = write_parts(folder, config.vfm, layout, clip)
    return ProxyClip.build(config, context_of(read_proxyclip(files, config), files))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> ProxyClip:
    return built(tmp_path_factory.mktemp("proxyclip"))


# ---------------------------------------------------------------- golden vectors


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    vectors = load_file(golden_file("dense_attention.safetensors"))
    return {name.removeprefix("proxy."): tensor for name, tensor in vectors.items() if name.startswith("proxy.")}


@pytest.fixture(scope="module")
def golden_tower(golden: dict[str, Tensor]) -> ProxyClip:
    """The tower of the vectors; how many heads it has no tensor says, one number gives what no other model mixed."""
    numbers = [heads for heads in range(1, 17) if len(golden["w.class_embedding"]) % heads == 0]
    towers = [tower_of(golden, heads) for heads in numbers]
    return min(towers, key=lambda tower: float((plain_output(tower, golden) - golden["out_no_ex"]).abs().max()))


@torch.no_grad()
def plain_output(tower: ProxyClip, golden: dict[str, Tensor]) -> Tensor:
    """Patches (b, n, dim) of CLIP itself, its last block as it was trained."""
    vision = tower.vision
    tokens = vision.blocks(vision.norm_pre(vision._pos_embed(vision.patch_embed(golden["image"]))))
    return vision.head(vision.norm(tokens))[:, 1:]


def test_without_another_model_it_is_clip_at_its_resampled_positions(golden, golden_tower):
    torch.testing.assert_close(plain_output(golden_tower, golden), golden["out_no_ex"], rtol=0, atol=1e-5)


def tower_of(golden: dict[str, Tensor], heads: int) -> ProxyClip:
    """The tower of the vectors, in ``reference``, its sizes read from its tensors."""
    named = {f"visual.{name[2:]}": tensor for name, tensor in golden.items() if name.startswith("w.")}
    vision = read_openai(named, OPENAI_VISION, golden_file("dense_attention.safetensors"))
    config = ProxyClipConfig(
        compat="reference",
        resolution=golden["image"].shape[-1],
        width=len(vision["vision.patch_embed.proj.weight"]),
        heads=heads,
        layers=1 + max(int(name.split(".")[2]) for name in vision if name.startswith("vision.blocks.")),
        dim=len(vision["vision.head.weight"]),
        vfm_width=64,
        vfm_layers=1,
        text_width=64,
        text_layers=1,
        vocabulary=514,
    )
    tower = ProxyClip(config, ClipTokenizer()).eval()
    tower.load_state_dict({**tower.state_dict(), **tower.placed(vision)})
    return tower


def rows_of(features: Tensor) -> Tensor:
    """(b, d, h, w) as (b, n, d)."""
    return features.flatten(2).transpose(1, 2)


@torch.no_grad()
def golden_output(tower: ProxyClip, image: Tensor, features: Tensor, beta: float, gamma: float, whole: bool) -> Tensor:
    weights = proxy_attention(rows_of(features), beta, gamma, whole_batch=whole)
    values = interpolate(tower.values(image), size=features.shape[-2:], mode="bilinear")
    return tower.gathered(weights, rows_of(values))


def test_the_last_block_is_that_of_the_released_code(golden, golden_tower):
    tried = [name for name in golden if name.startswith("out_beta") and not name.endswith("alone")]
    assert len(tried) >= 2
    for name in tried:
        beta, gamma = (float(word.lstrip("betagm")) for word in name.split("_")[1:3])
        out = golden_output(golden_tower, golden["image"], golden["ex_feats"], beta, gamma, whole=True)
        torch.testing.assert_close(out, golden[name], rtol=0, atol=1e-5)


def test_a_picture_alone_is_that_of_the_released_code_and_ours_in_any_company(golden, golden_tower):
    (name,) = (name for name in golden if name.endswith("img0_alone"))
    beta, gamma = (float(word.lstrip("betagm")) for word in name.split("_")[1:3])
    for whole, count in ((True, 1), (False, 1), (False, len(golden["image"]))):
        out = golden_output(golden_tower, golden["image"][:count], golden["ex_feats"][:count], beta, gamma, whole)
        torch.testing.assert_close(out[:1], golden[name], rtol=0, atol=1e-5)


def test_similarity_is_that_of_the_released_code(golden):
    unit = normalize(rows_of(golden["ex_feats"]), dim=-1)
    logits = proxy_attention(rows_of(golden["ex_feats"]), 0.0, 1.0).log()
    wanted = golden["similarity_raw"].masked_fill(golden["similarity_raw"] < 0, -math.inf).log_softmax(-1)
    torch.testing.assert_close(unit @ unit.transpose(1, 2), golden["similarity_raw"], rtol=0, atol=1e-5)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- the formula


def by_hand(tower: ProxyClip, seen: Tensor, clip_pixels: Tensor, beta: float, gamma: float) -> Tensor:
    """Unit patches (n, dim) of one picture, head by head in float64, of the other model's patches (n, d)."""
    state = {name: tensor.double() for name, tensor in tower.vision.state_dict().items()}
    block = f"blocks.{len(tower.vision.blocks) - 1}"
    heads = tower.vision.blocks[0].attn.num_heads
    with torch.no_grad():
        tokens = tower.vision.norm_pre(tower.vision._pos_embed(tower.vision.patch_embed(clip_pixels[None])))
        for free in tower.vision.blocks[:-1]:
            tokens = free(tokens)
    tokens = tokens[0].double()
    width = tokens.shape[-1]
    normed = layer_norm(tokens, (width,), state[f"{block}.norm1.weight"], state[f"{block}.norm1.bias"], 1e-5)
    joint = normed @ state[f"{block}.attn.qkv.weight"].T + state[f"{block}.attn.qkv.bias"]
    side = math.isqrt(len(seen))
    coarse = math.isqrt(len(tokens) - 1)
    unit = seen.double() / seen.double().norm(dim=-1, keepdim=True)
    similar = unit @ unit.T
    logits = (similar - beta * similar.mean()) * gamma
    logits[logits < 0] = -math.inf
    read = []
    for value in joint[1:, 2 * width :].chunk(heads, dim=-1):
        square = value.T.reshape(1, -1, coarse, coarse)
        fine = interpolate(square, size=(side, side), mode="bilinear", align_corners=False)
        read.append(logits.softmax(-1) @ fine[0].flatten(1).T)
    mixed = torch.cat(read, -1) @ state[f"{block}.attn.proj.weight"].T + state[f"{block}.attn.proj.bias"]
    out = layer_norm(mixed, (width,), state["norm.weight"], state["norm.bias"], 1e-5) @ state["head.weight"].T
    return out / out.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("compat", ["paper", "reference"])
@pytest.mark.parametrize("vfm", ["dino-b8", "dinov2-b14"])
def test_a_picture_goes_the_whole_way_as_the_formula_says(vfm, compat, tmp_path):
    side = {"dino-b8": 96, "dinov2-b14": 70}[vfm]
    made = built(tmp_path, ProxyClipConfig(vfm=vfm, resolution=side, compat=compat))
    image = picture((100, 80), 1)
    features = made.encode([image])
    # Before normalisation, the pixels of both towers are the same picture.
    plain = torch.tensor(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)))
    plain = plain.permute(2, 0, 1).double() / 255

    def of(kind: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
        mean, deviation = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in kind)
        return ((plain - mean) / deviation).float()

    with torch.no_grad():
        prefix = 1 if vfm == "dino-b8" else 5
        seen = made.vfm.forward_features(of(IMAGENET_PIXELS)[None])[0, prefix:]
    wanted = by_hand(made, seen, of(CLIP_PIXELS if compat == "paper" else IMAGENET_PIXELS), 1.2, 3.0)
    torch.testing.assert_close(features.patches[0].flatten(0, 1).double(), wanted, rtol=0, atol=1e-5)
    assert features.cls is None
    assert features.attention is None
    torch.testing.assert_close(features.patches.norm(dim=-1), torch.ones(1, *features.patches.shape[1:3]))


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 4),
    places=st.integers(1, 9),
    beta=st.floats(0, 3),
    gamma=st.floats(0.01, 20),
    seed=st.integers(0, 2**16),
    alike=st.floats(0, 5),
)
def test_attention_is_finite_sums_to_one_and_knows_no_order(count, places, beta, gamma, seed, alike):
    drawn = torch.Generator().manual_seed(seed)
    features = torch.randn(count, places, 6, generator=drawn) + alike
    weights = proxy_attention(features, beta, gamma)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(count, places))
    pictures, order = torch.randperm(count, generator=drawn), torch.randperm(places, generator=drawn)
    mixed = proxy_attention(features[pictures][:, order], beta, gamma)
    # A similarity next to the bound may fall on either side of it; all others must agree.
    unit = normalize(features, dim=-1)
    similar = unit @ unit.transpose(1, 2)
    near = ((similar - beta * similar.mean(dim=(1, 2), keepdim=True)).abs() < 1e-5).any()
    if not near:
        torch.testing.assert_close(mixed, weights[pictures][:, order][:, :, order], rtol=0, atol=1e-5)
        torch.testing.assert_close(proxy_attention(features[:1], beta, gamma), weights[:1], rtol=0, atol=1e-5)


def test_a_picture_of_one_colour_has_features(proxy):
    flat = proxy.encode([Image.new("RGB", (64, 64), (120, 90, 60))])
    assert torch.isfinite(flat.patches).all()
    alike = torch.ones(1, 4, 3)
    torch.testing.assert_close(proxy_attention(alike, 1.2, 3.0), torch.full((1, 4, 4), 0.25))


# ---------------------------------------------------------------- batch mates


IMAGES = [picture((60 + 7 * index, 50), index) for index in range(3)]


@pytest.mark.parametrize(
    ("options", "depends"),
    [
        param({}, False, id="paper"),
        param({"compat": "reference"}, True, id="reference"),
        param({"compat": "reference", "similarity_mean": "image"}, False, id="reference-image"),
        param({"similarity_mean": "batch"}, True, id="paper-batch"),
    ],
)
def test_features_depend_on_batch_mates_where_the_mean_is_over_the_batch_alone(options, depends, tmp_path):
    made = built(tmp_path, dataclasses.replace(CONFIG, **options))
    single = torch.cat([made.encode([image]).patches for image in IMAGES])
    together = made.encode(IMAGES).patches
    assert bool((single - together).abs().max() > 1e-4) == depends
    if not depends:
        torch.testing.assert_close(made.encode(IMAGES[::-1]).patches.flip(0), together, rtol=0, atol=1e-5)


def test_pixels_are_an_option_of_their_own(proxy, tmp_path):
    image = [picture((64, 48), 1)]
    paper = proxy.encode(image).patches
    shared = built(tmp_path, dataclasses.replace(CONFIG, pixels="imagenet")).encode(image).patches
    assert (paper - shared).abs().max() > 1e-3
    again = built(tmp_path / "own", dataclasses.replace(CONFIG, pixels="own")).encode(image).patches
    assert torch.equal(paper, again)


# ---------------------------------------------------------------- contract


@pytest.mark.slow
def test_conforms_with_dinov2_and_the_mean_of_the_picture_in_reference(tmp_path):
    config = ProxyClipConfig(vfm="dinov2-b14", resolution=70, compat="reference", similarity_mean="image")
    check_backbone(built(tmp_path, config))


def test_the_release_sizes_are_those_of_the_paper():
    one, two = ProxyClipConfig(), ProxyClipConfig(vfm="dinov2-b14")
    assert (one.side, two.side) == (296, 518)
    assert {config.side / config.patch for config in (one, two)} == {37}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 300}, "resolution: 300 is no multiple of the patch, 8 pixels; 296 and 304 are", id="res"),
        param({"resolution": 8}, "resolution: 8 has no whole patch of CLIP, 16 pixels", id="small"),
        param({"beta": -1.0}, "beta: -1.0 must be 0 or more", id="beta"),
        param({"gamma": 0.0}, "gamma: 0.0 must be more than 0", id="gamma"),
        param({"gamma": math.nan}, "gamma: nan must be more than 0", id="nan"),
        param({"vfm_width": 100}, "vfm_width: 100 is no multiple of 64", id="vfm-width"),
        param({"heads": 7}, "heads: 7 must divide the width, 768, or be 0", id="heads"),
        param({"batch": 0}, "batch: 0 must be 1 or more", id="batch"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ProxyClipConfig(**options)
