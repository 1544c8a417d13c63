"""The released presets from the command line, on small random files in every official layout."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from official_layouts import DIM, WIDTH, clip_model, decap_state, write_clip, write_talk2dino

from regionkit.core.testing.fakes import picture
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

param = pytest.param


def write_rest(folder: Path, dim: int) -> None:
    """The decoder and the memory of the release, for vectors of this width."""
    torch.save(decap_state(dim=dim, masks=True), folder / "coco_prefix-009.pt")
    with h5py.File(folder / "coco_captions_text_embeddings-B16-ViT-B.16-5.h5", "w") as file:
        rows = np.random.default_rng(0).normal(size=(5, dim)).astype(np.float32)
        rows[-1] = 0
        file["coco_captions-embeddings"] = rows
        file.create_dataset("coco_captions-text", data=["a", "b", "c", "d", ""], dtype=h5py.string_dtype())


def caption(folder: Path, preset: str, *more: str) -> Result:
    path = folder / "picture.png"
    picture((64, 48), 1).save(path)
    weight_index.get_index.cache_clear()
    words = ["caption", str(path), "--box", "5,5,40,40", "--preset", preset, "--weights", f"file:{folder}"]
    return CliRunner().invoke(root, [*words, "--offline", "--json", *more], catch_exceptions=False)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))


@pytest.mark.parametrize("preset", ["patchioner-talk2dino", "patchioner-talk2dino-noise"])
@pytest.mark.parametrize("layout", ["facebook", "timm"])
def test_talk2dino_captions_from_official_files(preset, layout, tmp_path):
    write_talk2dino(tmp_path, layout)
    write_rest(tmp_path, WIDTH)
    result = caption(tmp_path, preset, "--set", "backbone.resolution=56")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


@pytest.mark.parametrize("layout", ["openai", "hf", "timm"])
def test_clip_captions_from_official_files_of_every_layout(layout, tmp_path):
    write_clip(tmp_path, layout, clip_model())
    write_rest(tmp_path, DIM)
    result = caption(tmp_path, "patchioner-clip-b16")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


def test_files_of_another_model_are_refused_by_name(tmp_path):
    write_clip(tmp_path, "openai", clip_model())
    write_rest(tmp_path, DIM)
    result = caption(tmp_path, "patchioner-clip-b32")
    assert result.exit_code == 2
    assert "backbone clip, model: ViT-B-32* or clip-vit-base-patch32*" in result.output
    (tmp_path / "ViT-B-16.pt").rename(tmp_path / "ViT-B-32.pt")
    result = caption(tmp_path, "patchioner-clip-b32")
    assert result.exit_code == 2
    assert "this model has patches of 16 pixels, vit-b32 has 32" in result.output


def test_a_decoder_of_another_width_is_refused_by_name(tmp_path):
    write_clip(tmp_path, "openai", clip_model())
    write_rest(tmp_path, WIDTH)
    result = caption(tmp_path, "patchioner-clip-b16")
    assert result.exit_code == 2
    assert f"?[{WIDTH}]" in result.output
    assert f"clip-vit-b16/text[{DIM}] is needed here" in result.output


def test_a_decoder_is_trained_behind_a_backbone_of_official_files(tmp_path, monkeypatch):
    write_talk2dino(tmp_path / "release", "facebook")
    (tmp_path / "texts.txt").write_text("the dog\nthe cat\na dog at the cat\n")
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nrecipe: {name: text-only, steps: 2, batch_size: 2}\n"
        "backbone: {name: dinov2-talk2dino, weights: 'file:release', resolution: 56}\nbridge: none\n"
        "decoder: {name: decap, tokenizer: clip, hidden: 16, layers: 1, heads: 2, positions: 16}\n"
        "corpus: {name: text-lines, file: texts.txt}\n"
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(root, ["train", "recipe.yaml", "--out", "made", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    write_rest(tmp_path / "release", WIDTH)
    trained = f"file:{tmp_path}/made/recipe.safetensors"
    monkeypatch.chdir("/")
    result = caption(tmp_path / "release", "patchioner-talk2dino", "--set", f"decoder.weights={trained}")
    assert result.exit_code == 0, result.output
