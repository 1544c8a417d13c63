"""Released language models behind ``zerocap`` and ``magic``, written by hand: gpt2-medium, and MAGIC's SimCTG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from causal_folders import ROWS, WIDTH, tensors_of, write_folder, write_tensors
from click.testing import CliRunner, Result
from guided_toys import SPACE, Tower, Words, exact, regions
from tokenizers import AddedToken, Tokenizer

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions
from regionkit.core.testing import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.zeroshot.caption_lm_layout import read_caption_lm
from regionkit.plugins.zeroshot.magic import Magic
from regionkit.plugins.zeroshot.magic_config import MagicConfig
from regionkit.plugins.zeroshot.zerocap import ZeroCap
from regionkit.plugins.zeroshot.zerocap_config import ZeroCapConfig
from regionkit.registry.cli import root
from regionkit.registry.registry import get_registry

param = pytest.param
START, PAD = ROWS["gpt2"], ROWS["gpt2"] + 1


def write_simctg(folder: Path) -> Path:
    """The layout of cambridgeltl/magic_mscoco: GPT-2 with its prefix, two words more, old masks, one pickle."""
    write_folder(folder, "gpt2")
    (folder / "model.safetensors").unlink()
    tensors = {f"transformer.{name}": tensor for name, tensor in tensors_of("gpt2").items()}
    words = torch.cat([tensors["transformer.wte.weight"], torch.randn(2, WIDTH)])
    tensors |= {"transformer.wte.weight": words, "lm_head.weight": words}
    tensors |= {f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}
    write_tensors(folder, tensors, "bin")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": ROWS["gpt2"] + 2}))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("<-start_of_text->"), AddedToken("<-pad->")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def opened(folder: Path, cls, config):
    artifact = read_caption_lm({"model": folder}, config)
    file = WeightFile(folder, artifact.header, {"model": folder}, lambda: artifact.tensors)
    return artifact, cls.build(config, BuildContext(reads=SPACE, weights=file, backbone=Tower()))


def test_gpt2_medium_is_read_with_every_key(tmp_path):
    artifact, decoder = opened(
        write_folder(tmp_path / "gpt2-medium", "gpt2"), ZeroCap, ZeroCapConfig(length=3, beams=2)
    )
    assert (artifact.header.name, artifact.header.space) == ("magic", "")
    stored = tensors_of("gpt2")
    for name, tensor in decoder.model.transformer.state_dict().items():
        assert torch.equal(tensor, stored[name])
    end = decoder.tokenizer.id_of("<|endoftext|>")
    assert decoder.before(None) == [end, *decoder.tokenizer.encode("Image of a")]
    assert decoder._end == decoder.tokenizer.id_of(".") != end
    assert decoder.space == SPACE
    assert len(decoder.generate(regions(2))) == 2


def test_a_word_behind_the_prompt_has_a_space_before_it(tmp_path):
    _, decoder = opened(write_folder(tmp_path / "gpt2-medium", "gpt2"), ZeroCap, ZeroCapConfig())
    ids = [*decoder.before(None), *decoder.tokenizer.encode(" dog"), decoder._end]
    first = len(decoder.before(None))
    with torch.no_grad():
        likely = exact(decoder)(torch.tensor([ids])).logits[0, first - 1 : -1].log_softmax(-1)
    wanted = likely.gather(1, torch.tensor(ids[first:]).unsqueeze(1)).sum()
    assert float(decoder.score(regions(1), ["dog"])) == pytest.approx(float(wanted), rel=1e-4)
    assert float(decoder.score(regions(1), ["dog."])) == pytest.approx(float(wanted), rel=1e-4)


def test_simctg_starts_with_its_own_token_and_ends_with_gpt2s(tmp_path):
    artifact, decoder = opened(write_simctg(tmp_path / "magic_mscoco"), Magic, MagicConfig(k=4))
    assert decoder.before(None) == [START]
    assert decoder._end == decoder.tokenizer.id_of("<|endoftext|>")
    stored = torch.load(tmp_path / "magic_mscoco" / "pytorch_model.bin", weights_only=True)
    for name, tensor in decoder.model.state_dict().items():
        assert torch.equal(tensor, stored[name])
    assert set(stored) - set(decoder.model.state_dict()) == {
        f"transformer.h.{layer}.attn.{name}" for layer in range(2) for name in ("bias", "masked_bias")
    }
    captions = decoder.generate(regions(3), options=GenerateOptions(max_tokens=5))
    assert all(len(caption.tokens) <= 5 for caption in captions)
    # Either decoder reads either folder.
    other = ZeroCap.build(
        ZeroCapConfig(length=2, beams=2, iterations=1, candidates=4),
        BuildContext(
            reads=SPACE, weights=WeightFile(tmp_path, artifact.header, {}, lambda: artifact.tensors), backbone=Tower()
        ),
    )
    assert other.before(None)[0] == START
    assert len(other.generate(regions(1))) == 1


def test_a_folder_is_where_training_starts_from(tmp_path):
    folder = write_folder(tmp_path / "gpt2", "gpt2")
    config = MagicConfig(weights="none", start=f"file:{folder}")
    decoder = Magic.build(config, BuildContext(reads=SPACE, backbone=Tower(), parts={"corpus": Words()}))
    assert torch.equal(decoder.model.transformer.wte.weight, tensors_of("gpt2")["wte.weight"])
    made = decoder.artifact()
    assert (made.header.name, made.header.config["hidden"], made.header.config["end"]) == ("magic", WIDTH, "")
    with pytest.raises(WeightsError, match="there is no such folder"):
        Magic.build(MagicConfig(weights="none", start=f"file:{tmp_path / 'none'}"), BuildContext(backbone=Tower()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        param(lambda tensors: tensors.pop("h.0.ln_1.weight"), "missing: transformer.h.0.ln_1.weight", id="missing"),
        param(
            lambda tensors: tensors.update(more=torch.ones(2)),
            "left over: more|left over: transformer.more",
            id="left-over",
        ),
        param(lambda tensors: tensors.update({"ln_f.bias": torch.ones(3)}), r"ln_f.bias is \(3,\)", id="shape"),
    ],
)
def test_keys_that_do_not_fit_are_named(change, words, tmp_path):
    folder = write_folder(tmp_path / "gpt2-medium", "gpt2")
    tensors = tensors_of("gpt2")
    change(tensors)
    write_tensors(folder, tensors)
    with pytest.raises(WeightsError, match=words):
        read_caption_lm({"model": folder}, ZeroCapConfig())


def caption(folder: Path, *words: str) -> Result:
    picture((32, 32), 1).resize((96, 96)).save(folder / "picture.png")
    given = [
        "caption",
        str(folder / "picture.png"),
        "--box",
        "5,5,40,40",
        "--preset",
        "mini",
        "--offline",
        "--json",
        "--force",
    ]
    return CliRunner().invoke(root, [*given, *(part for word in words for part in ("--set", word))])


@pytest.fixture
def no_weights_elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        param(
            "zerocap",
            lambda folder: write_folder(folder, "gpt2"),
            ("length=2", "candidates=8", "beams=2", "iterations=1"),
            id="zerocap",
        ),
        param("magic", write_simctg, ("k=4", "length=5"), id="magic"),
    ],
)
def test_a_pipeline_names_the_folder(name, write, options, tmp_path, no_weights_elsewhere):
    folder = write(tmp_path / "any-name")
    words = [f"decoder.name={name}", f"decoder.weights=file:{folder}", *(f"decoder.{option}" for option in options)]
    result = caption(tmp_path, *words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


def test_both_decoders_take_weights_of_one_format():
    specs = {spec.name: spec for spec in get_registry().specs("decoder")}
    assert specs["zerocap"].takes == "decoder/magic"
    assert specs["zerocap"].reader == specs["magic"].reader
