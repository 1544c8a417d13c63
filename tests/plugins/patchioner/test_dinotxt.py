"""DINO.txt as a backbone: its head and text tower against formulas in float64, both halves, the attention map."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from dinotxt_release import HEAD_LAYERS, text_encoder_state, vision_head_state, write_dinotxt
from official_layouts import (
    CONTEXT,
    SIDE,
    TEXT_LAYERS,
    WIDTH,
    context_of,
    dinov2,
)
from torch import Tensor

from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.backbones.dinotxt import DinoTxt, VisionHead
from regionkit.plugins.patchioner.backbones.dinotxt_config import DINOTXT_SIZES, DinoTxtConfig
from regionkit.plugins.patchioner.backbones.dinotxt_layout import read_dinotxt, read_vision_head
from regionkit.plugins.patchioner.backbones.dinov2 import class_attention
from regionkit.plugins.patchioner.backbones.square_config import ports_of

param = pytest.param
CONFIG = DinoTxtConfig(resolution=SIDE * 14)
HEADLESS = dataclasses.replace(CONFIG, compat="reference")
TEXTS = ["the dog", "A cat, the dog at the cat", "x", "the dog at the cat " * 10]


def built(folder: Path, config: DinoTxtConfig = CONFIG) -> DinoTxt:
    files = write_dinotxt(folder)
    return DinoTxt.build(config, context_of(read_dinotxt(files, config), files))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> DinoTxt:
    return built(tmp_path_factory.mktemp("dinotxt"))


# ---------------------------------------------------------------- the formulas, in float64, with the official names


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def affine(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def attend(x: Tensor, state: dict[str, Tensor], name: str, causal: bool) -> Tensor:
    """Attention in heads of 64, one picture or text at a time; (n, d) to (n, d)."""
    query, key, value = (x @ state[f"{name}.qkv.weight"].T).chunk(3, dim=-1)
    mixed = []
    for start in range(0, x.shape[-1], 64):
        part = slice(start, start + 64)
        logits = query[:, part] @ key[:, part].T / 8
        if causal:
            later = torch.arange(len(x))[None, :] > torch.arange(len(x))[:, None]
            logits = logits.masked_fill(later, -math.inf)
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        mixed.append(weights @ value[:, part])
    return affine(torch.cat(mixed, dim=-1), state, f"{name}.proj")


def head_by_formula(tokens: Tensor, state: dict[str, Tensor]) -> Tensor:
    """VisionHead of one picture: tokens (n, d), class token and registers first."""
    x, state = tokens.double(), {name: tensor.double() for name, tensor in state.items()}
    for block in (f"block_list.{layer}" for layer in range(HEAD_LAYERS)):
        x = x + state[f"{block}.ls1.gamma"] * attend(
            layer_norm(x, state, f"{block}.norm1"), state, f"{block}.attn", False
        )
        normed = layer_norm(x, state, f"{block}.norm2")
        gate, linear = (affine(normed, state, f"{block}.mlp.{name}") for name in ("w1", "w2"))
        hidden = gate / (1 + (-gate).exp()) * linear
        x = x + state[f"{block}.ls2.gamma"] * affine(hidden, state, f"{block}.mlp.w3")
    return layer_norm(x, state, "ln_final")


def text_by_formula(ids: list[int], state: dict[str, Tensor]) -> Tensor:
    """The text encoder of one text, (2 d,), at its end token."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = state["backbone.token_embedding.weight"][ids] + state["backbone.positional_embedding"][: len(ids)]
    for block in (f"backbone.blocks.{layer}" for layer in range(TEXT_LAYERS)):
        x = x + attend(layer_norm(x, state, f"{block}.attention_norm"), state, f"{block}.attention", True)
        hidden = affine(layer_norm(x, state, f"{block}.ffn_norm"), state, f"{block}.feed_forward.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + affine(hidden, state, f"{block}.feed_forward.fc2")
    end = ids.index(max(ids))
    return layer_norm(x, state, "backbone.ln_final")[end] @ state["head.linear_projection.weight"].T


def backbone_tokens(images: list, backbone: DinoTxt) -> Tensor:
    """Tokens of timm's DINOv2 after its last norm."""
    with torch.no_grad():
        return dinov2().forward_features(backbone.preprocess(images)[0])


@pytest.mark.parametrize(
    ("seed", "scale"),
    [param(0, 1.0, id="usual"), param(1, 0.02, id="so-small-that-the-norms-epsilon-shows"), param(2, 5.0, id="large")],
)
def test_vision_head_is_that_of_the_formula(seed, scale, tmp_path):
    state = vision_head_state(seed)
    torch.save(state, tmp_path / "head.pth")
    head = VisionHead(WIDTH, HEAD_LAYERS)
    named = {name.removeprefix("head."): tensor for name, tensor in read_vision_head(tmp_path / "head.pth").items()}
    head.load_state_dict(named)
    tokens = scale * torch.randn(2, 21, WIDTH, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        aligned = head(tokens)
    wanted = torch.stack([head_by_formula(one, state) for one in tokens])
    torch.testing.assert_close(aligned.double(), wanted, rtol=0, atol=1e-5)


def test_pictures_are_dinov2_and_the_head_on_all_its_tokens(backbone):
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    features = backbone.encode(images)
    wanted = torch.stack([head_by_formula(one, vision_head_state()) for one in backbone_tokens(images, backbone)])
    torch.testing.assert_close(features.cls.double(), wanted[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2).double(), wanted[:, 5:], rtol=0, atol=1e-5)


def test_reference_leaves_the_head_out(tmp_path):
    backbone = built(tmp_path, HEADLESS)
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    features, tokens = backbone.encode(images), backbone_tokens(images, backbone)
    torch.testing.assert_close(features.cls, tokens[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2), tokens[:, 5:], rtol=0, atol=1e-5)
    assert backbone.space == f"dinotxt-vit-l14-headless/image[{WIDTH}]"
    assert backbone.text_space == f"dinotxt-vit-l14/text[{WIDTH}]"


@pytest.mark.parametrize(
    ("text", "half"),
    [
        param("patch", slice(WIDTH, None), id="patch"),
        param("global", slice(WIDTH), id="global"),
        param("both", slice(None), id="both"),
    ],
)
def test_sentences_are_those_of_the_formula(text, half, tmp_path):
    backbone = built(tmp_path, dataclasses.replace(CONFIG, text=text))
    for sentence in TEXTS:
        ids = backbone.tokenizer.encode(sentence)
        ids = ids if len(ids) <= CONTEXT else [*ids[: CONTEXT - 1], backbone.tokenizer.end]
        wanted = text_by_formula(ids, text_encoder_state())[half]
        torch.testing.assert_close(backbone.encode_text([sentence])[0].double(), wanted, rtol=0, atol=1e-5)


def test_both_halves_go_with_the_vector_that_dinotxt_gives_a_picture(backbone, tmp_path):
    both, images = built(tmp_path, dataclasses.replace(CONFIG, text="both")), [picture((64, 48), 1), picture((9, 9), 2)]
    features, own = both.encode(images), backbone.encode(images)
    whole = torch.cat([own.cls, own.patches.mean((1, 2))], dim=-1)
    torch.testing.assert_close(features.cls, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(features.patches.mean((1, 2)), whole, rtol=0, atol=1e-6)
    assert torch.equal(features.patches[..., WIDTH:], own.patches)
    assert both.space == f"dinotxt-vit-l14-both/image[{2 * WIDTH}]"
    assert both.text_space == f"dinotxt-vit-l14-both/text[{2 * WIDTH}]"


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        param({}, WIDTH // 64, id="paper-takes-the-models-own"),
        param({"compat": "reference"}, 16, id="reference"),
        param({"attention_heads": 3}, 3, id="option"),
    ],
)
def test_attention_is_that_of_the_class_token_in_the_last_block_of_dinov2(options, heads, tmp_path):
    backbone = built(tmp_path, dataclasses.replace(CONFIG, **options))
    seen = []
    handle = backbone.blocks[-1].attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    attention = backbone.encode([picture((64, 48), 1)]).attention
    handle.remove()
    query, keys, _ = seen[0].chunk(3, dim=-1)
    wanted = class_attention(query[:, 0], keys[:, 5:], heads).unflatten(1, (SIDE, SIDE))
    torch.testing.assert_close(attention, wanted, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("config", [param(CONFIG, id="head"), param(HEADLESS, id="headless")])
def test_conforms(config, tmp_path):
    check_backbone(built(tmp_path, config))


def test_half_precision_stays_near(backbone, tmp_path):
    half = built(tmp_path).to(torch.bfloat16)
    one, two = half.encode([picture()]), backbone.encode([picture()])
    assert torch.cosine_similarity(one.patches.float(), two.patches, dim=-1).min() > 0.99
    assert torch.cosine_similarity(half.encode_text(TEXTS).float(), backbone.encode_text(TEXTS), dim=-1).min() > 0.99


def test_the_release_has_the_sizes_that_its_name_says():
    """1280 wide, 20 heads, 24 layers of text; SwiGLU of 2752 in the head."""
    with torch.device("meta"):
        head = VisionHead(DINOTXT_SIZES["width"], DINOTXT_SIZES["head_layers"])
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    assert shapes["blocks.1.mlp.fc1_g.weight"] == (2752, 1024)
    assert shapes["blocks.0.attn.qkv.weight"] == (3072, 1024)
    assert DINOTXT_SIZES["text_width"] // 64 == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 225}, "resolution: 225 is no multiple of the patch, 14 pixels", id="resolution"),
        param({"attention_heads": -1}, r"attention_heads: -1 must be 0 \(as compat says\) or more", id="heads"),
        param({"text_dim": 1024}, "text_dim: 1024 is not twice the width, 1024", id="half"),
        param({"head_layers": -1}, r"head_layers: -1 must be 0 \(as the named model says\) or more", id="layers"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DinoTxtConfig(**options)


@pytest.mark.parametrize(
    ("options", "image", "text"),
    [
        param({}, "dinotxt-vit-l14/image[1024]", "dinotxt-vit-l14/text[1024]", id="paper"),
        param({"compat": "reference"}, "dinotxt-vit-l14-headless/image[1024]", "dinotxt-vit-l14/text[1024]", id="ref"),
        param(
            {"compat": "reference", "head": True}, "dinotxt-vit-l14/image[1024]", "dinotxt-vit-l14/text[1024]", id="on"
        ),
        param({"head": False}, "dinotxt-vit-l14-headless/image[1024]", "dinotxt-vit-l14/text[1024]", id="off"),
        param({"text": "global"}, "dinotxt-vit-l14/image[1024]", "dinotxt-vit-l14-global/text[1024]", id="global"),
        param({"text": "both"}, "dinotxt-vit-l14-both/image[2048]", "dinotxt-vit-l14-both/text[2048]", id="both"),
    ],
)
def test_spaces_say_what_was_chosen(options, image, text):
    ports = ports_of(DinoTxtConfig(**options))
    assert (ports.writes.space, ports.text, ports.blocks) == (image, text, "dinotxt-vit-l14/blocks[1024]")
