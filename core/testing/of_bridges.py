"""Checks of bridges."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from regionkit.core.contracts import GapBridge
from regionkit.core.errors import FeatureError
from regionkit.core.explaining import Neighbour
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import (
    TOLERANCE,
    Skip,
    demand,
    must_raise,
    pick,
    same,
    same_encoded,
    shape,
    well_formed,
)
from regionkit.core.testing.subject import Subject


@torch.no_grad()
def _bridge(subject: Subject, tokens: RegionTokens | None = None) -> RegionTokens:
    bridge: GapBridge = subject.component
    return bridge.bridge(subject.tokens() if tokens is None else tokens)


def _embeddings(subject: Subject) -> Tensor:
    """Return made-up text embeddings (7, d) of the space that the bridge writes."""
    dim = Space.parse(_bridge(subject).space).dim
    return torch.randn(7, dim, generator=torch.Generator().manual_seed(5))


def _corrupt(subject: Subject, embeddings: Tensor, seed: int) -> Tensor:
    bridge: GapBridge = subject.component
    return bridge.corrupt(embeddings, torch.Generator().manual_seed(seed))


@check("bridge")
def inputs_unchanged(subject: Subject) -> None:
    """Bridge leaves its caller's tokens as they are."""
    tokens = subject.tokens()
    kept, mask = tokens.tokens.clone(), tokens.mask.clone()
    _bridge(subject, tokens)
    unchanged = torch.equal(kept, tokens.tokens) and torch.equal(mask, tokens.mask)
    demand(unchanged, "bridge changed its caller's tokens")


@check("bridge")
def shapes(subject: Subject) -> None:
    """Each region gives one result, as wide as its space says, with a mask and no NaN."""
    tokens, out = subject.tokens(), _bridge(subject)
    well_formed(out, len(tokens), Space.parse(out.space).dim)


@check("bridge")
def ports(subject: Subject) -> None:
    """The result has the space and the number of tokens that its port names."""
    tokens, out, port = subject.tokens(), _bridge(subject), subject.writes
    if port is None:
        raise Skip("nothing is known of its port")
    demand(out.space == port.space, f"the result is labelled {out.space}, the port says {port.space}")
    passes = subject.reads is not None and subject.reads.many
    most = out.tokens.shape[1]
    demand(port.many or passes or most == 1, f"a region has {most} tokens, the port says one")
    demand(out.tokens.device == tokens.tokens.device, f"tokens of {tokens.tokens.device} came out on another device")


@check("bridge")
def batch_equals_loop(subject: Subject) -> None:
    """A region's result does not depend on the other regions of its batch."""
    tokens, out = subject.tokens(), _bridge(subject)
    for row in range(len(tokens)):
        single = _bridge(subject, pick(tokens, [row]))
        same_encoded(pick(out, [row]), single, TOLERANCE, "a region's result depends on its batch mates")


@check("bridge")
def order(subject: Subject) -> None:
    """A region's result does not depend on its place in the batch."""
    tokens, out = subject.tokens(), _bridge(subject)
    back = list(range(len(tokens) - 1, -1, -1))
    same_encoded(out, pick(_bridge(subject, pick(tokens, back)), back), TOLERANCE, "the order of regions matters")


@check("bridge")
def empty(subject: Subject) -> None:
    """No regions give no tokens, of the same width and space as those of some."""
    some, none = _bridge(subject), _bridge(subject, pick(subject.tokens(), []))
    well_formed(none, 0, Space.parse(some.space).dim)
    demand(none.space == some.space, f"no regions are labelled {none.space}, some {some.space}")


@check("bridge")
def nan_never_leaks(subject: Subject) -> None:
    """A token of NaN is refused with a FeatureError, and a token of zeros gives no NaN."""
    tokens = subject.tokens()
    for value, name in ((torch.nan, "NaN"), (torch.inf, "infinity")):
        bad = pick(tokens, range(2))
        bad.tokens[1] = value
        must_raise(FeatureError, partial(_bridge, subject, bad), f"a token of {name} passes without an error")
    zero = pick(tokens, [0])
    try:
        out = _bridge(subject, replace(zero, tokens=torch.zeros_like(zero.tokens)))
    except FeatureError:
        return
    demand(bool(torch.isfinite(out.tokens).all()), "a token of zeros becomes NaN or infinite")


@check("bridge")
def padding(subject: Subject) -> None:
    """What stands in padding changes nothing."""
    tokens = subject.tokens()
    if bool(tokens.mask.all()):
        raise Skip("it reads one token a region, so nothing is padded")
    louder = tokens.tokens.masked_fill(~tokens.mask.unsqueeze(-1), 7.0)
    other = _bridge(subject, replace(tokens, tokens=louder))
    same_encoded(_bridge(subject), other, TOLERANCE, "what stands in padding changes the result")


@check("bridge")
def corruption(subject: Subject) -> None:
    """Corrupt keeps the shape of embeddings, gives no NaN and leaves its caller's as they are."""
    embeddings = _embeddings(subject)
    kept = embeddings.clone()
    first = _corrupt(subject, embeddings, 3)
    demand(torch.equal(kept, embeddings), "corrupt changed its caller's embeddings")
    demand(first.shape == embeddings.shape, f"corrupt made {shape(first)} of {shape(embeddings)}")
    demand(bool(torch.isfinite(first).all()), "corrupt produced NaN or infinite values")


@check("bridge")
def corruption_follows_the_seed(subject: Subject) -> None:
    """Corrupt draws from its generator only, and draws where the corruption is noise."""
    embeddings = _embeddings(subject)
    first, second = _corrupt(subject, embeddings, 3), _corrupt(subject, embeddings, 3)
    demand(torch.equal(first, second), "corrupt differs under the same seed: it must draw from its generator only")
    if subject.corruption != "none":
        other = _corrupt(subject, embeddings, 4)
        demand(not torch.equal(first, other), f"corrupt ignores the seed although it says {subject.corruption}")


@check("bridge")
def keeps_the_type(subject: Subject) -> None:
    """bfloat16 tokens come back as bfloat16."""
    tokens = subject.tokens()
    out = _bridge(subject, replace(tokens, tokens=tokens.tokens.bfloat16()))
    demand(out.tokens.dtype == torch.bfloat16, f"bfloat16 tokens came back as {out.tokens.dtype}")
    wide = _bridge(subject)
    same(wide.tokens, wide.tokens.float(), "float32 tokens came back in another type", 0.0)
    demand(wide.tokens.dtype == torch.float32, f"float32 tokens came back as {wide.tokens.dtype}")


@check("bridge")
def neighbours(subject: Subject) -> None:
    """Texts of its memory, where it has one, come with shares of the weight, most first, and can be left out."""
    bridge: GapBridge = subject.component
    tokens = subject.tokens()
    try:
        found = bridge.neighbours(tokens, 4)
    except FeatureError as error:
        raise Skip(f"it shows none: {error.message}") from error
    demand(len(found) == len(tokens), f"neighbours of {len(found)} regions, asked for {len(tokens)}")
    for row, texts in enumerate(found):
        weights = [one.weight for one in texts]
        demand(0 < len(texts) <= 4, f"{len(texts)} neighbours of a region, asked for 4")
        demand(all(0 < weight <= 1 + TOLERANCE for weight in weights), f"a neighbour's weight is none: {weights}")
        demand(sum(weights) <= 1 + TOLERANCE, f"the weights of a region's neighbours sum to {sum(weights):.4f}")
        demand(weights == sorted(weights, reverse=True), "neighbours do not come with the most weight first")
        held = [number for one in texts for number in one.rows]
        demand(len(held) == len(set(held)), "a row of the memory belongs to two neighbours")
        alone = bridge.neighbours(pick(tokens, [row]), 4)[0]
        demand([one.rows for one in alone] == [one.rows for one in texts], "neighbours depend on batch mates")
    _left_out(subject, [texts[0] for texts in found])


def _left_out(subject: Subject, first: list[Neighbour]) -> None:
    """Demand that a memory without a text gives well-formed tokens, which do not depend on batch mates."""
    bridge: GapBridge = subject.component
    tokens, out = subject.tokens(), _bridge(subject)
    with torch.no_grad():
        try:
            less = bridge.without(tokens, first)
        except FeatureError as error:
            raise Skip(f"nothing can be left out: {error.message}") from error
        well_formed(less, len(tokens), Space.parse(out.space).dim)
        demand(less.space == out.space, f"without a text the result is labelled {less.space}, with it {out.space}")
        message = "what a region is without a text depends on its batch mates"
        for row in range(len(tokens)):
            alone = bridge.without(pick(tokens, [row]), [first[row]])
            same_encoded(pick(less, [row]), alone, TOLERANCE, message)
    again = bridge.neighbours(tokens, 1)
    demand([one[0].rows for one in again] == [one.rows for one in first], "leaving a text out changed the memory")
