"""The ``seq2seq-tokens`` decoder: the kit, input as specified, batches, scores, states, adapters, folders."""

import dataclasses
import json
import random

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.language.models import stored_tensors
from regionkit.core.spec import Port
from regionkit.core.testing import Sentences, Subject, example_tokens, run_all
from regionkit.core.testing.examples import SENTENCES
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.regionvlm.seq2seq_config import Seq2SeqTokensConfig, seq2seq_tokens_ports
from regionkit.plugins.regionvlm.seq2seq_decoder import Seq2SeqTokens
from regionkit.plugins.regionvlm.seq2seq_release import read_seq2seq_tokens

SPACE = "tiny/tokens[32]"
SIZES = {"hidden": 32, "layers": 2, "decoder_layers": 1, "heads": 4, "ff": 48, "positions": 32}
TEXTS = ["a small dog", "a white cup", "two yellow boats and a cat", "", "an old tree"]


def build(seed=0, weights=None, **options) -> Seq2SeqTokens:
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences()}, seed=seed, weights=weights)
    return Seq2SeqTokens.build(Seq2SeqTokensConfig(**{**SIZES, **options}), context)


def inputs(count=5, seed=0) -> RegionTokens:
    return example_tokens(SPACE, count, 3, seed=seed)


def row(given: RegionTokens, index: int) -> RegionTokens:
    return RegionTokens(given.tokens[index : index + 1], given.mask[index : index + 1], given.space)


def write(decoder, path) -> WeightFile:
    made = decoder.artifact()
    write_weights(path, made.tensors, made.header)
    return WeightFile(path, read_header(path))


@pytest.fixture(scope="module")
def trained():
    """A decoder that writes different captions of many lengths."""
    decoder = build(layers=1, dropout=0.0).train()
    words = sorted({word for text in SENTENCES for word in text.split()})
    draw = random.Random(0)
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 7))) for _ in range(20)]
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        decoder.loss(inputs(20), texts).backward()
        optimizer.step()
    return decoder.eval()


@pytest.mark.slow  # the registry's tests hold the untied one to it
@pytest.mark.parametrize("tied", [pytest.param(True, id="tied"), pytest.param(False, id="untied")])
def test_the_kit_passes(tied):
    def read(path):
        return build(weights=WeightFile(path, read_header(path)), tied=tied)

    port = Port(SPACE, many=True)
    run_all(
        Subject("decoder", build(tied=tied), lambda seed: build(seed, tied=tied), read, inputs=inputs(), reads=port)
    )


def test_port_is_as_wide_as_the_words_and_takes_many_tokens():
    assert seq2seq_tokens_ports(Seq2SeqTokensConfig(**SIZES)).reads == Port("own[32]", many=True)


# ---------------------------------------------------------------- what the encoder reads


@pytest.mark.parametrize(
    ("prompt", "words"),
    [pytest.param(None, "", id="none"), pytest.param("", "", id="empty"), pytest.param("a cat", "a cat", id="prompt")],
)
def test_region_stands_before_the_prompt_and_its_end_token(prompt, words):
    decoder = build()
    given = row(inputs(), 0)
    ids = [*decoder.tokenizer.encode(words), decoder.tokenizer.end]
    found = decoder.encoder_inputs(given, prompt)
    wanted = torch.cat([given.tokens, decoder.model.get_input_embeddings()(torch.tensor([ids]))], dim=1)
    assert torch.equal(found["inputs_embeds"], wanted)
    assert found["attention_mask"].tolist() == [[1] * (3 + len(ids))]


def test_loss_is_transformers_own_on_that_input():
    decoder = build()
    ids, lengths = decoder._targets(TEXTS, None)
    labels = ids.masked_fill(torch.arange(ids.shape[1]) >= lengths.unsqueeze(1), -100)
    wanted = decoder.model(**decoder.encoder_inputs(inputs(), "a cat"), labels=labels).loss
    assert decoder.loss(inputs(), TEXTS, "a cat").item() == pytest.approx(wanted.item(), abs=1e-5)


def test_texts_are_cut_to_the_length_of_training():
    long = " ".join(["dog"] * 40)
    cut = build(max_length=4).loss(row(inputs(), 0), [long])
    decoder = build(max_length=4, positions=64)
    scores = decoder.score(row(inputs(), 0), ["dog dog dog dog"])
    ids, lengths = decoder._padded([decoder.tokenizer.encode("dog dog dog dog")])
    assert cut.item() == pytest.approx(-decoder._sum(row(inputs(), 0), ids, lengths, None).item() / 4, abs=1e-5)
    assert scores.item() < -cut.item() * 4
    with pytest.raises(RegionkitError, match="a text's tokens are 41 tokens together"):
        build().score(row(inputs(), 0), [long])
    with pytest.raises(RegionkitError, match="a region and the prompt are 44 tokens together"):
        build().generate(row(inputs(), 0), long)


@pytest.mark.parametrize(
    "place", [pytest.param(0, id="first"), pytest.param(1, id="inside"), pytest.param(2, id="last")]
)
def test_a_padded_token_changes_nothing_wherever_it_stands(place, trained):
    short = RegionTokens(inputs().tokens[:, :2], torch.ones(5, 2, dtype=torch.bool), SPACE)
    padding = torch.full((5, 1, 32), torch.nan)
    mask = torch.ones(5, 3, dtype=torch.bool)
    mask[:, place] = False
    padded = RegionTokens(torch.cat([short.tokens[:, :place], padding, short.tokens[:, place:]], dim=1), mask, SPACE)
    wanted, found = trained.generate(short, "a cat"), trained.generate(padded, "a cat")
    assert [one.tokens for one in found] == [one.tokens for one in wanted]
    assert torch.allclose(trained.score(padded, TEXTS, "a cat"), trained.score(short, TEXTS, "a cat"), atol=1e-5)
    states, others = (trained.hidden_states(one, TEXTS, "a cat").tokens for one in (short, padded))
    assert torch.allclose(states, others, atol=1e-5)


# ---------------------------------------------------------------- captions and scores

OPTIONS = [
    pytest.param(GenerateOptions(max_tokens=9), id="greedy"),
    pytest.param(GenerateOptions(max_tokens=9, beams=3, length_penalty=-1.0), id="beams"),
    pytest.param(GenerateOptions(max_tokens=9, beams=5, min_tokens=5), id="beams-at-least-five"),
    pytest.param(GenerateOptions(max_tokens=9, temperature=0.5, top_p=0.9), id="samples"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_batch_is_a_loop_of_singles_and_scores_are_those_of_the_texts(options, trained):
    given = inputs(20)
    together = trained.generate(given, options=options)
    sliced = trained.generate(given, options=dataclasses.replace(options, batch_size=7))
    assert [one.tokens for one in sliced] == [one.tokens for one in together]
    if not options.temperature:  # samples belong to the number of the region in the call
        alone = [trained.generate(row(given, index), options=options)[0] for index in range(20)]
        assert [one.tokens for one in alone] == [one.tokens for one in together]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together], abs=1e-5)
    assert len({len(one.tokens) for one in together}) >= 3
    assert all(len(one.tokens) >= options.min_tokens for one in together)
    whole = [one for one in together if one.finished]
    assert len(whole) >= 8
    scores = trained.score(given, [one.text for one in together])
    for one, score in zip(together, scores.tolist(), strict=True):
        again = trained.tokenizer.encode_literally(one.text)
        if one.finished and tuple(again) == one.tokens:
            assert one.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("tied", [pytest.param(True, id="tied"), pytest.param(False, id="untied")])
def test_fresh_logits_are_small(tied):
    assert build(tied=tied).loss(inputs(), TEXTS).item() < 6  # the logarithm of its 35 ids is 3.6


def test_states_that_predict_a_token_give_its_logits(trained):
    states = trained.hidden_states(inputs(), TEXTS)
    ids, lengths = trained._targets(TEXTS, None)
    assert states.mask.sum(1).tolist() == lengths.tolist()
    assert states.space == "seq2seq-tokens/hidden[32]"
    logits = trained.model.lm_head(states.tokens).log_softmax(-1)
    chosen = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1).masked_fill(~states.mask, 0.0).sum(1)
    assert torch.allclose(chosen, trained.score(inputs(), TEXTS), atol=1e-5)
    tok = trained.hidden_states(inputs(), TEXTS, positions="tok")
    both = states.mask[:, 1:]
    assert torch.allclose(states.tokens[:, 1:][both], tok.tokens[:, :-1][both], atol=1e-5)


def test_gradients_reach_tokens_and_not_padding():
    decoder, given = build().train(), inputs()
    tokens = given.tokens.clone().requires_grad_()
    decoder.loss(RegionTokens(tokens, given.mask, SPACE), TEXTS).backward()
    assert tokens.grad is not None
    assert bool((tokens.grad[given.mask].abs().sum(-1) > 0).all())
    assert not tokens.grad[~given.mask].any()


def test_no_regions_empty_texts_and_wrong_inputs():
    decoder, none = build(), RegionTokens.none(SPACE)
    assert decoder.generate(none) == []
    assert decoder.score(none, []).shape == (0,)
    assert torch.isfinite(decoder.score(inputs(), ["", "🐈", "zebra", "</s>", "\n"])).all()
    with pytest.raises(FeatureError, match=r"reads tiny/tokens\[32\] and got vectors of width 16"):
        decoder.generate(example_tokens("other/tokens[16]", 2, 3))
    with pytest.raises(FeatureError, match="reads vectors and got pictures"):
        decoder.generate(RegionViews((Image.new("RGB", (8, 8)),)))


# ---------------------------------------------------------------- weights


def test_adapters_start_as_nothing_and_come_off_exactly(tmp_path):
    pytest.importorskip("peft", reason="adapters need peft")
    base = build()
    adapted = build(weights=write(base, tmp_path / "base.safetensors"), lora=4)
    scores = base.score(inputs(), TEXTS)
    assert torch.equal(adapted.score(inputs(), TEXTS), scores)
    assert all(".lora_" in name for name, weight in adapted.named_parameters() if weight.requires_grad)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if ".lora_B" in name:
                weight.add_(0.5)
    again = build(weights=write(adapted, tmp_path / "adapted.safetensors"))
    assert torch.equal(again.score(inputs(), TEXTS), adapted.score(inputs(), TEXTS))
    assert not torch.allclose(again.score(inputs(), TEXTS), scores)
    with again.without_adapter():
        assert torch.equal(again.score(inputs(), TEXTS), scores)


@pytest.mark.parametrize("tied", [pytest.param(True, id="tied"), pytest.param(False, id="untied")])
def test_folder_of_the_hub_gives_the_same_decoder(tied, tmp_path):
    decoder = build(tied=tied)
    tensors = {name: tensor.contiguous() for name, tensor in stored_tensors(decoder.model).items()}
    assert ("lm_head.weight" in tensors) is not tied
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads(decoder.model.config.to_json_string()) | {"tie_word_embeddings": tied}
    config.pop("scale_decoder_outputs", None)  # released configs say it by the former
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text(decoder.tokenizer.text)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>", "pad_token": "<pad>"}')
    artifact = read_seq2seq_tokens({"model": tmp_path}, Seq2SeqTokensConfig())
    options = dataclasses.replace(Seq2SeqTokensConfig(), **artifact.header.config)
    assert (options.hidden, options.layers, options.decoder_layers, options.tied) == (32, 2, 1, tied)
    file = WeightFile(tmp_path, artifact.header, {"model": tmp_path}, lambda: artifact.tensors)
    found = Seq2SeqTokens.build(options, BuildContext(reads=SPACE, weights=file))
    assert found.generate(inputs(), "a cat") == decoder.generate(inputs(), "a cat")
    assert torch.equal(found.score(inputs(), TEXTS), decoder.score(inputs(), TEXTS))
    again = build(weights=write(found, tmp_path / "again.safetensors"), tied=tied, positions=2048)
    assert torch.equal(again.score(inputs(), TEXTS), decoder.score(inputs(), TEXTS))


def test_folder_of_a_causal_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match="no language models with encoder and decoder of family 'llama'"):
        read_seq2seq_tokens({"model": tmp_path}, Seq2SeqTokensConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"heads": 5}, "heads: 5 does not divide hidden 32", id="heads"),
        pytest.param({"ff_type": "silu"}, "ff_type: 'silu' must be gated-gelu or relu", id="ff-type"),
        pytest.param({"decoder_layers": -1}, "decoder_layers: -1 must be 0 or more", id="decoder-layers"),
    ],
)
def test_bad_values_are_refused_by_the_options(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Seq2SeqTokensConfig(**{**SIZES, **options})
    assert str(caught.value).startswith(message)
