"""``prefix-lm`` started from pretrained language models: folders of the hub in all four families of table 4."""

import json
from pathlib import Path

import pytest
import torch
from causal_folders import FAMILIES, ROWS, SPECIAL, tensors_of, write_folder, write_tensors
from transformers import AutoModelForCausalLM

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions
from regionkit.core.testing import Sentences, example_tokens
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.zeroshot.prefix_lm import PrefixLm
from regionkit.plugins.zeroshot.prefix_lm_config import PrefixLmConfig

param = pytest.param
SPACE = "tiny/text[24]"
LAYOUTS = [
    param("gpt2", {}, id="gpt2"),
    param("gpt2", {"form": "bin"}, id="gpt2-pickle"),
    param("gemma3_text", {"dtype": torch.bfloat16}, id="gemma3-bfloat16"),
    param("qwen3", {"dtype": torch.bfloat16}, id="qwen3-bfloat16"),
    param("qwen3", {"tied": False, "form": "sharded"}, id="qwen3-untied-shards"),
    param("llama", {"dtype": torch.bfloat16}, id="llama-bfloat16"),
    param("llama", {"tied": False, "form": "sharded", "dtype": torch.float16}, id="llama-untied-shards-float16"),
]


def started(folder: Path, **options) -> PrefixLm:
    config = PrefixLmConfig(start=f"file:{folder}", **options)
    return PrefixLm.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}))


@pytest.mark.parametrize(("family", "how"), LAYOUTS)
def test_a_folder_of_the_hub_computes_what_transformers_makes_of_it(family, how, tmp_path):
    folder = write_folder(tmp_path / family, family, **how)
    decoder = started(folder)
    own, said = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    inputs = example_tokens(SPACE, 3)
    with torch.inference_mode():
        embeddings, valid = decoder.spliced(inputs, "a dog")
        assert bool(valid.all())
        wanted = own.eval()(inputs_embeds=embeddings).logits
        assert torch.allclose(decoder.model(inputs_embeds=embeddings).logits, wanted, atol=1e-5)
    held = decoder.model.state_dict()
    for name, tensor in tensors_of(family, tied=how.get("tied", True)).items():
        if not name.endswith("attn.bias"):  # the causal mask
            inner = name if name in held else f"transformer.{name}"
            assert torch.equal(held[inner], tensor.to(how.get("dtype", torch.float32)).float())
    assert {tensor.dtype for tensor in held.values()} == {torch.float32}
    assert (decoder.config.model, decoder.config.hidden, decoder.config.layers) == (family, 32, 2)
    assert (decoder.config.heads, decoder.config.kv_heads) == (4, 4 if family == "gpt2" else 2)
    assert decoder.config.positions == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_those_of_the_family(family, tmp_path):
    decoder = started(write_folder(tmp_path / family, family))
    tokenizer = decoder.tokenizer
    assert (tokenizer.end, tokenizer.pad, tokenizer.start) == SPECIAL[family]
    assert tokenizer.size <= ROWS[family]
    assert tokenizer.decode(tokenizer.encode("a dog on grass.")) == "a dog on grass."
    embeddings, valid = decoder.spliced(example_tokens(SPACE, 2))
    assert embeddings.shape == (2, 1, 32)  # the soft token is position 0: no BOS stands before it
    assert bool(valid.all())
    ids, lengths = decoder._targets(["a dog", "a"], None)
    assert ids.tolist() == [
        [*tokenizer.encode("a dog"), tokenizer.end],
        [*tokenizer.encode("a"), tokenizer.end, *[tokenizer.pad] * 4],
    ]
    assert lengths.tolist() == [6, 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_file_of_ours_gives_the_same_captions(family, tmp_path):
    decoder = started(write_folder(tmp_path / family, family), mapper="mlp", prefix=3)
    artifact = decoder.artifact()
    path = tmp_path / "trained.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert header is not None
    found = PrefixLm.build(PrefixLmConfig(), BuildContext(reads=SPACE, weights=WeightFile(path, header)))
    assert found.space == SPACE
    assert (found.config.mapper, found.config.prefix, found.config.model) == ("mlp", 3, family)
    inputs, options = example_tokens(SPACE, 4), GenerateOptions(max_tokens=8)
    captions = decoder.generate(inputs, None, options)
    assert found.generate(inputs, None, options) == captions
    assert len({one.tokens for one in captions}) > 1
    missing = dict(artifact.tensors)
    missing.pop("mapper.model.2.bias")
    write_weights(path, missing, artifact.header)
    with pytest.raises(WeightsError, match=r"the weights do not fit Module") as caught:
        PrefixLm.build(PrefixLmConfig(), BuildContext(reads=SPACE, weights=WeightFile(path, header)))
    assert caught.value.hints == ("missing: mapper.model.2.bias",)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_name_is_accounted_for(family, tmp_path):
    folder = write_folder(tmp_path / family, family)
    prefix = "" if family == "gpt2" else "model."
    last = "ln_f.weight" if family == "gpt2" else "model.norm.weight"
    ours = {"ln_f.weight": "transformer.ln_f.weight"}.get(last, last)
    tensors = tensors_of(family)
    write_tensors(folder, {name: tensor for name, tensor in tensors.items() if name != last})
    with pytest.raises(WeightsError, match="the weights do not fit") as caught:
        started(folder)
    assert caught.value.hints == (f"missing: {ours}",)
    write_tensors(folder, tensors | {f"{prefix}extra.weight": torch.ones(2), f"{prefix}vision.weight": torch.ones(2)})
    with pytest.raises(WeightsError, match="the weights do not fit") as caught:
        started(folder)
    names = ", ".join(f"{'transformer.' if family == 'gpt2' else prefix}{name}.weight" for name in ("extra", "vision"))
    assert caught.value.hints == (f"left over: {names}",)


def test_the_folder_is_looked_for_here_and_among_the_weights(tmp_path, monkeypatch):
    write_folder(tmp_path / "weights" / "gpt2", "gpt2")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    with pytest.raises(WeightsError) as caught:
        started(Path("gpt2"))
    assert caught.value.message == "decoder 'prefix-lm': start: file:gpt2: there is no such folder"
    assert caught.value.hints == (
        f"looked for: {tmp_path / 'here' / 'gpt2'}",
        "fetch the whole repository from the Hugging Face hub: hf download ORG/NAME --local-dir FOLDER",
    )
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "weights"))
    assert started(Path("gpt2")).config.hidden == 32


def test_what_the_folder_decides_cannot_be_asked_for_otherwise(tmp_path):
    folder = write_folder(tmp_path / "llama", "llama")
    with pytest.raises(WeightsError) as caught:
        started(folder, hidden=48)
    assert caught.value.message == f"decoder.hidden: 48 was asked for, the weights file:{folder} have 32"
    with pytest.raises(WeightsError, match=r"decoder.model: qwen3 was asked for, the weights .* have llama"):
        started(folder, model="qwen3")
    assert started(folder, model="llama", hidden=32, heads=4).config.hidden == 32
    for options in ({"tokenizer": "file:x"}, {"dropout": 0.5}):
        with pytest.raises(ValueError, match=r"was asked for, the model in start brings its own"):
            PrefixLmConfig(start="file:x", **options)
    with pytest.raises(ValueError, match=r"start: 'gpt2' must be file:FOLDER, a language model to start from"):
        PrefixLmConfig(start="gpt2")


def test_a_token_without_a_row_is_refused_unless_it_is_special(tmp_path):
    folder = write_folder(tmp_path / "gemma", "gemma3_text")
    table = json.loads((folder / "tokenizer.json").read_text())
    beyond = [one for one in table["added_tokens"] if one["id"] >= ROWS["gemma3_text"]]
    assert [one["content"] for one in beyond] == ["<image_soft_token>"]
    beyond[0]["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(WeightsError, match="its tokenizer has 289 ids, its model has 288 word embeddings"):
        started(folder)


def test_a_frozen_language_model_stays_as_it_is(tmp_path):
    decoder = started(write_folder(tmp_path / "gpt2", "gpt2"), frozen=True).train()
    assert not decoder.model.training  # nor has it dropout
    assert decoder.mapper.training
    trained = [name for name, weight in decoder.named_parameters() if weight.requires_grad]
    assert trained == ["mapper.model.0.weight", "mapper.model.0.bias"]
    loss = decoder.loss(example_tokens(SPACE, 2), ["a dog", "a cat"])
    loss.backward()
    assert decoder.mapper.model[0].weight.grad.abs().sum() > 0
    assert torch.equal(loss, decoder.loss(example_tokens(SPACE, 2), ["a dog", "a cat"]))
    with pytest.raises(ValueError, match=r"frozen: adapters of rank 4 are to be trained: leave out frozen, or lora"):
        PrefixLmConfig(frozen=True, lora=4)


def test_a_started_model_has_the_dropout_of_its_release(tmp_path):
    decoder = started(write_folder(tmp_path / "gpt2", "gpt2")).train()
    torch.manual_seed(0)
    inputs = example_tokens(SPACE, 2)
    assert not torch.equal(decoder.loss(inputs, ["a dog", "a cat"]), decoder.loss(inputs, ["a dog", "a cat"]))
    decoder.eval()
    assert torch.equal(decoder.loss(inputs, ["a dog", "a cat"]), decoder.loss(inputs, ["a dog", "a cat"]))
