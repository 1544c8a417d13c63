"""The checks of how decoders generate: honest ones pass or refuse, and seeded faults are caught, each by its name."""

import re

import pytest
import torch
from torch.nn.functional import normalize

from regionkit.core.contracts import Decoder
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.spec import Port
from regionkit.core.testing import Skip, Subject, check_decoder, checks_of, failures

param = pytest.param
CHECKS = ("sampling", "beam-search", "shortest-length")
WORDS = [".", "a", "dog", "red", "tree", "cup", "road", "boat"]
TABLE = torch.randn(len(WORDS), 16, generator=torch.Generator().manual_seed(1))


class Chain(Decoder):
    """Writes words by a chain that the region pushes; can all there is to ask, with switches for its faults."""

    def __init__(self, fault=""):
        self.fault, self.shared = fault, torch.Generator().manual_seed(0)

    def generate(self, inputs, prompt=None, options=None):
        options = options or GenerateOptions()
        if self.fault == "greedy" and not options.greedy:
            raise RegionkitError("decoder 'chain' writes greedily", "leave that out")
        if self.fault == "crash" and not options.greedy:
            raise NotImplementedError("beams")
        rows = range(len(self.pushes(inputs)))
        return [self.caption(self.pushes(inputs)[row], row, options) for row in rows]

    def caption(self, push, row, options):
        ids, score, end = [], 0.0, False
        place = row % options.batch_size if self.fault == "batch-row" else row
        generator = torch.Generator().manual_seed(1000 * options.seed + place)
        if self.fault == "global-stream":
            generator = self.shared
        while len(ids) < options.max_tokens + (self.fault == "long" and options.beams > 1) and not end:
            logits = 3 * push + TABLE @ TABLE[(ids[-1] + 1) % len(WORDS) if ids else 3] / 4
            chances = logits.log_softmax(0)
            if len(ids) < options.min_tokens and self.fault != "min-tokens":
                logits = logits.clone()
                logits[0] = -torch.inf
            ids.append(self.choose(logits, generator, options))
            score += float(chances[ids[-1]])
            end = ids[-1] == 0
        kept = ids[:-1] if end else ids
        if self.fault == "beam-score" and options.beams > 1:
            score = 0.5
        if self.fault == "beam-batch" and options.beams > 1:
            kept = [*kept[:5], options.batch_size % 3]
        return Caption(" ".join(WORDS[one] for one in kept), score, tuple(kept[: options.max_tokens + 1]), end)

    def choose(self, logits, generator, options):
        if not options.temperature or self.fault == "no-samples":
            return int(logits.argmax())
        chances = (logits / options.temperature).softmax(0)
        if options.top_p < 1 and self.fault != "top-p":
            order = chances.argsort(descending=True)
            chances[order[chances[order].cumsum(0) - chances[order] >= options.top_p]] = 0
        return int(torch.multinomial(chances, 1, generator=generator))

    def pushes(self, inputs):
        if not hasattr(inputs, "tokens") or inputs.tokens.shape[-1] != 16:
            raise FeatureError("chain reads vectors of width 16")
        vectors = inputs.vectors()
        inputs.check_finite("what chain reads")
        return torch.stack([(TABLE * row).sum(-1) for row in normalize(vectors, dim=-1)]) if len(inputs) else []

    def score(self, inputs, texts, prompt=None):
        return -torch.ones(len(texts))

    def loss(self, inputs, texts, prompt=None):
        return torch.ones(())


def subject(fault=""):
    return Subject("decoder", Chain(fault), reads=Port("grid/text[16]"))


@pytest.mark.parametrize("fault", [param("", id="does-all"), param("greedy", id="refuses-all")])
def test_decoders_that_honour_or_refuse_pass(fault):
    check_decoder(Chain(fault))
    assert dict(failures(subject(fault), CHECKS)) == {}


def test_a_refusal_is_told():
    (check,) = [one for one in checks_of("decoder") if one.name == "beam-search"]
    with pytest.raises(Skip, match="it refuses them: decoder 'chain' writes greedily"):
        check(subject("greedy"))


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("no-samples", "sampling", "temperature is neither honoured nor refused", id="samples-ignored"),
        param("global-stream", "sampling", "one seed gives two sets of samples", id="stream-of-its-own"),
        param("batch-row", "sampling", "samples depend on batch_size", id="samples-batch-size"),
        param("top-p", "sampling", "top_p is neither honoured nor refused", id="top-p-ignored"),
        param("long", "beam-search", "a caption longer than max_tokens", id="beams-too-long"),
        param("beam-score", "beam-search", r"gives 0\.5, which is no log-probability", id="beam-score"),
        param("beam-batch", "beam-search", "captions of a beam search depend on batch_size", id="beams-batch-size"),
        param(
            "min-tokens",
            "shortest-length",
            r"min_tokens is neither honoured nor refused: a caption has \d of 4",
            id="min",
        ),
        param("crash", "beam-search", "it crashed with NotImplementedError: beams", id="another-error"),
    ],
)
def test_faulty_generation_is_caught(fault, check, words):
    found = dict(failures(subject(fault), [check]))
    assert re.search(words, found.get(check, f"{check} passes"))
    with pytest.raises(AssertionError):
        check_decoder(Chain(fault))
