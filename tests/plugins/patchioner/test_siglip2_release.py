"""SigLIP 2 as it is released: the folder, the command line, converted files, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from official_layouts import decap_state, write_merges
from safetensors.torch import save_file
from siglip2_release import CONFIG, IMAGES, SIZES, TEXTS, WORDS, random_model, read, state_of, write_release

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones import siglip2_layout
from regionkit.plugins.patchioner.backbones.siglip2 import Siglip2
from regionkit.plugins.patchioner.backbones.siglip2_config import SIGLIP2_MODELS, Siglip2Config
from regionkit.plugins.patchioner.backbones.siglip2_layout import read_siglip2
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.registry.assembly import build
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

param = pytest.param


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("siglip2"))


@pytest.fixture(scope="module")
def siglip2(release: Path) -> Siglip2:
    return read(release)


def test_the_named_model_is_as_large_as_the_released_file():
    """model.safetensors of siglip2-base-patch16-512 has 1,503,344,520 bytes: its tensors and a header of some 50 kB."""
    network = Siglip2.skeleton(Siglip2Config(), LanguageTokenizer.of_bytes())
    tensors = [*network.state_dict().values(), torch.ones(1), torch.ones(1)]  # temperature and bias
    header = 1_503_344_520 - sum(4 * tensor.numel() for tensor in tensors)
    assert 80 * len(tensors) < header < 160 * len(tensors)


def test_header_says_space_and_architecture(release, siglip2):
    header = read_siglip2({"model": release}, CONFIG).header
    assert (header.kind, header.name, header.space) == ("backbone", "siglip2", "siglip2-base-patch16/image[48]")
    assert header.config == {
        "model": "base-patch16",
        "width": 48,
        "layers": 2,
        "heads": 4,
        "intermediate": 80,
        "text_width": 32,
        "text_layers": 3,
        "text_heads": 2,
        "text_intermediate": 56,
        "context": 12,
        "vocabulary": len(WORDS),
    }
    assert len(json.dumps(dict(header.extra))) < 200, "the tokenizer belongs to the tensors"
    ports = ports_of(siglip2.config)
    assert (ports.writes.space, ports.text, ports.blocks) == (siglip2.space, siglip2.text_space, siglip2.block_space)
    assert (siglip2.text_space, siglip2.block_space) == (
        "siglip2-base-patch16/text[48]",
        "siglip2-base-patch16/blocks[48]",
    )


@pytest.mark.parametrize("weights", ["", "siglip2-base-patch16-512", "siglip2-base-patch16-512/model.safetensors"])
def test_a_folder_is_used_as_it_lies(weights, release, siglip2):
    """The folder itself, the one around it, or the file with config.json and tokenizer beside it."""
    named = {"name": "siglip2", "weights": f"file:{release.parent / weights}", "resolution": 64}
    backbone = build("backbone", named)
    assert torch.equal(backbone.encode(IMAGES).patches, siglip2.encode(IMAGES).patches)
    assert torch.equal(backbone.encode_text(TEXTS), siglip2.encode_text(TEXTS))


def test_training_marks_and_half_precision_are_read(release, siglip2, tmp_path):
    state = state_of(random_model())
    state |= {"vision_model.embeddings.position_ids": torch.arange(16)[None]}
    state |= {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    place = write_release(tmp_path, {name: t.half() if t.is_floating_point() else t for name, t in state.items()})
    features = read(place).encode(IMAGES)
    torch.testing.assert_close(features.patches, siglip2.encode(IMAGES).patches, rtol=0, atol=0.02)


def test_a_converted_file_and_its_own_artifact_are_the_official_one(release, siglip2, tmp_path):
    for name, artifact in (("official", read_siglip2({"model": release}, CONFIG)), ("own", siglip2.artifact())):
        path = tmp_path / f"{name}.safetensors"
        write_weights(path, artifact.tensors, artifact.header)
        again = Siglip2.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
        assert torch.equal(siglip2.encode(IMAGES).patches, again.encode(IMAGES).patches)
        assert torch.equal(siglip2.encode_text(TEXTS), again.encode_text(TEXTS))


def changed(change: dict[str, torch.Tensor] | list[str]) -> dict[str, torch.Tensor]:
    state = state_of(random_model())
    if isinstance(change, dict):
        return {**state, **change}
    return {name: tensor for name, tensor in state.items() if name not in change}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        param(
            {name: torch.ones(1) for name in ("a", "b.c", "text_model.extra", "z")},
            "unknown: a, b.c, text_model.extra and 1 more",
            id="unknown",
        ),
        param(
            ["vision_model.head.probe", "vision_model.head.layernorm.bias", "text_model.head.bias", "logit_scale"],
            "missing: vision_model.head.probe, vision_model.head.layernorm.bias, text_model.head.bias",
            id="missing",
        ),
        param(
            {"vision_model.head.attention.in_proj_weight": torch.ones(3, 48)},
            "shape: vision_model.head.attention.in_proj_weight is (3, 48), the model has (144, 48)",
            id="shape",
        ),
        param(
            {"text_model.head.weight": torch.ones(32, 32)},
            "shape: text_model.head.weight is (32, 32), the model has (48, 32)",
            id="two-spaces",
        ),
        param(
            {"vision_model.embeddings.position_embedding.weight": torch.ones(15, 48)},
            "the learned positions belong to 15 patches, which form no square",
            id="no-square",
        ),
        param(["text_model.embeddings.token_embedding.weight"], "has no text tower of SigLIP", id="no-text"),
        param(["vision_model.embeddings.patch_embedding.weight"], "this is no vision tower of SigLIP", id="no-vision"),
        param(
            {"vision_model.embeddings.patch_embedding.weight": torch.ones(48, 768)},
            "this is a NaFlex model, which reads pictures of any shape as lists of patches\n"
            "  take the one for square pictures: google/siglip2-base-patch16-512",
            id="naflex",
        ),
        param(
            {"vision_model.embeddings.patch_embedding.weight": torch.ones(48, 3, 14, 14)},
            "this model has patches of 14 pixels, siglip2-base-patch16 has 16",
            id="patch-14",
        ),
    ],
)
def test_a_checkpoint_that_is_not_accounted_for_is_refused(change, words, tmp_path):
    place = write_release(tmp_path, changed(change))
    with pytest.raises(WeightsError) as caught:
        read(place)
    assert words in str(caught.value)


def test_another_published_model_is_refused_by_name(monkeypatch, release, tmp_path):
    shape = {"width": 48, "layers": 2}
    monkeypatch.setitem(SIGLIP2_MODELS, "large-patch16", {**SIGLIP2_MODELS["large-patch16"], **shape})
    with pytest.raises(WeightsError) as caught:
        read(release)
    assert str(caught.value) == (
        f"{release}: this is siglip2-large-patch16, and base-patch16 was asked for\n"
        "  write backbone.model: large-patch16, or name the other file: backbone.weights: file:PATH\n"
        "  to convert it: --set model=large-patch16"
    )
    with pytest.raises(WeightsError) as caught:
        read(release, dataclasses.replace(CONFIG, model="large-patch16"))
    assert str(caught.value) == (
        f"{release}: this siglip2-large-patch16 was trained for 64 pixels, and is another model than the one for 512\n"
        "  take google/siglip2-large-patch16-512; backbone.resolution may be any multiple of 16"
    )
    monkeypatch.setattr(siglip2_layout, "SIDE", 64)
    large = read(release, dataclasses.replace(CONFIG, model="large-patch16"))
    assert large.space == "siglip2-large-patch16/image[48]"


def test_missing_files_and_other_options_are_refused(release, tmp_path):
    place = write_release(tmp_path)
    (place / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"(?s)how many heads a tower of width 48 has .* put its config\.json"):
        read(place)
    said = {"vision_config": SIZES["vision_config"], "text_config": {**SIZES["text_config"], "hidden_act": "relu"}}
    (place / "config.json").write_text(json.dumps(said))
    with pytest.raises(
        WeightsError, match=r"its config\.json says hidden_act 'relu', and SigLIP has 'gelu_pytorch_tanh'"
    ):
        read(place)
    (place / "config.json").write_text(json.dumps(SIZES))
    save_file(changed({"text_model.embeddings.token_embedding.weight": torch.ones(30, 32)}), place / "few.safetensors")
    with pytest.raises(WeightsError, match="its tokenizer has 35 tokens, the text tower knows 30"):
        read(place / "few.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).unlink()
    with pytest.raises(WeightsError, match="this folder has no tokenizer"):
        read(place)
    with pytest.raises(WeightsError, match="backbone 'siglip2' needs a model"):
        read_siglip2({}, CONFIG)
    with pytest.raises(WeightsError, match=r"backbone\.layers: 5 was asked for, the weights .* have 2"):
        read(release, dataclasses.replace(CONFIG, layers=5))


def test_weights_without_a_tokenizer_are_refused(siglip2, tmp_path):
    artifact = siglip2.artifact()
    path = tmp_path / "bare.safetensors"
    for tensors, words in (
        ({name: tensor for name, tensor in artifact.tensors.items() if name != "tokenizer"}, "carry no tokenizer"),
        ({**artifact.tensors, "tokenizer": torch.zeros(3, dtype=torch.uint8)}, "the tokenizer in its header cannot be"),
    ):
        write_weights(path, tensors, artifact.header)
        with pytest.raises(WeightsError, match=words):
            Siglip2.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))


def test_a_lone_tokenizer_json_has_gemmas_special_tokens(release, siglip2, tmp_path):
    place = write_release(tmp_path)
    (place / "tokenizer_config.json").unlink()
    other = read(place)
    assert (other.tokenizer.end, other.tokenizer.pad) == (1, 0)
    assert torch.equal(other.encode_text(TEXTS), siglip2.encode_text(TEXTS))
    (place / "tokenizer.json").write_text((place / "tokenizer.json").read_text().replace("<eos>", "</s>"))
    with pytest.raises(WeightsError, match="its tokenizer has no end token"):
        read(place)


@pytest.mark.parametrize("encoder", ["patch-pool", "{name: drawn, min_side: 9}"])
def test_a_release_captions_from_its_folder(encoder, tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    write_release(tmp_path)
    torch.save(decap_state(dim=48), tmp_path / "coco_prefix-009.pt")
    write_merges(tmp_path)
    picture((64, 48), 1).save(tmp_path / "picture.png")
    pipeline = f"version: 1\nbackbone: {{name: siglip2, resolution: 64}}\nregion_encoder: {encoder}\nbridge: none\n"
    (tmp_path / "pipeline.yaml").write_text(pipeline + "decoder: decap\n")
    words = ["caption", str(tmp_path / "picture.png"), "--box", "5,5,40,40", "--point", "9,9", "--json", "--offline"]
    words += ["--preset", str(tmp_path / "pipeline.yaml"), "--weights", f"file:{tmp_path}"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["captions"]) == 2
    (tmp_path / "siglip2-base-patch16-512/tokenizer.json").unlink()
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert "siglip2-base-patch16-512: this folder has no tokenizer" in result.output


def test_a_converted_siglip2_is_not_taken_for_a_plain_tower(release, tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    weight_index.get_index.cache_clear()
    out = tmp_path / "siglip2.safetensors"
    result = CliRunner().invoke(root, ["weights", "convert", "siglip2", str(release), "--out", str(out)])
    assert result.exit_code == 0, result.output
    backbone = build("backbone", {"name": "siglip2", "resolution": 64})
    assert backbone.space == "siglip2-base-patch16/image[48]"
    with pytest.raises(RegionkitError, match="no weights of backbone 'siglip'"):
        build("backbone", "siglip")
    weight_index.get_index.cache_clear()
