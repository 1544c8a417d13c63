"""Our own golden vectors: formulas in float64 against AlphaCLIP, DenseCLIP, DINO.txt's head, RegionCLIP's pool."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from golden import golden_file
from golden_files import OWN
from official_layouts import clip_model, context_of, openai_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.alphaclip_layout import read_alphaclip
from regionkit.plugins.patchioner.backbones.denseclip import DenseClip
from regionkit.plugins.patchioner.backbones.denseclip_config import DenseClipConfig
from regionkit.plugins.patchioner.backbones.denseclip_layout import read_denseclip
from regionkit.plugins.patchioner.backbones.dinotxt import VisionHead
from regionkit.plugins.patchioner.backbones.dinotxt_layout import read_vision_head
from regionkit.plugins.patchioner.backbones.resnet import EveryToken

param = pytest.param
FILES = ["alphaclip", "denseclip", "dinotxt_head", "regionclip_attention_pool"]


def vectors(name: str) -> dict[str, Tensor]:
    return load_file(golden_file(f"{name}.safetensors"))


def weights_of(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file under their official names, as they are stored."""
    return {name[2:]: tensor for name, tensor in golden.items() if name.startswith("w.")}


def close(found: Tensor, wanted: Tensor) -> None:
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted.float(), rtol=0, atol=1e-5)


def merges(folder: Path) -> Path:
    """Merges of a tokenizer that joins nothing in the texts of the script."""
    path = folder / "merges.txt"
    path.write_text("#version: 0.2\nq q\n")
    return path


# ---------------------------------------------------------------- AlphaCLIP


@pytest.fixture(scope="module")
def alpha() -> dict[str, Tensor]:
    return vectors("alphaclip")


def alphaclip(golden: dict[str, Tensor], folder: Path, compat: str) -> AlphaClip:
    own = weights_of(golden)
    text = openai_state(clip_model(dim=own["proj"].shape[1]))
    words = text["token_embedding.weight"][:515]
    files = {"vision": folder / "vision.safetensors", "text": folder / "text.safetensors", "merges": merges(folder)}
    save_file(own, files["vision"])
    save_file({**text, "token_embedding.weight": words}, files["text"])
    config = AlphaClipConfig(resolution=golden["pixels"].shape[-1], compat=compat)
    return AlphaClip.build(config, context_of(read_alphaclip(files, config), files))


@pytest.mark.parametrize("compat", ["paper", "reference"])
@torch.no_grad()
def test_alphaclip(compat, alpha, tmp_path):
    made = alphaclip(alpha, tmp_path, compat)
    pixels, masks = alpha["pixels"].float(), alpha["masks"].float()
    assert 0 < masks.mean() < 1
    tokens = made.embed_masked(pixels, masks)
    close(tokens, alpha[f"entering.{compat}"])
    frames = (made.frame(tuple(pixels.shape[:1:-1])),) * len(pixels)
    masked, plain = made.projected(tokens, frames), made.read(pixels, frames)
    for features, name in ((masked, "tokens"), (plain, "everywhere")):
        wanted = alpha[f"{name}.{compat}"]
        close(features.cls, wanted[:, 0])
        close(features.patches.flatten(1, 2), wanted[:, 1:])


def test_the_two_readings_of_alphaclip_differ(alpha):
    assert (alpha["tokens.paper"] - alpha["tokens.reference"]).abs().max() > 0.01
    assert (alpha["tokens.paper"] - alpha["everywhere.paper"]).abs().max() > 0.01


# ---------------------------------------------------------------- DenseCLIP


@pytest.mark.parametrize(
    ("form", "compat"),
    [
        param("once", "reference", id="reference"),
        param("once", "paper", id="paper"),
        param("twice", "paper", id="twice"),
    ],
)
@torch.no_grad()
def test_denseclip(form, compat, tmp_path):
    golden = vectors("denseclip")
    files = {"model": tmp_path / "model.safetensors", "merges": merges(tmp_path)}
    save_file(weights_of(golden), files["model"])
    pixels = golden["pixels"].float()
    config = DenseClipConfig(resolution=pixels.shape[-1], class_embedding=form, compat=compat)
    made = DenseClip.build(config, context_of(read_denseclip(files, config), files))
    features = made.read(pixels, (made.frame(tuple(pixels.shape[:1:-1])),) * len(pixels))
    close(features.cls, golden[f"tokens.{form}"][:, 0])
    close(features.patches.flatten(1, 2), golden[f"tokens.{form}"][:, 1:])
    with safe_open(golden_file("denseclip.safetensors"), "pt") as file:
        texts = json.loads(file.metadata()["texts"])
    assert max(len(text) for text in texts) > made.config.context  # one is cut
    close(made.encode_text(texts), golden["sentences"])


# ---------------------------------------------------------------- DINO.txt


@torch.no_grad()
def test_vision_head_of_dinotxt(tmp_path):
    golden = vectors("dinotxt_head")
    own = weights_of(golden)
    save_file(own, tmp_path / "head.safetensors")
    read = read_vision_head(tmp_path / "head.safetensors")
    layers = len({name.split(".")[1] for name in own if name.startswith("block_list.")})
    head = VisionHead(golden["tokens"].shape[-1], layers)
    head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in read.items()})
    close(head(golden["tokens"].float()), golden["aligned"])


# ---------------------------------------------------------------- RegionCLIP


@torch.no_grad()
def test_attention_pool_of_regionclip():
    golden = vectors("regionclip_attention_pool")
    own = {name.removeprefix("backbone.attnpool."): tensor.float() for name, tensor in weights_of(golden).items()}
    names = {"pos_embed": "positional_embedding", "proj.weight": "c_proj.weight", "proj.bias": "c_proj.bias"}
    names |= {f"{letter}.{end}": f"{letter}_proj.{end}" for letter in "qkv" for end in ("weight", "bias")}
    assert set(names.values()) == set(own)
    places = golden["places"].float()
    width, side = places.shape[1], places.shape[-1]
    pool = EveryToken(width, feat_size=side, out_features=golden["tokens"].shape[-1], qkv_separate=True)
    pool.load_state_dict({ours: own[theirs] for ours, theirs in names.items()})
    close(pool(places), golden["tokens"])
    close(normalize(pool.proj(places.flatten(2).transpose(1, 2)), dim=-1), golden["projected"])


# ---------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_own_vectors", OWN / "make_own_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_same_files(script, tmp_path):
    script.main(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == FILES
    for name in FILES:
        made, kept = load_file(tmp_path / f"{name}.safetensors"), load_file(OWN / f"{name}.safetensors")
        assert list(made) == list(kept)
        for key, tensor in made.items():
            assert tensor.dtype == kept[key].dtype, key
            if tensor.dtype == torch.float32:  # a library may sum in another order
                torch.testing.assert_close(tensor, kept[key], rtol=0, atol=1e-6)
            else:
                assert torch.equal(tensor.float(), kept[key].float()), key


def test_another_seed_makes_files_of_the_same_layout(script, tmp_path):
    for name, make in script.FILES.items():
        one, other = vectors(name), {key: script.stored(array) for key, array in make(99).items()}
        assert {key: (tensor.shape, tensor.dtype) for key, tensor in one.items()} == {
            key: (tensor.shape, tensor.dtype) for key, tensor in other.items()
        }
        assert not all(torch.equal(one[key].float(), other[key].float()) for key in one)


def test_the_script_knows_none_of_our_classes():
    text = (OWN / "make_own_vectors.py").read_text()
    assert "regionkit" not in text
    assert not [word for word in ("timm", "transformers", "torch.nn") if word in text]


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_explained(name):
    assert (OWN / f"{name}.safetensors").stat().st_size < 200_000
    assert f"`{name}.safetensors`" in (OWN / "README.md").read_text()
