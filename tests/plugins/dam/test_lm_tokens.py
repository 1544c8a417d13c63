"""The ``lm-tokens`` decoder: the kit, families, prompts, padding, training, hidden states, adapters, weight files."""

import dataclasses
from dataclasses import replace

import pytest
import torch
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, MissingExtra, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.spec import Port
from regionkit.core.testing import Sentences, Subject, example_tokens, run_all
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.dam.chat_templates import TEMPLATES, place_image
from regionkit.plugins.dam.lm_config import LmTokensConfig, lm_tokens_ports
from regionkit.plugins.dam.lm_decoder import LmTokens

SPACE = "tiny/tokens[32]"
SIZES = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 64}
FAMILIES = [pytest.param(name, id=name) for name in ("llama", "gpt2", "qwen2", "opt")]
TEXTS = ["a small dog", "a white cup", "two yellow boats and a cat", "", "an old tree"]


def build(seed=0, weights=None, reads=SPACE, **options) -> LmTokens:
    context = BuildContext(reads=reads, parts={"corpus": Sentences()}, seed=seed, weights=weights)
    return LmTokens.build(LmTokensConfig(**{**SIZES, **options}), context)


def inputs(count=5, seed=0) -> RegionTokens:
    return example_tokens(SPACE, count, 3, seed=seed)


def write(decoder, path) -> WeightFile:
    made = decoder.artifact()
    write_weights(path, made.tensors, made.header)
    header = read_header(path)
    assert header is not None
    return WeightFile(path, header)


@pytest.mark.slow  # the registry's tests hold the first family to it
@pytest.mark.parametrize("model", FAMILIES)
def test_the_kit_passes_in_every_family(model):
    def read(path):
        return build(weights=WeightFile(path, read_header(path)), model=model)

    port = Port(SPACE, many=True)
    run_all(
        Subject("decoder", build(model=model), lambda seed: build(seed, model=model), read, inputs=inputs(), reads=port)
    )


def test_port_is_as_wide_as_the_words_and_takes_many_tokens():
    assert lm_tokens_ports(LmTokensConfig(**SIZES)).reads == Port("own[32]", many=True)


# ---------------------------------------------------------------- prompts


def test_region_stands_where_the_prompt_says_behind_bos():
    decoder = build(template="none")
    ids = decoder.tokenizer.encode
    assert decoder.chunks(None) == [[1], []]
    assert decoder.chunks("a <image> dog") == [[1, *ids("a")], ids("dog")]
    assert decoder.chunks("a dog") == [[1], ids("a dog")]
    assert place_image("what is it?") == "<image>\nwhat is it?"


def test_default_prompt_is_the_option():
    asked, plain = build(prompt="<image> a small"), build()
    options = GenerateOptions(max_tokens=4)
    assert asked.generate(inputs(), options=options) == plain.generate(inputs(), "<image> a small", options)
    assert asked.generate(inputs(), options=options) != plain.generate(inputs(), options=options)


def test_words_that_the_tokenizer_lacks_are_read_as_unknown():
    decoder = build()
    unknown = decoder.tokenizer.id_of("<unk>")
    assert decoder.chunks("<image> zebra dog") == [[1], [unknown, *decoder.tokenizer.encode("dog")]]
    assert decoder.score(inputs(), ["zebra"] * 5).tolist() == decoder.score(inputs(), ["quagga"] * 5).tolist()


def test_special_tokens_written_in_a_caption_are_words_like_others():
    decoder = build()
    ids, lengths = decoder._targets(["a </s> dog"], None)
    assert lengths.tolist() == [7]  # a, four signs, dog, and the one end token
    assert ids[0].tolist().count(decoder.tokenizer.end) == 1
    assert torch.isfinite(decoder.score(inputs(), ["<pad> <s>", "</s>", "<unk>", "🐈🐈", " \n\t "])).all()


def test_tokens_that_do_not_share_out_are_an_error():
    with pytest.raises(FeatureError) as caught:
        build().generate(inputs(), "<image> <image> a")
    assert str(caught.value) == (
        "decoder 'lm-tokens': 3 tokens a region cannot be shared out among the 2 <image> of the prompt\n"
        "  write one <image>, or as many as the region encoder has frames"
    )


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in TEMPLATES])
def test_every_template_asks_the_question_once(name):
    text = TEMPLATES[name].render("<image>\nwhat is it?")
    assert text.count("<image>\nwhat is it?") == 1
    options = GenerateOptions(max_tokens=3)
    assert len(build(template=name, positions=256).generate(inputs(), "what is it?", options)) == 5


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize("model", FAMILIES)
def test_a_padded_token_changes_nothing_wherever_it_stands(model):
    decoder = build(model=model)
    short = RegionTokens(inputs().tokens[:, :2], torch.ones(5, 2, dtype=torch.bool), SPACE)
    texts, prompt = TEXTS, "a <image> dog"
    wanted = decoder.generate(short, prompt, GenerateOptions(max_tokens=5))
    scores, loss = decoder.score(short, texts, prompt), decoder.loss(short, texts, prompt)
    states = decoder.hidden_states(short, texts, prompt)
    for place in (0, 1, 2):
        padding = torch.full((5, 1, 32), torch.nan)
        tokens = torch.cat([short.tokens[:, :place], padding, short.tokens[:, place:]], dim=1)
        mask = torch.ones(5, 3, dtype=torch.bool)
        mask[:, place] = False
        padded = RegionTokens(tokens, mask, SPACE)
        found = decoder.generate(padded, prompt, GenerateOptions(max_tokens=5))
        assert [one.tokens for one in found] == [one.tokens for one in wanted]
        assert torch.allclose(decoder.score(padded, texts, prompt), scores, atol=1e-5)
        assert torch.allclose(decoder.loss(padded, texts, prompt), loss, atol=1e-5)
        other = decoder.hidden_states(padded, texts, prompt)
        assert torch.allclose(other.tokens[other.mask], states.tokens[states.mask], atol=1e-5)


def test_no_token_and_no_word_before_the_text_is_an_error():
    decoder = build(model="gpt2")
    decoder.tokenizer = replace(decoder.tokenizer, start=())
    nothing = RegionTokens(torch.zeros(2, 0, 32), torch.zeros(2, 0, dtype=torch.bool), SPACE)
    with pytest.raises(FeatureError, match="region 0 has no token, and the prompt is empty"):
        decoder.score(nothing, ["a", "a"])
    assert torch.isfinite(decoder.score(nothing, ["a", "a"], "<image> a dog")).all()


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("model", FAMILIES)
def test_loss_is_the_mean_over_the_tokens_of_all_texts(model):
    decoder = build(model=model)
    scores = decoder.score(inputs(), TEXTS, "a <image> dog")
    count = sum(len(decoder.tokenizer.encode(text)) + 1 for text in TEXTS)
    assert decoder.loss(inputs(), TEXTS, "a <image> dog").item() == pytest.approx(
        -scores.sum().item() / count, abs=1e-5
    )


def test_gradients_reach_tokens_and_weights_and_not_padding():
    decoder = build().train()
    given = inputs()
    tokens = given.tokens.clone().requires_grad_()
    decoder.loss(RegionTokens(tokens, given.mask, SPACE), TEXTS).backward()
    assert tokens.grad is not None
    assert bool((tokens.grad[given.mask].abs().sum(-1) > 0).all())
    assert not tokens.grad[~given.mask].any()
    assert all(weight.grad is not None for weight in decoder.parameters())


def test_likelihoods_carry_gradients_and_are_the_scores():
    decoder = build()
    found = decoder.log_likelihood(inputs(), TEXTS)
    assert torch.allclose(found, decoder.score(inputs(), TEXTS), atol=1e-5)
    found.sum().backward()
    assert decoder.model.lm_head.weight.grad is not None


def test_dropout_acts_in_training_alone():
    decoder = build(model="gpt2", dropout=0.5).train()
    torch.manual_seed(0)
    first, second = decoder.loss(inputs(), TEXTS), decoder.loss(inputs(), TEXTS)
    assert first.item() != second.item()
    decoder.eval()
    assert decoder.loss(inputs(), TEXTS).item() == decoder.loss(inputs(), TEXTS).item()


def test_no_regions_give_nothing():
    decoder, none = build(), RegionTokens.none(SPACE)
    assert decoder.generate(none) == []
    assert decoder.score(none, []).shape == (0,)


# ---------------------------------------------------------------- hidden states


@pytest.mark.parametrize("model", FAMILIES)
def test_states_that_predict_a_token_give_its_logits(model):
    decoder = build(model=model)
    states = decoder.hidden_states(inputs(), TEXTS, "a <image> dog", "pred")
    ids, lengths = decoder._targets(TEXTS, None)
    assert states.mask.sum(1).tolist() == lengths.tolist()
    logits = decoder.model.get_output_embeddings()(states.tokens).log_softmax(-1)
    chosen = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1).masked_fill(~states.mask, 0.0).sum(1)
    assert torch.allclose(chosen, decoder.score(inputs(), TEXTS, "a <image> dog"), atol=1e-5)


def test_states_at_tokens_are_those_that_predict_the_next():
    decoder = build()
    pred = decoder.hidden_states(inputs(), TEXTS)
    tok = decoder.hidden_states(inputs(), TEXTS, positions="tok")
    assert torch.equal(pred.mask, tok.mask)
    both = pred.mask[:, 1:]
    assert torch.allclose(pred.tokens[:, 1:][both], tok.tokens[:, :-1][both], atol=1e-5)
    assert pred.space == "lm-tokens/hidden[32]"


# ---------------------------------------------------------------- adapters


@pytest.fixture
def peft():
    return pytest.importorskip("peft", reason="adapters need peft")


def shaken(decoder, amount=0.5):
    """Move the adapters as training would."""
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if ".lora_" in name:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * amount)
    return decoder


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        pytest.param("llama", LmTokensConfig().lora_targets, id="llama"),
        pytest.param("gpt2", r".*\.(c_attn|c_fc)", id="gpt2"),
        pytest.param("opt", r".*\.(q_proj|v_proj|fc1)", id="opt"),
    ],
)
def test_adapters_start_as_nothing_train_alone_and_come_off_exactly(model, targets, peft, tmp_path):
    base = build(model=model)
    file = write(base, tmp_path / "base.safetensors")
    adapted = build(weights=file, model=model, lora=4, lora_targets=targets)
    wanted, scores = base.generate(inputs()), base.score(inputs(), TEXTS)
    assert adapted.generate(inputs()) == wanted
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    adapted.loss(inputs(), TEXTS).backward()
    assert all(weight.grad is not None for weight in adapted.parameters() if weight.requires_grad)
    shaken(adapted)
    assert not torch.allclose(adapted.score(inputs(), TEXTS), scores)
    with adapted.without_adapter():
        assert torch.equal(adapted.score(inputs(), TEXTS), scores)
        assert adapted.generate(inputs()) == wanted
    assert not torch.allclose(adapted.score(inputs(), TEXTS), scores)
    assert {name for name, weight in adapted.named_parameters() if weight.requires_grad} == trained


def test_file_of_an_adapted_decoder_holds_base_and_adapters(peft, tmp_path):
    base = build()
    adapted = shaken(build(weights=write(base, tmp_path / "base.safetensors"), lora=4, lora_alpha=8.0))
    file = write(adapted, tmp_path / "adapted.safetensors")
    names = set(file.tensors())
    assert set(base.artifact().tensors) < names
    assert "model.layers.0.self_attn.q_proj.lora_A.weight" in names
    again, off = build(weights=file), build(weights=file, adapter=False)
    assert again.config.lora == 4
    assert again.config.lora_alpha == 8.0
    assert again.generate(inputs()) == adapted.generate(inputs())
    assert torch.equal(again.score(inputs(), TEXTS), adapted.score(inputs(), TEXTS))
    assert torch.equal(off.score(inputs(), TEXTS), base.score(inputs(), TEXTS))
    assert off.generate(inputs()) == base.generate(inputs())
    with pytest.raises(WeightsError, match=r"decoder\.lora: 8 was asked for, the weights .* have 4"):
        build(weights=file, lora=8)


def test_fresh_adapters_follow_the_seed_and_leave_the_base_alone(peft):
    one, same, other = build(lora=4), build(lora=4), build(1, lora=4)
    name = "model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])
    plain = build()
    assert torch.equal(one.score(inputs(), TEXTS), plain.score(inputs(), TEXTS))


def test_targets_that_fit_no_layer_name_the_layers(peft):
    with pytest.raises(RegionkitError) as caught:
        build(model="gpt2", lora=4)
    assert str(caught.value).splitlines()[-1] == "  its layers end in: c_attn, c_proj, c_fc, lm_head"


def test_adapters_without_peft_name_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'peft'(.|\n)*regionkit\[lora\]"):
        build(lora=4)


# ---------------------------------------------------------------- weight files and mistakes


@pytest.mark.parametrize("model", FAMILIES)
def test_file_gives_the_same_decoder_in_half_the_numbers_too(model, tmp_path):
    decoder = build(model=model, prompt="a <image> dog", template="vicuna", positions=256)
    file = write(decoder, tmp_path / "one.safetensors")
    config = dataclasses.replace(LmTokensConfig(), **file.header.config)
    again = LmTokens.build(config, BuildContext(reads=SPACE, weights=file))
    assert again.config.prompt == "a <image> dog"
    options = GenerateOptions(max_tokens=4)
    assert again.generate(inputs(), options=options) == decoder.generate(inputs(), options=options)
    if model in ("gpt2", "opt"):  # their output layer is the word embedding, which is stored once
        assert "lm_head.weight" not in file.tensors()


def test_other_sizes_than_the_files_are_refused(tmp_path):
    file = write(build(), tmp_path / "one.safetensors")
    with pytest.raises(WeightsError, match=r"decoder.hidden: 64 was asked for, the weights .* have 32"):
        build(weights=file, hidden=64)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        pytest.param({"tokenizer": None}, "the tokenizer in its header cannot be read", id="no-tokenizer"),
        pytest.param({"tokenizer": {"tokenizer": {}, "end": 2, "pad": 0, "start": []}}, "cannot be read", id="damaged"),
        pytest.param({"model": None}, "does not say which model these are the weights of", id="no-model"),
        pytest.param({"model": {"model_type": "lama"}}, "no causal language models of family 'lama'", id="family"),
        pytest.param({"model": {"vocab_size": 3}}, "model_type is missing", id="no-family"),
    ],
)
def test_damaged_headers_are_named(extra, words, tmp_path):
    made = build().artifact()
    header = replace(made.header, extra={**made.header.extra, **extra})
    path = tmp_path / "one.safetensors"
    write_weights(path, made.tensors, header)
    with pytest.raises(WeightsError, match=words):
        build(weights=WeightFile(path, header))


def test_weights_of_another_shape_are_named(tmp_path):
    made = build().artifact()
    tensors = {name: tensor for name, tensor in made.tensors.items() if "norm" not in name}
    write_weights(tmp_path / "one.safetensors", {**tensors, "odd": torch.ones(1)}, made.header)
    with pytest.raises(WeightsError, match=r"missing: model.layers.0.input_layernorm.weight(.|\n)*left over: odd"):
        build(weights=WeightFile(tmp_path / "one.safetensors", made.header))


def test_wrong_inputs_are_named():
    decoder = build()
    with pytest.raises(
        FeatureError, match=r"reads tiny/tokens\[32\] and got vectors of width 16 in other/tokens\[16\]"
    ):
        decoder.generate(example_tokens("other/tokens[16]", 2, 3))
    with pytest.raises(FeatureError, match="reads vectors and got pictures"):
        decoder.generate(RegionViews((Image.new("RGB", (8, 8)),)))
    broken = inputs()
    broken.tokens[2, 0, 0] = torch.inf
    with pytest.raises(FeatureError, match="produced NaN or infinite values for region 2"):
        decoder.score(broken, TEXTS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"model": "lama"}, r"no causal language models of family 'lama'(.|\n)*did you mean: llama", id="family"
        ),
        pytest.param({"model": "zzz9"}, "some that it has: ", id="unknown-family"),
        pytest.param({"architecture": {"rope_teta": 1}}, "models of family 'llama' have no 'rope_teta'", id="field"),
        pytest.param({"hidden": 16}, "reads vectors of width 16, and tiny/tokens.32. is needed here", id="width"),
        pytest.param({"tokenizer": "file:/nowhere"}, "/nowhere: there is no such folder", id="tokenizer"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(RegionkitError, match=words):
        build(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"heads": 5}, "heads: 5 does not divide hidden 32; these do: 1, 2, 4, 8, 16, 32", id="heads"),
        pytest.param({"kv_heads": 3}, "kv_heads: 3 must be 0 (as many as heads) or divide heads 4", id="kv-heads"),
        pytest.param({"template": "v2"}, "template: 'v2' is none of none, v1, vicuna, llama_3", id="template"),
        pytest.param({"lora": -1}, "lora: -1 must be 0 (no adapters) or a rank", id="lora"),
        pytest.param({"lora_targets": "("}, "lora_targets: '(' is no regular expression", id="targets"),
        pytest.param({"tokenizer": "bytes"}, "tokenizer: 'bytes' must be words, or file:FOLDER", id="tokenizer"),
        pytest.param({"dropout": 1.0}, "dropout: 1.0 must be at least 0 and less than 1", id="dropout"),
        pytest.param({"positions": 0}, "positions: 0 must be 1 or more", id="positions"),
    ],
)
def test_bad_values_are_refused_by_the_options(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        LmTokensConfig(**{**SIZES, **options})
    assert str(caught.value).startswith(message)


def test_untrained_decoder_without_words_says_where_to_get_them():
    with pytest.raises(WeightsError, match="has no weights, and no corpus to take its words from"):
        LmTokens.build(LmTokensConfig(**SIZES), BuildContext(reads=SPACE))


def test_heads_of_keys_and_further_fields_reach_the_model():
    decoder = build(kv_heads=2, architecture={"rms_norm_eps": 1e-4}, dropout=0.25)
    config = decoder.model.config
    assert (config.num_key_value_heads, config.rms_norm_eps, config.attention_dropout) == (2, 1e-4, 0.25)
