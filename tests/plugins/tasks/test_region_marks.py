"""Regions in a prompt: each stands where its mark stands, in decoders of both families."""

from __future__ import annotations

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.language.regions import pieces_of, shares_of
from regionkit.core.testing import Sentences, example_tokens
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens
from regionkit.plugins.regionvlm.seq2seq_config import Seq2SeqTokensConfig
from regionkit.plugins.regionvlm.seq2seq_decoder import Seq2SeqTokens

SPACE = "tiny/tokens[32]"
PROMPT = "a dog <region> a car <region> a tree"


@pytest.fixture(scope="module")
def causal():
    config = LmTokensConfig(
        hidden=32, layers=1, heads=4, intermediate=48, positions=64, template="none", prompt="a dog"
    )
    return LmTokens.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}))


@pytest.fixture(scope="module")
def seq2seq():
    config = Seq2SeqTokensConfig(hidden=32, layers=1, decoder_layers=1, heads=4, ff=48, positions=40)
    return Seq2SeqTokens.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}))


def whole(count=3, tokens=4):
    given = example_tokens(SPACE, count, tokens)
    return RegionTokens(given.tokens, torch.ones_like(given.mask), SPACE)


def words(decoder, text, *ends):
    return decoder._embed([*decoder.tokenizer.encode(text), *ends]).detach()


def test_tokens_are_shared_out_in_the_order_of_the_marks():
    given = whole()
    first, second = shares_of(given, 2, "decoder")
    assert torch.equal(torch.cat([first.tokens, second.tokens], 1), given.tokens)
    assert pieces_of("a <region>b<region>") == ["a ", "b", ""]
    with pytest.raises(FeatureError, match="4 tokens a region cannot be shared out among the 3 <region>"):
        shares_of(given, 3, "decoder 'x'")


def test_a_causal_model_reads_regions_at_their_marks(causal):
    given = whole()
    with torch.no_grad():
        found, valid = causal.spliced(given, PROMPT)
        same, _ = causal.spliced(given, PROMPT.replace("<region>", "<image>"))
        start = causal._embed(causal.tokenizer.start)
        row = [start, words(causal, "a dog "), given.tokens[1, :2], words(causal, " a car "), given.tokens[1, 2:]]
        wanted = torch.cat([*row, words(causal, " a tree")])
    assert bool(valid.all())
    assert torch.equal(found, same)
    assert torch.equal(found[1], wanted)


def test_an_encoder_reads_regions_at_their_marks_and_without_any_in_front(seq2seq):
    given = whole()
    with torch.no_grad():
        found = seq2seq.encoder_inputs(given, PROMPT)
        row = [words(seq2seq, "a dog "), given.tokens[2, :2], words(seq2seq, " a car "), given.tokens[2, 2:]]
        wanted = torch.cat([*row, words(seq2seq, " a tree", seq2seq.tokenizer.end)])
        plain = seq2seq.encoder_inputs(given, "a dog")["inputs_embeds"]
    assert torch.equal(found["inputs_embeds"][2], wanted)
    assert bool(found["attention_mask"].all())
    assert torch.equal(plain[0], torch.cat([given.tokens[0], words(seq2seq, "a dog", seq2seq.tokenizer.end)]))


@pytest.mark.parametrize("name", [pytest.param("causal", id="causal"), pytest.param("seq2seq", id="seq2seq")])
def test_answers_do_not_depend_on_batch_mates_or_padding(name, request):
    decoder = request.getfixturevalue(name)
    given = whole(3, 6)
    mask = given.mask.clone()
    mask[1, 2] = mask[1, 5] = False  # the third token of each region is padding
    given = RegionTokens(given.tokens, mask, SPACE)
    options = GenerateOptions(6)
    together = [one.text for one in decoder.generate(given, PROMPT, options)]
    short = RegionTokens(given.tokens[1:2, [0, 1, 3, 4]], given.mask[1:2, [0, 1, 3, 4]], SPACE)
    assert decoder.generate(short, PROMPT, options)[0].text == together[1]
    scores = decoder.score(given, ["a dog"] * 3, PROMPT)
    assert decoder.score(short, ["a dog"], PROMPT)[0] == pytest.approx(float(scores[1]), abs=1e-4)


def test_tokens_that_do_not_go_round_are_refused(causal, seq2seq):
    for decoder in (causal, seq2seq):
        assert decoder.places_regions
        with pytest.raises(FeatureError, match="3 tokens a region cannot be shared out among the 2"):
            decoder.generate(whole(2, 3), PROMPT)
