"""RegionCLIP as a backbone: trunk and attention pool against a plain modified ResNet in float64, and its layout."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from official_layouts import (
    CONTEXT,
    DIM,
    TEXT_LAYERS,
    TEXT_WIDTH,
    VOCABULARY,
    clip_model,
    context_of,
    openai_state,
    without,
)
from regionclip_release import regionclip_state, write_regionclip
from resnet_layouts import CHANNELS, LAST, PLACES, affine, doubled, pool_by_formula, trunk_by_formula
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.regionclip import RegionClip
from regionkit.plugins.patchioner.backbones.regionclip_config import (
    REGIONCLIP_SIZES,
    RegionClipConfig,
)
from regionkit.plugins.patchioner.backbones.regionclip_layout import read_regionclip
from regionkit.plugins.patchioner.backbones.resnet import EveryToken
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.registry.cli import root

param = pytest.param
CONFIG = RegionClipConfig(resolution=32 * PLACES)
PROJECTION = dataclasses.replace(CONFIG, spatial="projection")
TEXTS = ["the dog", "A cat, the dog at the cat", "x", "the dog at the cat " * 10]


def built(folder: Path, config: RegionClipConfig = CONFIG) -> RegionClip:
    files = write_regionclip(folder)
    return RegionClip.build(config, context_of(read_regionclip(files, config), files))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> RegionClip:
    return built(tmp_path_factory.mktemp("regionclip"))


# ---------------------------------------------------------------- what it computes


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


IMAGES = [picture((64, 48), 1), picture((40, 56), 2)]


def test_trunk_is_a_plain_modified_resnet(backbone):
    pixels, _ = backbone.preprocess(IMAGES)
    with torch.no_grad():
        places = backbone.vision.forward_features(pixels)
    assert places.shape == (2, LAST, PLACES, PLACES)
    wanted = trunk_by_formula(pixels, regionclip_state(), "backbone")
    torch.testing.assert_close(places.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_attention_pool_is_asked_by_every_token(seed):
    state = regionclip_state(seed)
    names = {"pos_embed": "positional_embedding", "proj.weight": "c_proj.weight", "proj.bias": "c_proj.bias"}
    names |= {f"{letter}.{end}": f"{letter}_proj.{end}" for letter in "qkv" for end in ("weight", "bias")}
    pool = EveryToken(LAST, feat_size=PLACES, out_features=DIM, qkv_separate=True)
    pool.load_state_dict({ours: state[f"backbone.attnpool.{theirs}"] for ours, theirs in names.items()})
    places = torch.randn(2, LAST, PLACES, PLACES, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        tokens = pool(places)
    wanted = torch.stack([pool_by_formula(one, state, "backbone") for one in places])
    torch.testing.assert_close(tokens.double(), wanted, rtol=0, atol=1e-5)


def test_pictures_are_unit_vectors_of_trunk_and_pool(backbone):
    state = regionclip_state()
    features = backbone.encode(IMAGES)
    places = trunk_by_formula(backbone.preprocess(IMAGES)[0], state, "backbone")
    wanted = unit(torch.stack([pool_by_formula(one, state, "backbone") for one in places]))
    torch.testing.assert_close(features.cls.double(), wanted[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2).double(), wanted[:, 1:], rtol=0, atol=1e-5)
    assert features.attention is None


def test_projection_puts_each_place_through_the_last_projection_alone(backbone, tmp_path):
    projected, state = built(tmp_path, PROJECTION), regionclip_state()
    features = projected.encode(IMAGES)
    places = trunk_by_formula(projected.preprocess(IMAGES)[0], state, "backbone").flatten(2).transpose(1, 2)
    wanted = unit(affine(places, doubled(state), "backbone.attnpool.c_proj"))
    torch.testing.assert_close(features.patches.flatten(1, 2).double(), wanted, rtol=0, atol=1e-5)
    assert torch.equal(features.cls, backbone.encode(IMAGES).cls)
    assert projected.space == f"regionclip-rn50-projection/image[{DIM}]"
    assert projected.text_space == backbone.text_space == f"regionclip-rn50/text[{DIM}]"


def test_another_resolution_resamples_positions(tmp_path):
    state, backbone = regionclip_state(), built(tmp_path, RegionClipConfig(resolution=160))
    positions = state["backbone.attnpool.positional_embedding"][None]
    state["backbone.attnpool.positional_embedding"] = resample_abs_pos_embed(positions, [5, 5], num_prefix_tokens=1)[0]
    features = backbone.encode(IMAGES[:1])
    assert features.patches.shape == (1, 5, 5, DIM)
    places = trunk_by_formula(backbone.preprocess(IMAGES[:1])[0], state, "backbone")[0]
    wanted = unit(pool_by_formula(places, state, "backbone"))
    torch.testing.assert_close(features.patches[0].flatten(0, 1).double(), wanted[1:], rtol=0, atol=1e-5)


def test_batch_norm_keeps_its_statistics_even_in_training(tmp_path):
    backbone = built(tmp_path)
    alone = backbone.encode(IMAGES[:1]).patches
    backbone.train()
    together = backbone.encode([*IMAGES, picture((32, 32), 3)]).patches
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-6)
    again = backbone.eval().encode(IMAGES[:1]).patches
    assert torch.equal(again, alone)


def test_sentences_are_those_of_its_own_text_tower(backbone):
    model = clip_model()
    for sentence in TEXTS:
        ids = backbone.tokenizer.encode(sentence)
        ids = ids if len(ids) <= CONTEXT else [*ids[: CONTEXT - 1], backbone.tokenizer.end]
        with torch.no_grad():
            wanted = model.text_projection(model.text_model(input_ids=torch.tensor([ids])).pooler_output)
        torch.testing.assert_close(backbone.encode_text([sentence]), wanted, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- layout


def test_header_says_space_and_architecture(tmp_path):
    files = write_regionclip(tmp_path)
    header = read_regionclip(files, CONFIG).header
    assert (header.kind, header.name, header.space) == ("backbone", "regionclip", f"regionclip-rn50/image[{DIM}]")
    assert header.config == {
        "channels": CHANNELS,
        "stage1": 1,
        "stage2": 2,
        "stage3": 1,
        "stage4": 1,
        "dim": DIM,
        "text_width": TEXT_WIDTH,
        "text_layers": TEXT_LAYERS,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }
    assert read_regionclip(files, PROJECTION).header.space == f"regionclip-rn50-projection/image[{DIM}]"


def test_the_release_has_the_sizes_of_clips_resnet_50():
    """Against timm's own ``resnet50_clip``, which has positions for 7 x 7 places and counts its batches."""
    assert RegionClipConfig().stages == (3, 4, 6, 3)
    with torch.device("meta"):
        vision = RegionClip.vision_tower(RegionClipConfig(resolution=224))
        wanted = timm.create_model("resnet50_clip", pretrained=False, num_classes=REGIONCLIP_SIZES["dim"])
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.state_dict().items() if tensor.ndim}
    assert {name: tuple(tensor.shape) for name, tensor in vision.state_dict().items()} == shapes
    assert vision.head.num_heads == wanted.head.num_heads == 32


def test_a_converted_file_is_the_official_one(backbone, tmp_path):
    artifact = read_regionclip(write_regionclip(tmp_path), CONFIG)
    path = tmp_path / "regionclip.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = RegionClip.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    assert torch.equal(backbone.encode(IMAGES).patches, again.encode(IMAGES).patches)
    assert torch.equal(backbone.encode_text(TEXTS), again.encode_text(TEXTS))
    own = again.artifact()
    assert own.header.config == artifact.header.config
    assert set(own.tensors) == set(artifact.tensors)
    assert ports_of(again.config).writes.space == again.space
    assert ports_of(again.config).text == again.text_space
    assert not ports_of(again.config).blocks
    assert not again.blocks


def test_several_devices_and_a_running_batch_norm_leave_their_marks_in_a_file_that_loads(backbone, tmp_path):
    files = write_regionclip(tmp_path)
    state = {**regionclip_state(), "backbone.layer1.0.bn1.num_batches_tracked": torch.tensor(7)}
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, files["model"])
    other = RegionClip.build(CONFIG, context_of(read_regionclip(files, CONFIG), files))
    assert torch.equal(other.encode(IMAGES).patches, backbone.encode(IMAGES).patches)


def changed(**changes: Tensor) -> dict[str, Tensor]:
    return {**regionclip_state(), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        param(lambda: changed(backbone__fpn=torch.ones(1), a=torch.ones(1)), "unknown: backbone.fpn, a", id="unknown"),
        param(
            lambda: without(regionclip_state(), "backbone.bn2.running_var", "lang_encoder.ln_final.bias"),
            "missing: backbone.bn2.running_var, lang_encoder.ln_final.bias",
            id="missing",
        ),
        param(
            lambda: without(regionclip_state(), "backbone.layer2.0.downsample.0.weight"),
            "missing: backbone.layer2.0.downsample.0.weight",
            id="no-shortcut",
        ),
        param(
            lambda: changed(backbone__layer3__0__conv2__weight=torch.ones(4, 4, 3, 3)),
            "shape: backbone.layer3.0.conv2.weight is (4, 4, 3, 3), the model has (32, 32, 3, 3)",
            id="shape",
        ),
        param(
            lambda: changed(backbone__attnpool__positional_embedding=torch.ones(9, LAST)),
            "the learned positions belong to 8 patches, which form no square",
            id="no-square",
        ),
        param(
            lambda: {k: v for k, v in regionclip_state().items() if not k.startswith("lang_encoder.")},
            "this is no pretrained RegionCLIP: it has no text tower (lang_encoder.*); it holds backbone.conv1.weight",
            id="detector",
        ),
        param(lambda: openai_state(clip_model()), "it has no attention pool (backbone.attnpool.*)", id="clip"),
        param(
            lambda: changed(backbone__conv3__weight=torch.ones(80, 40, 3, 3)),
            "this is RegionCLIP with RN50x4, and 'regionclip' is the one with RN50",
            id="x4",
        ),
        param(
            lambda: changed(lang_encoder__text_projection=torch.ones(TEXT_WIDTH, 48)),
            "the two towers are projected to spaces of different width",
            id="widths",
        ),
        param(
            lambda: changed(backbone__conv3__weight=torch.ones(12, 6, 3, 3)),
            "the checkpoint has impossible sizes: channels: 12 is no multiple of 8",
            id="channels",
        ),
    ],
)
def test_a_checkpoint_that_is_not_accounted_for_is_refused(state, message, tmp_path):
    files = write_regionclip(tmp_path)
    torch.save({"model": state()}, files["model"])
    with pytest.raises(WeightsError) as caught:
        read_regionclip(files, CONFIG)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        param("model", "needs the checkpoint of RegionCLIP's pretraining", id="model"),
        param("merges", "needs the merges file of CLIP's tokenizer", id="merges"),
    ],
)
def test_a_missing_file_is_named(role, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        read_regionclip(without(write_regionclip(tmp_path), role), CONFIG)


def test_a_folder_of_official_files_is_found_by_their_names(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    write_regionclip(tmp_path)
    out = tmp_path / "out.safetensors"
    words = ["weights", "convert", "backbone/regionclip", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert read_header(out).space == f"regionclip-rn50/image[{DIM}]"


def test_a_pipeline_reads_a_folder_of_official_files(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    write_regionclip(tmp_path / "release")
    picture((64, 48), 1).save(tmp_path / "picture.png")
    (tmp_path / "pipeline.yaml").write_text(
        "version: 1\nbackbone: {name: regionclip, weights: 'file:release', resolution: 96}\n"
        "region_encoder: patch-pool\nbridge: none\n"
        "decoder: {name: decap, weights: none, tokenizer: bytes, hidden: 16, layers: 1, heads: 2, positions: 64}\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["caption", "picture.png", "--box", "5,5,40,40", "--preset", "./pipeline.yaml", "--offline", "--json"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["captions"]) == 1


def test_numbers_of_numpy_beside_the_weights_are_not_run_but_converted(backbone, tmp_path):
    files = write_regionclip(tmp_path)
    torch.save({"model": regionclip_state(), "scheduler": {"best": np.float64(0.5)}}, files["model"])
    with pytest.raises(WeightsError, match=r"reading it would call numpy\S*; nothing was run") as error:
        read_regionclip(files, CONFIG)
    assert f"convert it once: toolkit weights convert {files['model']}" in str(error.value)
    fetched, files["model"] = files["model"], files["model"].with_suffix(".safetensors")
    words = ["weights", "convert", str(fetched), "--out", str(files["model"])]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    other = RegionClip.build(CONFIG, context_of(read_regionclip(files, CONFIG), files))
    assert torch.equal(other.encode(IMAGES).patches, backbone.encode(IMAGES).patches)


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("config", [param(CONFIG, id="attnpool"), param(PROJECTION, id="projection")])
def test_conforms(config, tmp_path):
    check_backbone(built(tmp_path, config))


def test_half_precision_stays_near(backbone, tmp_path):
    half = built(tmp_path).to(torch.bfloat16)
    one, two = half.encode(IMAGES), backbone.encode(IMAGES)
    assert torch.cosine_similarity(one.patches.float(), two.patches, dim=-1).min() > 0.99
    assert torch.cosine_similarity(half.encode_text(TEXTS).float(), backbone.encode_text(TEXTS), dim=-1).min() > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 500}, "resolution: 500 is no multiple of the patch, 32 pixels; 480 and 512 are", id="res"),
        param({"channels": 20}, "channels: 20 is no multiple of 8", id="channels"),
        param({"stage3": 10**6}, "stage3: 1000000 is more than 1000", id="many-blocks"),
        param({"stage1": -1}, r"stage1: -1 must be 0 \(as the named model says\) or more", id="negative"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        RegionClipConfig(**options)
