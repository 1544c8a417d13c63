"""IFCap's released checkpoints: every tensor accounted for, and read through the pipeline's door beside a bank."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from clipcap_release import block_shapes
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.testing import example_tokens
from regionkit.core.testing.fakes import picture
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, write_weights
from regionkit.plugins.zeroshot.ifcap import Ifcap
from regionkit.plugins.zeroshot.ifcap_config import IfcapConfig
from regionkit.plugins.zeroshot.ifcap_layout import read_ifcap
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

HIDDEN, LENGTH, PREFIX, LAYERS, ROWS = 32, 5, 3, 2, 300
OPTIONS = IfcapConfig(heads=4, mapper_heads=4, frequency=1)
MASKS = {
    "gpt.transformer.h.0.attn.bias": torch.ones(1, 1, 9, 9),
    "gpt.transformer.h.1.attn.masked_bias": torch.tensor(-1e4),
}


def tokenizer() -> str:
    """A tokenizer of bytes with GPT-2's end token."""
    told = json.loads(LanguageTokenizer.of_bytes().text)
    return json.dumps(told).replace("</s>", "<|endoftext|>")


def state(dim: int = 24) -> dict[str, Tensor]:
    """A state as the training script saves it."""
    generator = torch.Generator().manual_seed(0)
    net = "mapping_network"
    shapes = {
        f"{net}.linear.weight": (LENGTH * HIDDEN, dim),
        f"{net}.linear.bias": (LENGTH * HIDDEN,),
        f"{net}.rt_linear.weight": (HIDDEN, dim),
        f"{net}.rt_linear.bias": (HIDDEN,),
        f"{net}.prefix_const": (PREFIX, HIDDEN),
        **block_shapes(f"{net}.crossatt.transformer.layers.0", HIDDEN),
    }
    for layer in range(LAYERS):
        shapes |= block_shapes(f"{net}.transformer.layers.{layer}", HIDDEN)
    found = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        gpt = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=ROWS, n_positions=160, n_embd=HIDDEN, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
            )
        )
    return found | {f"gpt.{name}": tensor for name, tensor in gpt.state_dict().items()}


def write(folder: Path, tensors: dict[str, Tensor]) -> dict[str, Path]:
    """Write the checkpoint and GPT-2's tokenizer; paths by role."""
    files = {"model": folder / "coco_prefix-004.pt", "tokenizer": folder / "tokenizer.json"}
    torch.save(tensors, files["model"])
    files["tokenizer"].write_text(tokenizer())
    return files


@pytest.mark.parametrize("prefix", [pytest.param("", id="as-released"), pytest.param("module.", id="several-devices")])
def test_every_tensor_is_read_and_in_its_place(prefix, tmp_path):
    official = state()
    files = write(tmp_path, {prefix + name: tensor for name, tensor in (official | MASKS).items()})
    artifact = read_ifcap(files, OPTIONS)
    assert (artifact.header.name, artifact.header.space) == ("ifcap", "?[24]")
    sizes = artifact.header.config
    assert (sizes["hidden"], sizes["layers"], sizes["positions"]) == (HIDDEN, 2, 160)
    assert (sizes["prefix"], sizes["clip_length"], sizes["mapper_layers"]) == (PREFIX, LENGTH, LAYERS)
    file = WeightFile(files["model"], artifact.header, files, lambda: artifact.tensors)
    decoder = Ifcap.build(OPTIONS, BuildContext(reads="clip/text[24]", weights=file))
    mine = decoder.mapper.state_dict()
    theirs = {name.removeprefix("mapping_network."): one for name, one in official.items() if name.startswith("map")}
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(decoder.model.transformer.h[1].mlp.c_fc.weight, official["gpt.transformer.h.1.mlp.c_fc.weight"])
    decoder.fit(torch.randn(4, 24), ["a dog", "a cat", "two dogs", "a car"])
    assert len(decoder.generate(example_tokens("clip/text[24]", 3, 1))) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"mapping_network.crossatt.transformer.layers.1.norm1.weight": torch.zeros(HIDDEN)},
            r"accounted for\n  unknown: mapping_network\.crossatt\.transformer\.layers\.1",
            id="two-layers-of-cross-attention",
        ),
        pytest.param(
            {"mapping_network.rt_linear.weight": None},
            r"the weights do not fit RetrievalMapper\n  missing: mapping_network\.rt_linear\.weight",
            id="no-retrieval",
        ),
        pytest.param(
            {"mapping_network.rt_linear.weight": torch.zeros(HIDDEN, 7)},
            r"shape: mapping_network\.rt_linear\.weight is \(32, 7\), the model has \(32, 24\)",
            id="another-width",
        ),
        pytest.param(
            {"gpt.transformer.ln_f.weight": None},
            r"missing: gpt\.transformer\.ln_f\.weight",
            id="part-of-gpt2-is-missing",
        ),
    ],
)
def test_another_checkpoint_is_refused(change, message, tmp_path):
    changed = {name: tensor for name, tensor in {**state(), **change}.items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        read_ifcap(write(tmp_path, changed), OPTIONS)


def test_a_decoder_without_retrieval_is_none(tmp_path):
    plain = {name: tensor for name, tensor in state().items() if "rt_linear" not in name and "crossatt" not in name}
    with pytest.raises(
        WeightsError,
        match=r"missing: mapping_network\.rt_linear\.weight, mapping_network\.rt_linear\.bias, mapping_network",
    ):
        read_ifcap(write(tmp_path, plain), OPTIONS)


def test_a_pipeline_captions_with_the_released_files_and_a_bank(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    (tmp_path / "release").mkdir()
    write(tmp_path / "release", state(dim=128))
    bank = bank_tensors(torch.randn(6, 128), ["a dog", "a dog and a cat", "a car", "a big dog", "two cats", "a cow"])
    write_weights(tmp_path / "bank.safetensors", bank, WeightHeader("bridge", "memory", "mini-dense/text[128]"))
    (tmp_path / "pipeline.yaml").write_text(
        "version: 1\nbackbone: mini-dense\nregion_encoder: patch-pool\nbridge: {name: noise, std: 0.12}\n"
        f"decoder: {{name: ifcap, heads: 4, mapper_heads: 4, weights: 'file:{tmp_path}/release', "
        f"bank: 'file:{tmp_path}/bank.safetensors'}}\n"
    )
    path = tmp_path / "picture.png"
    picture((64, 48), 1).save(path)
    weight_index.get_index.cache_clear()
    words = ["caption", str(path), "--box", "5,5,40,40", "--preset", str(tmp_path / "pipeline.yaml")]
    result = CliRunner().invoke(root, [*words, "--offline", "--json", "--force"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
