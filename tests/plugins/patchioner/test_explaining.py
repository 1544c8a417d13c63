"""What the memory bridge says of its texts, and the decap decoder of its tokens."""

from __future__ import annotations

import math

import pytest
import torch
from test_decap import WORDS, tiny, vectors
from test_memory import SPACE, TEXTS, fitted, tokens_of

from regionkit.core.errors import DataError, FeatureError
from regionkit.core.explaining import END_SHOWN, Neighbour
from regionkit.core.features import RegionTokens
from regionkit.core.testing import GridBackbone
from regionkit.plugins.patchioner import projection
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.memory import Memory

param = pytest.param


def asked(count=3, seed=0):
    return tokens_of(torch.rand(count, 16, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("block", [param(4096, id="one-block"), param(4, id="many-blocks")])
def test_weights_are_those_of_the_softmax(monkeypatch, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    bridge, tokens = fitted(temperature=0.1), asked()
    unit = torch.nn.functional.normalize(tokens.vectors().double(), dim=-1)
    shares = (unit @ bridge.unit.double().T / 0.1).softmax(-1)
    for row, found in zip(shares, bridge.neighbours(tokens, 3), strict=True):
        best = row.topk(3)
        assert [one.text for one in found] == [TEXTS[at] for at in best.indices]
        assert [one.weight for one in found] == pytest.approx(best.values.tolist(), abs=1e-6)
        assert [one.rows for one in found] == [(int(at),) for at in best.indices]


def test_equal_texts_are_one_with_the_weight_of_all_their_rows():
    single, double = fitted(temperature=0.5), fitted([*TEXTS, "green", "green"], temperature=0.5)
    (once,), (thrice,) = (bridge.neighbours(asked(1), 99) for bridge in (single, double))
    assert len(once) == len(thrice) == len(TEXTS)
    weight = {one.text: one.weight for one in once}
    found = next(one for one in thrice if one.text == "green")
    assert found.rows == (2, 6, 7)
    assert found.weight == pytest.approx(3 * weight["green"] / (1 + 2 * weight["green"]))
    assert sum(one.weight for one in thrice) == pytest.approx(1)


@pytest.mark.parametrize("mode", ["project", "argmax"])
@pytest.mark.parametrize("block", [param(4096, id="one-block"), param(1, id="a-block-a-row")])
def test_without_a_text_is_a_bank_that_never_had_it(monkeypatch, mode, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    texts = [*TEXTS, "green"]
    bridge, tokens = fitted(texts, mode=mode, temperature=0.1), asked(2)
    for text in ("green", "a blue circle"):
        rest = [one for one in texts if one != text]
        rows = tuple(at for at, one in enumerate(texts) if one == text)
        less = bridge.without(tokens, [Neighbour(text, 0.5, rows)] * 2)
        never = fitted(rest, mode=mode, temperature=0.1).bridge(tokens)
        torch.testing.assert_close(less.tokens, never.tokens, atol=1e-6, rtol=0)
        assert less.space == SPACE


def test_of_the_nearest_row_alone_there_is_one_text():
    (found,) = fitted(mode="argmax").neighbours(asked(1), 5)
    assert [one.weight for one in found] == [1.0]


def test_a_bank_of_vectors_alone_tells_rows():
    bridge = Memory(MemoryConfig(), SPACE)
    bridge.fit(GridBackbone().encode_text(TEXTS), [])
    (found,) = bridge.neighbours(asked(1), 2)
    assert [one.text for one in found] == ["", ""]
    assert found[0].label == f"row {found[0].rows[0]}"


def test_what_cannot_be_said_is_refused():
    bridge = fitted(["green"])
    (found,) = bridge.neighbours(asked(1), 5)
    with pytest.raises(FeatureError, match="without 'green' nothing is left in the bank"):
        bridge.without(asked(1), found)
    several = RegionTokens(torch.ones(1, 2, 16), torch.ones(1, 2, dtype=torch.bool), "grid/image[16]")
    with pytest.raises(FeatureError, match="one token a region"):
        bridge.neighbours(several, 3)
    assert bridge.neighbours(asked(0), 3) == []


def test_a_new_bank_forgets_the_old_texts():
    bridge = fitted()
    bridge.neighbours(asked(1), 1)
    bridge.fit(GridBackbone().encode_text(["white", "white"]), ["white", "white"])
    assert [one.rows for one in bridge.neighbours(asked(1), 5)[0]] == [(0, 1)]


# ---------------------------------------------------------------- tokens


def test_tokens_of_decap_are_the_caption_and_the_score():
    decoder, read = tiny(), vectors(4)
    written = decoder.generate(read)
    captions = [one.text for one in written]
    found = decoder.token_scores(read, captions)
    assert [" ".join(one.text for one in row[:-1]) for row in found] == captions
    assert {row[-1].text for row in found} == {END_SHOWN}
    sums = [sum(one.log_probability for one in row) for row in found]
    assert sums == pytest.approx(decoder.score(read, captions).tolist(), abs=1e-4)
    for row, caption in zip(found, written, strict=True):
        assert tuple(one.id for one in row[:-1]) == caption.tokens
        for one in (
            row if caption.finished else row[:-1]
        ):  # the decoder writes greedily: nothing is likelier than what it wrote
            assert one.alternatives[0].log_probability <= one.log_probability + 1e-6
            assert sum(math.exp(other.log_probability) for other in (one, *one.alternatives)) <= 1 + 1e-6


def test_alternatives_are_as_many_as_asked_and_never_more_than_there_are():
    decoder, read = tiny(), vectors(1)
    assert [len(one.alternatives) for one in decoder.token_scores(read, [WORDS[0]], None, 0)[0]] == [0, 0]
    many = decoder.token_scores(read, [WORDS[0]], None, 99)[0][0].alternatives
    assert {one.text for one in many} == {*WORDS[1:], END_SHOWN}
    likelier = decoder.token_scores(read, [f"{WORDS[0]} {WORDS[1]}"], None, 2)
    assert all(len(one.alternatives) == 2 for one in likelier[0])


def test_a_word_that_decap_does_not_know_is_named():
    with pytest.raises(DataError, match="does not know the word 'zebra'"):
        tiny().token_scores(vectors(1), ["zebra"])
