"""The ``lm-tokens`` decoder against the reference package: prompts, splice, logits, greedy tokens."""

import dataclasses
import json

import pytest
import torch
from dam_golden import SMALL, outputs, release_in
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from regionkit.core.contracts import BuildContext
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens
from regionkit.plugins.dam.lm_release import read_lm_tokens

PROMPTS = json.loads((SMALL / "prompts.json").read_text())
#: What the reference puts in the place of a picture.
PLACE = -200


def letters() -> Tokenizer:
    """Return the tokenizer of the golden vectors: BOS, then the code of each character."""
    vocabulary = {f"<{code}>" if code in (0, 1, 2, 3) else chr(code): code for code in range(128)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<3>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<1> $A", special_tokens=[("<1>", 1)])
    tokenizer.add_special_tokens([f"<{code}>" for code in range(4)])
    return tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = release_in(tmp_path_factory.mktemp("release")) / "llm"
    letters().save(str(place / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<1>", "eos_token": "<2>"}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return place


@pytest.fixture(scope="module")
def decoder(folder):
    artifact = read_lm_tokens({"model": folder}, LmTokensConfig())
    config = dataclasses.replace(LmTokensConfig(), **artifact.header.config)
    file = WeightFile(folder, artifact.header, {"model": folder}, lambda: artifact.tensors)
    return LmTokens.build(config, BuildContext(reads="golden/tokens[48]", weights=file))


def test_sizes_and_config_come_from_the_folder(decoder):
    assert (decoder.config.hidden, decoder.config.layers, decoder.config.heads) == (48, 2, 4)
    assert decoder.config.intermediate == 64
    assert decoder.space == "golden/tokens[48]"
    assert decoder.tokenizer.start == (1,)
    assert decoder.tokenizer.end == 2


@pytest.mark.parametrize("name", [pytest.param(name, id=name.replace("/", "-")) for name in PROMPTS])
def test_prompts_are_tokenised_in_chunks_as_the_reference_does(name, decoder):
    wanted = PROMPTS[name]
    template = LmTokensConfig(template=name.partition("/")[0], hidden=48, heads=4)
    asked = LmTokens(template, decoder.space, decoder.model, decoder.tokenizer)
    first, *others = asked.chunks(wanted["query"])
    ids = [*first, *(number for chunk in others for number in (PLACE, *chunk))]
    assert ids == wanted["char_ids"]


def splice(number: str) -> tuple[RegionTokens, list[list[int]]]:
    """Return region tokens, and the ids of the reference's prompt around its places."""
    found = outputs()
    features = found["llm_image_features"]
    chunks: list[list[int]] = [[]]
    for token in found[f"splice_{number}_input_ids"][0].tolist():
        if token == PLACE:
            chunks.append([])
        else:
            chunks[-1].append(token)
    pictures = {"one": [0], "three": [0, 1, 3]}[number]  # rows of the features that the reference spliced in
    tokens = features[pictures].reshape(1, -1, features.shape[2])
    return RegionTokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), "golden/tokens[48]"), chunks


@pytest.mark.parametrize("number", [pytest.param("one", id="one"), pytest.param("three", id="three")])
def test_splice_logits_and_greedy_tokens_are_the_references(number, decoder, monkeypatch):
    tokens, chunks = splice(number)
    monkeypatch.setattr(LmTokens, "chunks", lambda self, prompt: chunks)
    found = outputs()
    with torch.inference_mode():
        embeddings, valid = decoder.spliced(tokens)
        logits = decoder.model(inputs_embeds=embeddings, attention_mask=valid.long()).logits
    assert torch.allclose(embeddings, found[f"splice_{number}_embeds"], atol=1e-6)
    assert torch.allclose(logits, found[f"splice_{number}_logits"], atol=1e-4)
    caption = decoder.generate(tokens, options=GenerateOptions(max_tokens=8))[0]
    assert list(caption.tokens) == found[f"splice_{number}_greedy8"][0].tolist()
    text = logits.log_softmax(-1)[0, -1, caption.tokens[0]].item()
    assert decoder.generate(tokens, options=GenerateOptions(max_tokens=1))[0].score == pytest.approx(text, abs=1e-4)


def test_as_many_places_as_frames_share_the_tokens_in_order(decoder):
    tokens, _ = splice("three")
    together, _ = decoder.spliced(tokens, "a<image>")
    apart, _ = decoder.spliced(tokens, "a<image>b<image>c<image>")
    kept = [0, 1, *range(2, 11), *range(12, 21), *range(22, 31)]  # BOS, a, and three shares of nine around b and c
    assert torch.equal(apart[:, kept], together)
