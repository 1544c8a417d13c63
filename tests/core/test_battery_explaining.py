"""The kit's checks of what bridges and decoders say of a caption, each of their demands broken once."""

import math

import pytest
import torch

from regionkit.core.contracts import GapBridge
from regionkit.core.errors import FeatureError
from regionkit.core.explaining import Alternative, Neighbour, TokenScore
from regionkit.core.features import RegionTokens
from regionkit.core.testing import Subject, example_tokens, failures
from regionkit.core.testing.fakes import GridBackbone, NearestTextDecoder
from regionkit.core.testing.stand_ins import Relabel

param = pytest.param
TEXTS = ("red", "blue", "green", "white")


class Remembering(GapBridge):
    """A bridge whose vectors are sums of four texts, but for a fault in what it says of them."""

    def __init__(self, fault=""):
        self.fault, self.calls = fault, 0
        self.bank = torch.nn.functional.normalize(GridBackbone().encode_text(TEXTS), dim=-1)

    def bridge(self, tokens):
        tokens.check_finite("the region encoder")
        return RegionTokens.single(self._shares(tokens) @ self.bank, "grid/text[16]")

    def _shares(self, tokens, gone=None):
        alike = torch.nn.functional.normalize(tokens.tokens[:, 0], dim=-1) @ self.bank.T
        if gone is not None:
            alike[torch.arange(len(alike)), gone] = -math.inf
        return (10 * alike).softmax(-1)

    def neighbours(self, tokens, count):
        found = []
        for shares in self._shares(tokens):
            rows = shares.argsort(descending=True).tolist()
            found.append([Neighbour(TEXTS[row], float(shares[row]), (row,)) for row in rows[:count]])
        if self.fault == "order":
            found[0].reverse()
        if self.fault == "count":
            found.pop()
        if self.fault == "mass":
            found[0] = [Neighbour(one.text, 0.9, one.rows) for one in found[0]]
        if self.fault == "weight":
            found[0][0] = Neighbour("a", 1.5, (0,))
        if self.fault == "rows":
            found[0][1] = Neighbour("a", found[0][1].weight, found[0][0].rows)
        if self.fault == "batch" and len(tokens) > 1:
            found[1] = [Neighbour(one.text, one.weight, (one.rows[0] + 10,)) for one in found[1]]
        return found

    def without(self, tokens, left_out):
        rows = torch.tensor([one.rows[0] for one in left_out])
        vectors = self._shares(tokens, rows) @ self.bank
        if self.fault == "label":
            return RegionTokens.single(vectors, "other/text[16]")
        if self.fault == "nan":
            vectors = vectors * torch.nan
        if self.fault == "left-batch" and len(tokens) > 1:
            vectors = vectors + 1
        self.calls += 1
        if self.fault == "forgets" and self.calls == 6:  # all of the batch, and each of its five rows alone
            self.bank = self.bank.flip(0)
        return RegionTokens.single(vectors, "grid/text[16]")


def bridge_faults(fault):
    subject = Subject("bridge", Remembering(fault), inputs=example_tokens("grid/image[16]", 5, 1))
    return dict(failures(subject, ["neighbours"]))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("order", "neighbours do not come with the most weight first", id="order"),
        param("count", "neighbours of 4 regions, asked for 5", id="count"),
        param("mass", "the weights of a region's neighbours sum to 3.6000", id="mass"),
        param("weight", "a neighbour's weight is none", id="weight"),
        param("rows", "a row of the memory belongs to two neighbours", id="rows"),
        param("batch", "neighbours depend on batch mates", id="batch"),
        param("label", "without a text the result is labelled other/text[16]", id="label"),
        param("nan", "a token is NaN or infinite", id="nan"),
        param("left-batch", "what a region is without a text depends on its batch mates", id="left-batch"),
        param("forgets", "leaving a text out changed the memory", id="forgets"),
    ],
)
def test_a_faulty_memory_is_caught(fault, words):
    assert words in bridge_faults(fault)["neighbours"]


def test_an_honest_memory_passes_and_none_at_all_does_too():
    assert bridge_faults("") == {}
    assert dict(failures(Subject("bridge", Relabel("grid/text[16]")), ["neighbours"])) == {}
    with pytest.raises(FeatureError, match="bridge 'Relabel' has no memory of texts to show") as told:
        Relabel("grid/text[16]").neighbours(example_tokens("grid/image[16]", 1, 1), 3)
    assert told.value.hints == ("choose one that makes its vectors of texts, such as memory",)
    with pytest.raises(FeatureError, match="has no memory of texts to leave one out of"):
        Relabel("grid/text[16]").without(example_tokens("grid/image[16]", 1, 1), [])


class Told(NearestTextDecoder):
    """Its one token is the whole sentence; but for a fault it says how likely that was."""

    def __init__(self, fault=""):
        super().__init__(TEXTS, GridBackbone().encode_text(TEXTS))
        self.fault = fault

    def token_scores(self, inputs, texts, prompt=None, alternatives=3):
        found = []
        for row, text in zip(self._log_probabilities(inputs).tolist(), texts, strict=True):
            own = self.texts.index(text)
            others = sorted((at for at in range(len(row)) if at != own), key=lambda at: -row[at])
            named = [Alternative(self.texts[at], at, row[at]) for at in others[:alternatives]]
            found.append([TokenScore(text, own, row[own], tuple(named))])
        return self._faulty(found) if self.fault and len(found) > 1 else found

    def _faulty(self, found):
        first = found[0][0]
        if self.fault == "count":
            return found[1:]
        changed = {
            "sum": TokenScore(first.text, first.id, first.log_probability - 1, first.alternatives),
            "order": TokenScore(first.text, first.id, first.log_probability, first.alternatives[::-1]),
            "itself": TokenScore(first.text, first.alternatives[0].id, first.log_probability, first.alternatives),
            "mass": TokenScore(first.text, first.id, first.log_probability, (Alternative("a", 9, 0.0),)),
            "many": TokenScore(
                first.text,
                first.id,
                first.log_probability,
                tuple(Alternative("a", 9 + at, -50.0) for at in range(4)),
            ),
            "batch": TokenScore(first.text, 77, first.log_probability, first.alternatives),
        }
        return [[changed.get(self.fault, first)], *found[1:]]


def decoder_faults(fault):
    subject = Subject("decoder", Told(fault), inputs=example_tokens("grid/text[16]", 5, 1))
    return dict(failures(subject, ["token-scores"]))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("count", "tokens of 4 texts, asked for 5", id="count"),
        param("sum", "the log-probabilities of tokens do not sum to the score", id="sum"),
        param("order", "alternatives do not come with the likeliest first", id="order"),
        param("itself", "a token is its own alternative", id="itself"),
        param("mass", "a token and its alternatives sum to more than 1", id="mass"),
        param("many", "4 alternatives, asked for 3", id="many"),
        param("batch", "tokens depend on batch mates", id="batch"),
    ],
)
def test_faulty_tokens_are_caught(fault, words):
    assert words in decoder_faults(fault)["token-scores"]


def test_honest_tokens_pass_and_none_at_all_do_too():
    assert decoder_faults("") == {}
    plain = NearestTextDecoder(TEXTS, GridBackbone().encode_text(TEXTS))
    subject = Subject("decoder", plain, inputs=example_tokens("grid/text[16]", 5, 1))
    assert dict(failures(subject, ["token-scores"])) == {}
    with pytest.raises(FeatureError, match="decoder 'NearestTextDecoder' does not show its tokens"):
        plain.token_scores(example_tokens("grid/text[16]", 1, 1), ["green"])
