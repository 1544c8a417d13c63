"""DINO.txt's official files: every layout, what a header says, what is refused, and how a user names them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from dinotxt_release import HEAD_LAYERS, text_encoder_state, vision_head_state, write_dinotxt
from official_layouts import (
    CONTEXT,
    SIDE,
    TEXT_LAYERS,
    TEXT_WIDTH,
    VOCABULARY,
    WIDTH,
    clip_model,
    context_of,
    openai_state,
    without,
)

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.dinotxt import DinoTxt
from regionkit.plugins.patchioner.backbones.dinotxt_config import DinoTxtConfig
from regionkit.plugins.patchioner.backbones.dinotxt_layout import read_dinotxt
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.registry.cli import root

param = pytest.param
CONFIG = DinoTxtConfig(resolution=SIDE * 14)
HEADLESS = dataclasses.replace(CONFIG, compat="reference")
TEXTS = ["the dog", "A cat, the dog at the cat", "x"]


def built(folder: Path, config: DinoTxtConfig = CONFIG, layout: str = "facebook") -> DinoTxt:
    files = write_dinotxt(folder, layout)
    return DinoTxt.build(config, context_of(read_dinotxt(files, config), files))


@pytest.mark.parametrize("layout", ["timm", "whole"])
@pytest.mark.parametrize("config", [param(CONFIG, id="head"), param(HEADLESS, id="headless")])
def test_every_layout_gives_the_same_features(layout, config, tmp_path):
    images = [picture()]
    one, two = (built(tmp_path / name, config, name) for name in ("facebook", layout))
    for name in ("patches", "cls", "attention"):
        first, second = (getattr(each.encode(images), name) for each in (one, two))
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    assert torch.equal(one.encode_text(TEXTS), two.encode_text(TEXTS))


def test_header_says_space_and_architecture(tmp_path):
    files = write_dinotxt(tmp_path)
    header = read_dinotxt(files, CONFIG).header
    assert (header.kind, header.name, header.space) == ("backbone", "dinotxt", f"dinotxt-vit-l14/image[{WIDTH}]")
    assert header.config == {
        "patch": 14,
        "width": WIDTH,
        "layers": 2,
        "registers": 4,
        "head_layers": HEAD_LAYERS,
        "text_dim": 2 * WIDTH,
        "text_width": TEXT_WIDTH,
        "text_layers": TEXT_LAYERS,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }
    headless = read_dinotxt(without(files, "head"), HEADLESS)
    assert headless.header.space == f"dinotxt-vit-l14-headless/image[{WIDTH}]"
    assert not [name for name in headless.tensors if name.startswith("head.")]


def test_a_converted_file_is_the_official_one_and_does_without_its_head(tmp_path):
    backbone = built(tmp_path / "own")
    artifact = read_dinotxt(write_dinotxt(tmp_path), CONFIG)
    path = tmp_path / "dinotxt.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    context = BuildContext(weights=WeightFile(path, read_header(path)))
    again = DinoTxt.build(CONFIG, context)
    assert torch.equal(backbone.encode([picture()]).patches, again.encode([picture()]).patches)
    assert torch.equal(backbone.encode_text(TEXTS), again.encode_text(TEXTS))
    own = again.artifact()
    assert own.header.config == artifact.header.config
    assert set(own.tensors) == set(artifact.tensors)
    assert ports_of(again.config).writes.space == again.space
    assert ports_of(again.config).text == again.text_space
    assert ports_of(again.config).blocks == again.block_space
    headless, official = DinoTxt.build(HEADLESS, context), built(tmp_path / "official", HEADLESS)
    assert torch.equal(headless.encode([picture()]).patches, official.encode([picture()]).patches)


@pytest.mark.parametrize(
    ("role", "state", "message"),
    [
        param(
            "head",
            lambda: {**vision_head_state(), "linear_projection.weight": torch.ones(2, 2)},
            "unknown: linear_projection.weight",
            id="projected",
        ),
        param(
            "head",
            lambda: {k: v for k, v in vision_head_state().items() if ".ls" not in k},
            "missing: block_list.0.ls1.gamma, block_list.0.ls2.gamma, block_list.1.ls1.gamma and 1 more",
            id="no-scale",
        ),
        param(
            "head",
            lambda: {**vision_head_state(), "block_list.0.mlp.w1.weight": torch.ones(341, WIDTH)},
            f"shape: block_list.0.mlp.w1.weight is (341, {WIDTH}), the model has (384, {WIDTH})",
            id="not-aligned",
        ),
        param(
            "head",
            lambda: {f"text_model.{k}": v for k, v in text_encoder_state().items()},
            "the vision head of DINO.txt is not in this file",
            id="other-part",
        ),
        param(
            "text",
            lambda: without(text_encoder_state(), "backbone.ln_final.weight", "backbone.ln_final.bias"),
            "missing: backbone.ln_final.weight, backbone.ln_final.bias",
            id="no-norm",
        ),
        param("text", lambda: openai_state(clip_model()), "unknown: visual.class_embedding", id="clip"),
        param(
            "text",
            lambda: {**text_encoder_state(), "backbone.blocks.1.attention.qkv.bias": torch.ones(3 * TEXT_WIDTH)},
            "missing: backbone.blocks.0.attention.qkv.bias, backbone.blocks.2.attention.qkv.bias",
            id="one-bias",
        ),
        param(
            "text",
            lambda: {**text_encoder_state(), "backbone.blocks.1.attention.qkv.weight": torch.ones(7, TEXT_WIDTH)},
            "backbone.blocks.1.attention.qkv.weight is (7, 64), which is not query, key and value",
            id="odd-attention",
        ),
        param(
            "text",
            lambda: {**text_encoder_state(), "head.linear_projection.weight": torch.ones(WIDTH, TEXT_WIDTH)},
            f"texts become vectors of {WIDTH}, and",
            id="one-half",
        ),
        param(
            "text",
            lambda: {"text_model.x": torch.ones(1), "other": torch.ones(1)},
            "unknown: other",
            id="whole-and-more",
        ),
        param(
            "vision",
            lambda: {"cls_token": torch.ones(1, 1, WIDTH)},
            "DINO.txt was trained with dinov2_vitl14_reg4_pretrain.pth",
            id="no-dinov2",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(role, state, message, tmp_path):
    files = write_dinotxt(tmp_path)
    torch.save(state(), files[role])
    with pytest.raises(WeightsError) as caught:
        read_dinotxt(files, CONFIG)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        param("vision", "needs DINOv2 ViT-L/14 with registers", id="vision"),
        param("text", "needs the text encoder of DINO.txt", id="text"),
        param("head", "needs the vision head of DINO.txt", id="head"),
        param("merges", "needs the merges file of CLIP's tokenizer", id="merges"),
    ],
)
def test_a_missing_file_is_named(role, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        read_dinotxt(without(write_dinotxt(tmp_path), role), CONFIG)


@pytest.mark.parametrize("layout", ["facebook", "timm", "whole"])
def test_a_folder_of_official_files_is_found_by_their_names(layout, tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    write_dinotxt(tmp_path, layout)
    out = tmp_path / "out.safetensors"
    words = ["weights", "convert", "backbone/dinotxt", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert read_header(out).space == f"dinotxt-vit-l14/image[{WIDTH}]"


def caption(folder: Path, backbone: str) -> Result:
    (folder / "pipeline.yaml").write_text(
        f"version: 1\nbackbone: {{name: dinotxt, weights: 'file:release', resolution: 56{backbone}}}\n"
        "region_encoder: {name: patch-pool, weighting: attention}\nbridge: none\n"
        "decoder: {name: decap, weights: none, tokenizer: bytes, hidden: 16, layers: 1, heads: 2, positions: 64}\n"
    )
    picture((64, 48), 1).save(folder / "picture.png")
    words = ["caption", "picture.png", "--box", "5,5,40,40", "--preset", "./pipeline.yaml", "--offline", "--json"]
    return CliRunner().invoke(root, words, catch_exceptions=False)


def test_a_pipeline_reads_a_folder_and_only_the_reference_does_without_the_head(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.chdir(tmp_path)
    files = write_dinotxt(tmp_path / "release")
    result = caption(tmp_path, ", text: both")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["captions"]) == 1
    files["head"].unlink()
    assert caption(tmp_path, ", compat: reference").exit_code == 0
    result = caption(tmp_path, "")
    assert result.exit_code == 2
    assert "missing head: dinov2_vitl14_reg4_dinotxt_*_vision_head*" in result.output
