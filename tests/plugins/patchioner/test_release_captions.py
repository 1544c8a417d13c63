"""The released presets from the command line, on small random files in every official layout."""

from __future__ import annotations

import json
from pathlib import Path

import dinotxt_release
import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from dinotxt_release import write_dinotxt
from official_layouts import DIM, WIDTH, clip_model, decap_state, write_clip, write_talk2dino

from regionkit.core.errors import WeightsError
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.release import read_memory
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


def other_bank(folder: Path, name: str, seed: int = 1) -> Path:
    path = folder / f"a_{name}_text_embeddings-5.h5"
    with h5py.File(path, "w") as file:
        file[f"{name}-embeddings"] = np.random.default_rng(seed).normal(size=(5, WIDTH)).astype(np.float32)
        file.create_dataset(f"{name}-text", data=list("vwxyz"), dtype=h5py.string_dtype())
    return path


@pytest.fixture
def release(tmp_path):
    write_talk2dino(tmp_path, "facebook")
    write_rest(tmp_path, WIDTH)
    return tmp_path


def asked(folder: Path, *sets: str, preset: str = "patchioner-talk2dino") -> Result:
    words = [word for text in ("backbone.resolution=56", *sets) for word in ("--set", text)]
    return caption(folder, preset, *words)


def bank_of(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["provenance"]["bridge"]["weights"]["files"]["bank"]["file"]


@pytest.mark.parametrize("name", ["coco_captions", "coco-captions"])
def test_a_released_bank_is_found_by_its_name(release, name):
    assert bank_of(asked(release, f"bridge.bank={name}")).startswith("coco_captions")
    other_bank(release, "relaion")
    assert bank_of(asked(release, f"bridge.bank={name}")).startswith("coco_captions")
    assert bank_of(asked(release, "bridge.bank=relaion")).startswith("a_relaion")


@pytest.mark.parametrize(
    "sets",
    [
        param(["bridge.bank=relaion"], id="memory"),
        param(["bridge.bank=relaion", "bridge.weights=file:{folder}"], id="memory-from-its-own-folder"),
        param(["bridge=none", "decoder={{name: nearest-text, bank: relaion}}"], id="retrieval"),
    ],
)
def test_no_other_bank_is_taken_for_one_that_is_named(release, sets):
    result = asked(release, *(text.format(folder=release) for text in sets))
    assert result.exit_code == 2, result.output
    assert "relaion" in result.output


@pytest.mark.parametrize("preset", ["patchioner-talk2dino-gt-memory-cls", "patchioner-talk2dino-relaion-5.6m-memory"])
def test_presets_with_a_bank_of_their_own_do_not_take_that_of_coco(release, preset):
    result = asked(release, f"decoder.weights=file:{release}/coco_prefix-009.pt", preset=preset)
    assert result.exit_code == 2, result.output
    assert "toolkit bank build" in result.output


def test_of_several_banks_none_is_taken_unasked(release):
    path = other_bank(release, "relaion")
    result = asked(release)
    assert result.exit_code == 2
    assert "2 files may be the weights of bridge 'memory', and nothing says which is meant" in result.output
    assert f"name one of them: bridge.weights: file:{path}" in result.output
    assert bank_of(asked(release, f"bridge.weights=file:{path}")) == path.name


def test_of_several_decoders_none_is_taken_unasked_but_one_of_another_width_is_none_of_them(release):
    torch.save(decap_state(dim=DIM, masks=True), release / "a_clip-009.pt")
    assert asked(release).exit_code == 0
    torch.save(decap_state(dim=WIDTH, masks=True), release / "a_noise-009.pt")
    for preset in ("patchioner-talk2dino", "patchioner-talk2dino-noise"):
        result = asked(release, preset=preset)
        assert result.exit_code == 2
        assert "2 files may be the weights of decoder 'decap', and nothing says which is meant" in result.output
        assert f"decoder.weights: file:{release}/a_noise-009.pt" in result.output
    assert asked(release, f"decoder.weights=file:{release}/a_noise-009.pt").exit_code == 0


def test_one_decoder_in_two_formats_is_no_choice(release):
    (release / "coco_prefix-009.safetensors").write_bytes(b"of the same weights, and never read")
    assert asked(release).exit_code == 0


def test_of_a_decoder_that_does_not_say_it_what_it_saw_is_told_as_trusted(release):
    note = "decoder weights do not say their space or what texts they saw, they are taken to be for "
    said = json.loads(asked(release, preset="patchioner-talk2dino-noise").stdout)["provenance"]["notes"]
    assert any(text.startswith(note) and "noise(std=0.08)" in text for text in said), said


def test_the_bank_of_both_vectors_of_a_sentence_is_read_as_the_one_for_patches(tmp_path):
    write_dinotxt(tmp_path)
    width = dinotxt_release.WIDTH
    write_rest(tmp_path, 2 * width)
    torch.save(decap_state(dim=width, masks=True), tmp_path / "coco_prefix-009.pt")
    sets = ["--set", "backbone.resolution=56"]
    result = caption(tmp_path, "patchioner-dinotxt", *sets)
    assert result.exit_code == 0, result.output
    halved = caption(tmp_path, "patchioner-dinotxt", *sets, "--set", "bridge.columns=first-half")
    assert halved.exit_code == 0, halved.output
    both = json.loads(result.stdout)["provenance"], json.loads(halved.stdout)["provenance"]
    assert both[0]["bridge"] == both[1]["bridge"]
    whole = caption(tmp_path, "patchioner-dinotxt", *sets, "--set", "bridge.columns=all")
    assert whole.exit_code == 2
    assert f"?[{2 * width}], and dinotxt-" in whole.output


def test_columns_of_a_released_bank(tmp_path):
    write_rest(tmp_path, 6)
    files = {"bank": tmp_path / "coco_captions_text_embeddings-B16-ViT-B.16-5.h5"}
    whole, first, second = (
        read_memory(files, MemoryConfig(columns=columns)) for columns in ("all", "first-half", "second-half")
    )
    assert (whole.header.space, first.header.space, second.header.space) == ("?[6]", "?[3]", "?[3]")
    assert torch.equal(
        torch.cat([first.tensors["embeddings"], second.tensors["embeddings"]], 1), whole.tensors["embeddings"]
    )
    assert second.header.config == {"columns": "second-half"}
    write_rest(tmp_path, 5)
    with pytest.raises(WeightsError, match="vectors of width 5 have no second-half"):
        read_memory(files, MemoryConfig(columns="second-half"))
