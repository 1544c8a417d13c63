"""Talk2DINO as a backbone: official layouts, parity with timm, the attention map, the projection's golden vectors."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_file
from official_layouts import (
    CONTEXT,
    DIM,
    SIDE,
    VOCABULARY,
    WIDTH,
    clip_model,
    context_of,
    dinov2,
    facebook_state,
    openai_state,
    projection_state,
    write_talk2dino,
)
from timm.layers import resample_abs_pos_embed
from torch.nn.functional import linear

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones import talk2dino_layout
from regionkit.plugins.patchioner.backbones.dinov2 import class_attention
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino, TextProjection
from regionkit.plugins.patchioner.backbones.talk2dino_config import Talk2DinoConfig
from regionkit.plugins.patchioner.backbones.talk2dino_layout import read_projection, read_talk2dino

param = pytest.param
GOLDEN = Path(__file__).parents[2] / "golden" / "patchioner"
SHARED = Path(__file__).parents[4] / "shared"
CONFIG = Talk2DinoConfig(resolution=SIDE * 14)
TEXTS = ["the dog", "A cat, the dog at the cat", "x"]


def built(folder: Path, config: Talk2DinoConfig = CONFIG, **layout) -> Talk2Dino:
    files = write_talk2dino(folder, **layout)
    return Talk2Dino.build(config, context_of(read_talk2dino(files, config), files))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Talk2Dino:
    return built(tmp_path_factory.mktemp("talk2dino"))


# ---------------------------------------------------------------- golden vectors


@pytest.mark.parametrize("heads", [16, 12, 4])
def test_class_attention_is_the_released_one(heads):
    vectors = np.load(golden_file("aggregation.npz"))
    golden = vectors if "qkv" in vectors else np.load(GOLDEN / "class_attention.npz")  # ours keeps them apart
    query, keys, _ = torch.from_numpy(golden["qkv"]).chunk(3, dim=-1)
    weights = class_attention(query[:, 0], keys[:, 5:], heads)
    torch.testing.assert_close(weights, torch.from_numpy(golden[f"attn_weights_h{heads}"]), rtol=0, atol=1e-6)


def test_projection_is_that_of_an_independent_formula():
    golden = np.load(GOLDEN / "talk2dino_projection.npz")
    projection = TextProjection(16, 24)
    names = [name for name in golden if "." in name]
    projection.load_state_dict({name: torch.from_numpy(golden[name]) for name in names})
    projected = projection(torch.from_numpy(golden["texts"]))
    torch.testing.assert_close(projected, torch.from_numpy(golden["projected"]).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "key", "inputs"),
    [
        param("talk2dino_vitb_mlp_infonce.pth", "talk2dino_repo.rand_out", "rand_in", id="talk2dino"),
        param("talk2dino_vitb_mlp_infonce.patchioner.pth", "patchioner_copy.rand_out", "rand_in", id="patchioner"),
        param(
            "talk2dino_vitb_mlp_infonce.patchioner.pth",
            "patchioner_copy.coco80_out_scale8",
            "coco80_clip_ensemble_fp16",
            id="vocabulary",
        ),
    ],
)
def test_official_projections_give_the_released_vectors(file, key, inputs):
    weights, vectors = SHARED / "data/upstream" / file, SHARED / "golden/patchioner/talk2dino_real.npz"
    if not (weights.is_file() and vectors.is_file()):
        pytest.skip("the official projections and their vectors are not part of this repository")
    golden = np.load(vectors)
    projection = TextProjection(512, 768)
    state = {name.removeprefix("projection."): tensor for name, tensor in read_projection(weights).items()}
    projection.load_state_dict(state)
    texts = torch.from_numpy(golden[inputs]).float()
    with torch.no_grad():
        projected = projection(8 * texts if inputs != "rand_in" else texts)
    torch.testing.assert_close(projected, torch.from_numpy(golden[key]), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- parity


def test_patches_and_class_token_are_those_of_timm(backbone):
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    features = backbone.encode(images)
    with torch.no_grad():
        tokens = dinov2().forward_features(backbone.preprocess(images)[0])
    torch.testing.assert_close(features.cls, tokens[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2), tokens[:, 5:], rtol=0, atol=1e-5)


def test_another_resolution_resamples_positions_as_timm_does(tmp_path):
    backbone = built(tmp_path, Talk2DinoConfig(resolution=84))
    plain = dinov2(side=6)
    state = dinov2().state_dict()
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], [6, 6], num_prefix_tokens=0)
    plain.load_state_dict(state)
    image = picture((100, 80), 4)
    features = backbone.encode([image])
    with torch.no_grad():
        tokens = plain.forward_features(backbone.preprocess([image])[0])
    assert features.patches.shape == (1, 6, 6, WIDTH)
    torch.testing.assert_close(features.patches.flatten(1, 2), tokens[:, 5:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        param({}, 2, id="paper-takes-the-models-own"),
        param({"compat": "reference"}, 16, id="reference"),
        param({"compat": "reference", "attention_heads": 3}, 3, id="option"),
    ],
)
def test_attention_is_that_of_the_class_token_in_the_last_block(options, heads, tmp_path):
    """Against the logits of each head, made with all queries and keys that the last block sees."""
    backbone = built(tmp_path, dataclasses.replace(CONFIG, **options))
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    seen = []
    handle = backbone.blocks[-1].attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    attention = backbone.encode(images).attention
    handle.remove()
    query, keys, _ = seen[0].chunk(3, dim=-1)
    logits = torch.stack(
        [
            0.125 * (query[:, :1, part] * keys[:, 5:, part]).sum(-1)
            for part in torch.arange(WIDTH).chunk(2)  # the heads of the model
        ]
    ).sum(0)
    wanted = (logits / heads).softmax(-1).unflatten(1, (SIDE, SIDE))
    torch.testing.assert_close(attention, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(attention.sum((1, 2)), torch.ones(2))


def test_sentences_are_clips_features_projected_and_not_normalised(backbone):
    model, state = clip_model(), projection_state()
    for text in TEXTS:
        ids = backbone.tokenizer.encode(text)
        with torch.no_grad():
            pooled = model.text_model(input_ids=torch.tensor([ids])).pooler_output
            raw = model.text_projection(pooled)
            hidden = linear(raw, state["linear_layer.weight"], state["linear_layer.bias"]).tanh()
            wanted = linear(hidden, state["hidden_layers.0.weight"], state["hidden_layers.0.bias"])
        torch.testing.assert_close(backbone.encode_text([text]), wanted, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize(
    "layout",
    [param({"layout": "timm"}, id="timm-folder"), param({"legacy": True}, id="older-projection")],
)
def test_every_layout_gives_the_same_features(layout, backbone, tmp_path):
    other = built(tmp_path, **layout)
    images = [picture()]
    one, two = backbone.encode(images), other.encode(images)
    # DINOv2's own layout keeps class token and position apart: adding them again may round once.
    for name in ("patches", "cls", "attention"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=0, atol=1e-5)
    assert torch.equal(backbone.encode_text(TEXTS), other.encode_text(TEXTS))


def test_header_says_space_and_architecture(tmp_path, monkeypatch):
    files = write_talk2dino(tmp_path)
    header = read_talk2dino(files, CONFIG).header
    assert (header.kind, header.name) == ("backbone", "dinov2-talk2dino")
    assert header.space == f"talk2dino-vit-b14/image[{WIDTH}]"
    assert header.config == {
        "patch": 14,
        "width": WIDTH,
        "layers": 2,
        "registers": 4,
        "text_dim": DIM,
        "text_width": 64,
        "text_layers": 3,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }
    digest = hashlib.sha256(files["projection"].read_bytes()).hexdigest()
    assert header.extra["projection_sha256"] == digest
    assert "notes" not in header.extra
    monkeypatch.setattr(talk2dino_layout, "_OWN_PROJECTION", digest[:16])
    (note,) = read_talk2dino(files, CONFIG).header.extra["notes"]
    assert "the decoders and memories that Patch-ioner released fit the other file of this name" in note


def test_the_note_is_about_the_file_of_talk2dinos_own_repository():
    folder = SHARED / "data" / "upstream"
    if not folder.is_dir():
        pytest.skip("needs shared/data/upstream, which is not part of the repository")
    own, other = folder / "talk2dino_vitb_mlp_infonce.pth", folder / "talk2dino_vitb_mlp_infonce.patchioner.pth"
    assert hashlib.sha256(own.read_bytes()).hexdigest().startswith(talk2dino_layout._OWN_PROJECTION)
    assert hashlib.sha256(other.read_bytes()).hexdigest()[:16] in talk2dino_layout._NOTE


def test_a_converted_file_is_the_official_one(backbone, tmp_path):
    artifact = read_talk2dino(write_talk2dino(tmp_path), CONFIG)
    path = tmp_path / "talk2dino.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = Talk2Dino.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    assert torch.equal(backbone.encode([picture()]).patches, again.encode([picture()]).patches)
    assert torch.equal(backbone.encode_text(TEXTS), again.encode_text(TEXTS))
    own = again.artifact()
    assert own.header.config == artifact.header.config
    assert set(own.tensors) == set(artifact.tensors)
    assert ports_of(again.config).writes.space == again.space
    assert ports_of(again.config).text == again.text_space


@pytest.mark.parametrize(
    ("role", "state", "message"),
    [
        param("vision", lambda: {**facebook_state(dinov2()), "head.x": torch.ones(1)}, "unknown: head.x", id="unknown"),
        param(
            "vision",
            lambda: {k: v for k, v in facebook_state(dinov2()).items() if not k.startswith("blocks.1.ls")},
            "missing: blocks.1.ls1.gamma, blocks.1.ls2.gamma",
            id="missing",
        ),
        param(
            "vision",
            lambda: {k: v for k, v in facebook_state(dinov2()).items() if k != "register_tokens"},
            "this is no DINOv2 with registers; it holds",
            id="no-registers",
        ),
        param("projection", lambda: {"weight": torch.ones(2)}, "unknown: weight", id="no-projection"),
        param(
            "projection",
            lambda: {k: v for k, v in projection_state().items() if not k.startswith("hidden")},
            "missing: hidden_layers.0.weight, hidden_layers.0.bias",
            id="half-a-projection",
        ),
        param(
            "projection",
            lambda: {**projection_state(), **projection_state(legacy=True)},
            "twice: linear_layer2.weight as another projection.hidden_layers.0.weight",
            id="two-projections",
        ),
        param(
            "text",
            lambda: openai_state(clip_model(dim=48)),
            f"shape: linear_layer.weight is ({WIDTH}, {DIM}), the model has ({WIDTH}, 48)",
            id="another-clip",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(role, state, message, tmp_path):
    files = write_talk2dino(tmp_path)
    torch.save(state(), files[role])
    with pytest.raises(WeightsError) as caught:
        read_talk2dino(files, CONFIG)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        param("vision", "needs DINOv2 ViT-B/14 with registers", id="vision"),
        param("text", "needs CLIP B/16", id="text"),
        param("projection", "needs the projection of Talk2DINO", id="projection"),
        param("merges", "needs the merges file of CLIP's tokenizer", id="merges"),
    ],
)
def test_a_missing_file_is_named(role, message, tmp_path):
    files = {name: path for name, path in write_talk2dino(tmp_path).items() if name != role}
    with pytest.raises(WeightsError, match=message):
        read_talk2dino(files, CONFIG)


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_conforms(fit, tmp_path):
    check_backbone(built(tmp_path, dataclasses.replace(CONFIG, fit=fit)))


def test_blocks_and_embed_make_the_same_pass(backbone):
    pixels, _ = backbone.preprocess([picture()])
    with torch.no_grad():
        tokens = backbone.embed(pixels)
        for block in backbone.blocks:
            tokens = block(tokens)
        tokens = backbone.vision.norm(tokens)
    patches = backbone.encode([picture()]).patches
    assert torch.equal(tokens[:, 5:].reshape(patches.shape), patches)


def test_no_matrix_of_patches_by_patches_is_made_for_the_map(backbone):
    """The map reads one row: its largest intermediate is as long as the tokens are."""
    tokens = torch.randn(2, 5 + SIDE * SIDE, WIDTH)
    kept, largest = torch.einsum, []

    def watched(equation, *operands):
        result = kept(equation, *operands)
        largest.append(tuple(result.shape))
        return result

    torch.einsum = watched
    try:
        backbone.attention(tokens)
    finally:
        torch.einsum = kept
    assert largest == [(2, SIDE * SIDE)]


def test_half_precision_stays_near(backbone, tmp_path):
    half = built(tmp_path).to(torch.bfloat16)
    one, two = half.encode([picture()]), backbone.encode([picture()])
    assert torch.cosine_similarity(one.patches.float(), two.patches, dim=-1).min() > 0.99
    assert torch.cosine_similarity(half.encode_text(TEXTS), backbone.encode_text(TEXTS), dim=-1).min() > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 224 + 1}, "resolution: 225 is no multiple of the patch, 14 pixels", id="resolution"),
        param({"attention_heads": -1}, r"attention_heads: -1 must be 0 \(as compat says\) or more", id="heads"),
        param({"text_width": 65}, "text_width: 65 is no multiple of 64", id="width"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Talk2DinoConfig(**options)
