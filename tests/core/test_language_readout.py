"""Logits of last hidden states: what each family does behind its output layer."""

import dataclasses

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError
from regionkit.core.language.readout import evaluating
from regionkit.core.testing import Sentences, example_tokens
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens
from regionkit.plugins.regionvlm.seq2seq_config import Seq2SeqTokensConfig
from regionkit.plugins.regionvlm.seq2seq_decoder import Seq2SeqTokens

SPACE = "tiny/tokens[32]"
TEXTS = ["a small dog", "a white cup", "", "an old tree"]


def build(model, **architecture):
    options = {"hidden": 32, "layers": 1, "heads": 4, "intermediate": 48, "positions": 32}
    config = LmTokensConfig(model=model, architecture=architecture, **options)
    return LmTokens.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}, seed=0))


def build_seq2seq(model, **options):
    options = {"hidden": 32, "layers": 1, "heads": 4, "ff": 48, "positions": 32} | options
    config = Seq2SeqTokensConfig(model=model, **options)
    return Seq2SeqTokens.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}, seed=0))


def differences(decoder):
    """Return how far logits() of hidden states is from the model's own logits, and how large these are."""
    inputs = example_tokens(SPACE, len(TEXTS), 3, seed=0)
    with torch.no_grad():
        states = decoder.hidden_states(inputs, TEXTS)
        ids, lengths = decoder._targets(TEXTS, None)
        own = decoder._logits(decoder._tokens(inputs), ids, lengths, None)[states.mask]
        found = decoder.logits(states.tokens[states.mask])
    return (found - own).abs().max().item(), own.abs().max().item()


FAMILIES = [
    pytest.param("llama", {}, id="llama"),
    pytest.param("gemma2", {"head_dim": 8, "final_logit_softcapping": 0.05}, id="gemma2-capped"),
    pytest.param("gemma2", {"head_dim": 8, "final_logit_softcapping": None}, id="gemma2-without-a-cap"),
    pytest.param("granite", {"logits_scaling": 8.0}, id="granite-divided"),
    pytest.param("cohere", {"logit_scale": 0.25}, id="cohere-multiplied"),
]


@pytest.mark.parametrize(("model", "architecture"), FAMILIES)
def test_logits_of_states_are_those_of_the_model(model, architecture):
    difference, largest = differences(build(model, **architecture))
    assert difference <= 1e-5 * largest


@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param("t5", {"tied": True}, id="t5-tied"),
        pytest.param("t5", {"tied": False}, id="t5-untied"),
        pytest.param("bart", {}, id="bart-with-a-bias"),
    ],
)
def test_logits_of_states_are_those_of_a_model_with_an_encoder(model, options):
    decoder = build_seq2seq(model, **options)
    bias = getattr(decoder.model, "final_logits_bias", None)
    if bias is not None:
        bias.copy_(torch.linspace(-1, 1, bias.numel()).view_as(bias))
    difference, largest = differences(decoder)
    assert difference <= 1e-5 * largest


def test_family_that_does_something_else_is_refused_by_name():
    with pytest.raises(FeatureError) as caught:
        differences(build("hyperclovax", logits_scaling=8.0))  # multiplied there, divided in granite
    assert str(caught.value) == (
        "decoder 'lm-tokens': models of family 'hyperclovax' change what their output layer says (logits_scaling: 8.0) "
        "in a way that is not known here, so its logits cannot be read\n"
        "  choose a decoder of another family, or a training that needs no distribution of words"
    )


def test_the_check_runs_once_without_dropout_and_leaves_modes_as_they_were():
    decoder = build("llama")
    decoder = LmTokens(dataclasses.replace(decoder.config, lora=2), SPACE, decoder.model, decoder.tokenizer).train()
    decoder.model.lm_head.eval()
    modes = [part.training for part in decoder.modules()]
    state = torch.get_rng_state()
    calls = []
    decoder.model.register_forward_hook(lambda *_: calls.append(1))
    states = torch.ones(2, 32)
    assert torch.equal(decoder.logits(states), decoder.model.lm_head(states))
    decoder.logits(states)
    assert len(calls) == 1
    assert [part.training for part in decoder.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_ends_when_what_runs_in_it_fails():
    layers = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout()).train()
    layers[1].eval()
    seen = []

    def fail():
        with evaluating(layers):
            seen.extend(part.training for part in layers.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False, False, False]
    assert [part.training for part in layers.modules()] == [True, True, False]


# ---------------------------------------------------------------- nothing to learn from


@pytest.mark.parametrize(
    "decoder", [pytest.param(lambda: build("llama"), id="causal"), pytest.param(lambda: build_seq2seq("t5"), id="t5")]
)
def test_loss_of_no_regions_is_zero_with_gradients_of_zero(decoder):
    decoder = decoder()
    given = example_tokens(SPACE, 0, 3, seed=0)
    tokens = dataclasses.replace(given, tokens=given.tokens.clone().requires_grad_())
    loss = decoder.loss(tokens, [])
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    loss.backward()
    assert tokens.tokens.grad.shape == (0, 3, 32)
    grads = [weight.grad for weight in decoder.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_loss_of_no_regions_reaches_the_inputs_of_a_frozen_decoder():
    decoder = build("llama").requires_grad_(False)
    given = example_tokens(SPACE, 0, 3, seed=0)
    tokens = dataclasses.replace(given, tokens=given.tokens.clone().requires_grad_())
    loss = decoder.loss(tokens, [])
    loss.backward()
    assert loss.item() == 0
    assert tokens.tokens.grad is not None


def test_loss_where_no_token_counts_is_zero(monkeypatch):
    decoder = build("llama")
    monkeypatch.setattr(type(decoder), "_targets", lambda self, texts, limit: self._padded([[] for _ in texts]))
    loss = decoder.loss(example_tokens(SPACE, 2, 3, seed=0), ["a", "b"])
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    "decoder", [pytest.param(lambda: build("llama"), id="causal"), pytest.param(lambda: build_seq2seq("t5"), id="t5")]
)
def test_no_regions_have_no_captions_scores_and_states(decoder):
    decoder = decoder()
    nothing = example_tokens(SPACE, 0, 3, seed=0)
    assert decoder.generate(nothing) == []
    assert decoder.score(nothing, []).shape == (0,)
    assert decoder.log_likelihood(nothing, []).shape == (0,)
    assert len(decoder.hidden_states(nothing, [])) == 0
