"""CLOSE's released checkpoints: every tensor accounted for, and read through the pipeline's door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.testing import example_tokens
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.zeroshot.close import Close
from regionkit.plugins.zeroshot.close_config import CloseConfig
from regionkit.plugins.zeroshot.close_layout import read_close
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

DIM, HIDDEN = 24, 32
TOKENIZER = LanguageTokenizer.of_words(["a small dog on the grass", "two cats and a boat"])
CONFIG = T5Config(
    vocab_size=40,  # the release has more rows than its tokenizer has ids
    d_model=HIDDEN,
    d_kv=8,
    d_ff=48,
    num_layers=2,
    num_decoder_layers=3,
    num_heads=4,
    feed_forward_proj="relu",
    pad_token_id=0,
    eos_token_id=2,
    decoder_start_token_id=0,
)


def blocks(part: str, count: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of T5's blocks, written down from its release."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(count):
        layers = ["SelfAttention", "EncDecAttention"] if part == "decoder" else ["SelfAttention"]
        for layer, kind in enumerate(layers):
            here = f"_t5_model.{part}.block.{block}.layer.{layer}"
            for letter in "qkv":
                shapes[f"{here}.{kind}.{letter}.weight"] = (32, HIDDEN)
            shapes[f"{here}.{kind}.o.weight"] = (HIDDEN, 32)
            shapes[f"{here}.layer_norm.weight"] = (HIDDEN,)
            if block == 0 and kind == "SelfAttention":
                shapes[f"{here}.{kind}.relative_attention_bias.weight"] = (32, 4)
        here = f"_t5_model.{part}.block.{block}.layer.{len(layers)}"
        shapes[f"{here}.DenseReluDense.wi.weight"] = (48, HIDDEN)
        shapes[f"{here}.DenseReluDense.wo.weight"] = (HIDDEN, 48)
        shapes[f"{here}.layer_norm.weight"] = (HIDDEN,)
    shapes[f"_t5_model.{part}.final_layer_norm.weight"] = (HIDDEN,)
    return shapes


def state(dim: int = DIM, constants: int = 0) -> dict[str, Tensor]:
    """A state as the training script saves it; T5's words stand in it four times."""
    generator = torch.Generator().manual_seed(0)
    shapes = {**blocks("encoder", 2), **blocks("decoder", 3)}
    found = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    words = torch.randn(40, HIDDEN, generator=generator)
    for name in ("shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        found[f"_t5_model.{name}.weight"] = words
    found["adapter.lin.weight"] = torch.randn(4 * HIDDEN, dim, generator=generator)
    found["adapter.lin.bias"] = torch.randn(4 * HIDDEN, generator=generator)
    if constants:
        found["adapter.constant_tokens"] = torch.randn(constants, HIDDEN, generator=generator)
    return found


def write(folder: Path, tensors: dict[str, Tensor]) -> dict[str, Path]:
    """Write the checkpoint and T5's folder, which needs no weights; paths by role."""
    files = {"model": folder / "state-ep8.pth", "language": folder / "t5-base"}
    torch.save(tensors, files["model"])
    files["language"].mkdir()
    (files["language"] / "config.json").write_text(CONFIG.to_json_string())
    (files["language"] / "tokenizer.json").write_text(TOKENIZER.text)
    (files["language"] / "tokenizer_config.json").write_text('{"eos_token": "</s>", "pad_token": "<pad>"}')
    return files


@pytest.mark.parametrize("constants", [pytest.param(0, id="as-released"), pytest.param(2, id="with-constants")])
def test_every_tensor_is_read_and_computes_what_t5_computes(constants, tmp_path):
    official = state(constants=constants)
    # A CLIP ResNet leaves the statistics of its norms in the state.
    norm = "_clip_model.visual.bn1"
    extra = {f"{norm}.running_mean": torch.zeros(3), f"{norm}.num_batches_tracked": torch.tensor(2)}
    files = write(tmp_path, official | extra)
    artifact = read_close(files, CloseConfig())
    assert artifact.header.space == f"?[{DIM}]"
    sizes = artifact.header.config
    assert (sizes["hidden"], sizes["layers"], sizes["decoder_layers"]) == (HIDDEN, 2, 3)
    assert (sizes["heads"], sizes["head_width"], sizes["ff"], sizes["ff_type"]) == (4, 8, 48, "relu")
    assert (sizes["tokens"], sizes["constants"]) == (4, constants)

    file = WeightFile(files["model"], artifact.header, files, lambda: artifact.tensors)
    decoder = Close.build(CloseConfig(), BuildContext(reads=f"clip/text[{DIM}]", weights=file))
    model = T5ForConditionalGeneration(CONFIG).eval()
    kept = {name.removeprefix("_t5_model."): tensor for name, tensor in official.items() if name.startswith("_t5")}
    model.load_state_dict(kept)
    given = example_tokens(f"clip/text[{DIM}]", 3, 1)
    unit = torch.nn.functional.normalize(given.tokens[:, 0], dim=-1)
    soft = (unit @ official["adapter.lin.weight"].T + official["adapter.lin.bias"]).view(3, 4, HIDDEN)
    if constants:
        soft = torch.cat([official["adapter.constant_tokens"].expand(3, -1, -1), soft], dim=1)
    ids, lengths = decoder._targets(["a small dog", "two cats", ""], None)
    wanted = model(inputs_embeds=soft, labels=ids).logits
    assert torch.allclose(decoder._logits(given, ids, lengths, None), wanted, atol=1e-5)


def test_shapes_of_the_test_are_those_of_transformers():
    model = T5ForConditionalGeneration(CONFIG)
    wanted = {f"_t5_model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in state().items() if name.startswith("_t5")} == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"mapping.0.w": torch.zeros(1), "gpt.wte": torch.zeros(1), "b": torch.zeros(1), "a": torch.zeros(1)},
            r"not every tensor of this checkpoint is accounted for\n  unknown: mapping\.0\.w, gpt\.wte, b and 1 more",
            id="unknown",
        ),
        pytest.param(
            {"_t5_model.encoder.final_layer_norm.weight": None},
            r"the weights do not fit .*\n  missing: encoder\.final_layer_norm\.weight",
            id="missing",
        ),
        pytest.param(
            {"_t5_model.decoder.extra.weight": torch.zeros(2)},
            r"the weights do not fit .*\n  left over: decoder\.extra\.weight",
            id="left-over",
        ),
        pytest.param(
            {"adapter.lin.bias": None}, r"the linear layer of decoder 'close' is missing: mapper\.lin\.bias", id="bias"
        ),
        pytest.param(
            {"adapter.lin.weight": torch.zeros(100, DIM), "adapter.lin.bias": torch.zeros(100)},
            r"its linear layer makes no whole tokens of width 32: mapper\.lin\.weight \(100, 24\)",
            id="no-whole-tokens",
        ),
        pytest.param(
            {"adapter.constant_tokens": torch.zeros(2, 5)},
            r"mapper\.constant_tokens is \(2, 5\), and should be tokens of width 32",
            id="constants",
        ),
        pytest.param(
            {"_t5_model.lm_head.weight": torch.zeros(40, 16)}, r"shape: lm_head\.weight is \(40, 16\)", id="shape"
        ),
    ],
)
def test_another_checkpoint_is_refused(change, message, tmp_path):
    changed = {name: tensor for name, tensor in {**state(), **change}.items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        read_close(write(tmp_path, changed), CloseConfig())


def test_both_files_are_needed(tmp_path):
    files = write(tmp_path, state())
    for role, what in (("model", "its checkpoint, state-ep8.pth"), ("language", "the folder of T5-base")):
        with pytest.raises(WeightsError, match=f"decoder 'close' needs {what}"):
            read_close({other: path for other, path in files.items() if other != role}, CloseConfig())


def test_a_pipeline_captions_with_the_released_files(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    write(tmp_path, state(dim=128))
    (tmp_path / "pipeline.yaml").write_text(
        "version: 1\nbackbone: mini-dense\nregion_encoder: patch-pool\nbridge: {name: noise, std: 0.12}\n"
        f"decoder: {{name: close, weights: 'file:{tmp_path}'}}\n"
    )
    path = tmp_path / "picture.png"
    picture((64, 48), 1).save(path)
    weight_index.get_index.cache_clear()
    words = ["caption", str(path), "--box", "5,5,40,40", "--preset", str(tmp_path / "pipeline.yaml")]
    result = CliRunner().invoke(root, [*words, "--offline", "--json", "--force"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
