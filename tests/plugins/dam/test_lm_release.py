"""Language models as folders of the hub: in one file and in shards, tied, prefixed, damaged."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions
from regionkit.core.language.models import stored_tensors
from regionkit.core.testing import Sentences, example_tokens
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens
from regionkit.plugins.dam.lm_release import read_lm_tokens

SPACE = "tiny/tokens[32]"
FAMILIES = [pytest.param(name, id=name) for name in ("llama", "gpt2", "qwen2", "opt")]


def made(model="llama", **options) -> LmTokens:
    sizes = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 64}
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences()})
    return LmTokens.build(LmTokensConfig(model=model, **sizes, **options), context)


def release(decoder, folder, shards=1, change=lambda tensors: tensors, **config):
    """Write a decoder's language model as the hub has it."""
    folder.mkdir(parents=True)
    tensors = {name: tensor.contiguous() for name, tensor in change(stored_tensors(decoder.model)).items()}
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
    else:
        places = {}
        for shard in range(shards):
            name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            part = {key: tensors[key] for key in names[shard::shards]}
            save_file(part, folder / name)
            places |= dict.fromkeys(part, name)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    said = json.loads(decoder.model.config.to_json_string()) | config
    (folder / "config.json").write_text(json.dumps({key: value for key, value in said.items() if value != "drop"}))
    (folder / "tokenizer.json").write_text(decoder.tokenizer.text)
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, **tokens}))
    return folder


def opened(folder) -> LmTokens:
    artifact = read_lm_tokens({"model": folder}, LmTokensConfig())
    config = dataclasses.replace(LmTokensConfig(), **artifact.header.config)
    file = WeightFile(folder, artifact.header, {"model": folder}, lambda: artifact.tensors)
    return LmTokens.build(config, BuildContext(reads=SPACE, weights=file))


@pytest.mark.parametrize("shards", [pytest.param(1, id="one-file"), pytest.param(3, id="three-shards")])
@pytest.mark.parametrize("model", FAMILIES)
def test_folder_gives_the_same_captions(model, shards, tmp_path):
    decoder = made(model)
    found = opened(release(decoder, tmp_path / "llm", shards))
    assert found.config.model == model
    assert (found.config.hidden, found.config.layers, found.config.heads, found.config.positions) == (32, 2, 4, 64)
    assert found.space == SPACE
    inputs, options = example_tokens(SPACE, 4, 3), GenerateOptions(max_tokens=6)
    assert found.generate(inputs, None, options) == decoder.generate(inputs, None, options)


def test_names_without_the_inner_models_prefix_and_old_masks_are_known(tmp_path):
    def change(tensors):
        plain = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        return {**plain, "h.0.attn.bias": torch.ones(1, 1, 4, 4), "h.0.attn.masked_bias": torch.tensor(-1e4)}

    decoder = made("gpt2")
    found = opened(release(decoder, tmp_path / "gpt2", change=change))
    for name, tensor in decoder.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor)


def test_half_precision_is_widened(tmp_path):
    decoder = made()
    folder = release(decoder, tmp_path / "llm", change=lambda tensors: {k: v.half() for k, v in tensors.items()})
    assert opened(folder).model.lm_head.weight.dtype == torch.float32


def broken(name):
    """Return a function that damages a folder."""

    def change(folder):
        weights = folder / "model.safetensors"
        tensors = load_file(weights)
        if name == "missing":
            tensors.pop("model.norm.weight")
        if name == "left-over":
            tensors["model.extra.weight"] = torch.ones(2)
        if name == "shape":
            tensors["model.norm.weight"] = torch.ones(3)
        if name == "nan":
            tensors["model.norm.weight"][0] = torch.nan
        save_file(tensors, weights)
        if name == "cut":
            weights.write_bytes(weights.read_bytes()[:-20])
        if name == "no-config":
            (folder / "config.json").unlink()
        if name == "bad-config":
            (folder / "config.json").write_text("[1")
        if name == "no-tokenizer":
            (folder / "tokenizer.json").unlink()
        if name == "no-weights":
            weights.unlink()

    return change


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("missing", "missing: model.norm.weight", id="missing"),
        pytest.param("left-over", "left over: model.extra.weight", id="left-over"),
        pytest.param("shape", r"model.norm.weight is \(3,\), the model has \(32,\)", id="shape"),
        pytest.param("nan", "model.norm.weight holds NaN", id="nan"),
        pytest.param("cut", "the checkpoint is damaged", id="cut"),
        pytest.param("no-config", "there is no config.json in this folder", id="no-config"),
        pytest.param("bad-config", "config.json: unreadable: JSONDecodeError", id="bad-config"),
        pytest.param("no-tokenizer", "this folder has no tokenizer", id="no-tokenizer"),
        pytest.param("no-weights", "no checkpoint in this folder", id="no-weights"),
    ],
)
def test_faults_of_a_folder_are_named(fault, words, tmp_path):
    folder = release(made(), tmp_path / "llm")
    broken(fault)(folder)
    with pytest.raises(WeightsError, match=words):
        opened(folder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({"model_type": "t5"}, "no causal language models of family 't5'", id="other-task"),
        pytest.param({"model_type": "llava_llama"}, "no causal language models of family 'llava_llama'", id="own-code"),
        pytest.param({"model_type": "drop"}, "model_type is missing", id="no-family"),
        pytest.param(
            {"hidden_size": 33}, "no model can be made of these sizes|not a config of LlamaConfig", id="odd-size"
        ),
        pytest.param({"vocab_size": 20}, "lm_head.weight is|embed_tokens.weight is", id="vocabulary"),
    ],
)
def test_configs_of_other_models_are_refused(config, words, tmp_path):
    folder = release(made(), tmp_path / "llm", **config)
    with pytest.raises(WeightsError, match=words):
        opened(folder)


def test_tokenizer_of_another_model_is_refused(tmp_path):
    def change(tensors):
        names = ("model.embed_tokens.weight", "lm_head.weight")
        return {name: tensor[:20] if name in names else tensor for name, tensor in tensors.items()}

    folder = release(made(), tmp_path / "llm", change=change, vocab_size=20)
    with pytest.raises(WeightsError, match=r"its tokenizer has \d+ ids, its model has 20 word embeddings"):
        opened(folder)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    folder = release(made(), tmp_path / "llm")
    with pytest.raises(WeightsError, match=r"and .*model\.safetensors is no folder"):
        read_lm_tokens({"model": folder / "model.safetensors"}, LmTokensConfig())
    with pytest.raises(WeightsError, match="needs a language model"):
        read_lm_tokens({}, LmTokensConfig())
