"""Checks of decoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from regionkit.core.contracts import Decoder
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import TOLERANCE, Inputs, Skip, demand, digest, must_raise, rows_of, same, shape
from regionkit.core.testing.examples import example_tokens
from regionkit.core.testing.fakes import picture
from regionkit.core.testing.subject import Subject


@torch.no_grad()
def _generate(subject: Subject, inputs: Inputs | None = None, **options: Any) -> list[Caption]:
    decoder: Decoder = subject.component
    return decoder.generate(
        subject.fed() if inputs is None else inputs,
        options=GenerateOptions(**options) if options else None,
    )


@torch.no_grad()
def _score(subject: Subject, inputs: Inputs, texts: Sequence[str]) -> Tensor:
    decoder: Decoder = subject.component
    return decoder.score(inputs, texts)


def _alike(captions: list[Caption], other: list[Caption], message: str) -> None:
    demand([one.text for one in captions] == [one.text for one in other], message)
    scores = [torch.tensor([one.score for one in given], dtype=torch.float64) for given in (captions, other)]
    same(scores[0], scores[1], f"{message}, in the score")


@check("decoder")
def shapes(subject: Subject) -> None:
    """Each region gets one Caption with a text and a finite log-probability."""
    inputs, captions = subject.fed(), _generate(subject)
    demand(len(captions) == len(inputs), f"{len(captions)} captions for {len(inputs)} regions")
    for caption in captions:
        demand(isinstance(caption, Caption) and isinstance(caption.text, str), f"{caption!r} is no Caption with a text")
        demand(math.isfinite(caption.score) and caption.score <= TOLERANCE, f"{caption.score} is no log-probability")


@check("decoder")
def empty(subject: Subject) -> None:
    """No regions get an empty list of captions and no scores."""
    nothing = rows_of(subject.fed(), [])
    captions = _generate(subject, nothing)
    demand(captions == [], f"no regions gave {captions}, not an empty list")
    scores = _score(subject, nothing, [])
    demand(shape(scores) == (0,), f"no regions gave scores {shape(scores)}, not (0,)")


@check("decoder")
def batch_equals_loop(subject: Subject) -> None:
    """A caption does not depend on the other regions of its batch."""
    inputs, captions = subject.fed(), _generate(subject)
    singles = [_generate(subject, rows_of(inputs, [row]))[0] for row in range(len(inputs))]
    _alike(captions, singles, "a caption depends on its batch mates")


@check("decoder")
def batch_size(subject: Subject) -> None:
    """A caption does not depend on how many regions are decoded together."""
    _alike(_generate(subject), _generate(subject, batch_size=2), "captions depend on batch_size")


@check("decoder")
def order(subject: Subject) -> None:
    """A caption does not depend on its region's place in the batch."""
    inputs = subject.fed()
    back = _generate(subject, rows_of(inputs, range(len(inputs) - 1, -1, -1)))[::-1]
    _alike(_generate(subject), back, "the order of regions matters")


@check("decoder")
def length_limit(subject: Subject) -> None:
    """No caption is longer than max_tokens."""
    for caption in _generate(subject, max_tokens=2):
        demand(len(caption.tokens) <= 2, f"a caption is longer than max_tokens: {len(caption.tokens)} of 2")


@check("decoder")
def sampling(subject: Subject) -> None:
    """Captions are sampled from streams of the seed alone, each region's its own; or sampling is refused."""
    asked: dict[str, Any] = {"temperature": 3.0, "max_tokens": 6}
    first = _generate_or_skip(subject, **asked, seed=0)
    others = [_generate(subject, **asked, seed=seed) for seed in (1, 2)]
    plain = _texts(_generate(subject, max_tokens=6))
    ignored = all(_texts(captions) == plain for captions in (first, *others))
    demand(
        not ignored or not _writes_tokens(subject),
        "temperature is neither honoured nor refused: three seeds give the greedy captions",
    )
    _alike(first, _generate(subject, **asked, seed=0), "one seed gives two sets of samples")
    message = "samples depend on batch_size: region number k draws from a stream of its own"
    _alike(first, _generate(subject, **asked, seed=0, batch_size=2), message)
    demand(all(len(one.tokens) <= 6 for one in first), "a sample is longer than max_tokens")
    certain = _texts(_generate(subject, **asked, seed=0, top_p=1e-6))
    demand(certain == plain, "top_p is neither honoured nor refused: the likeliest token alone gives other captions")


@check("decoder")
def beam_search(subject: Subject) -> None:
    """Beams give one caption a region that depends on nothing but it, no longer than asked; or they are refused."""
    asked: dict[str, Any] = {"beams": 3, "max_tokens": 6}
    captions = _generate_or_skip(subject, **asked)
    inputs = subject.fed()
    demand(len(captions) == len(inputs), f"a beam search gives {len(captions)} captions for {len(inputs)} regions")
    for caption in captions:
        demand(len(caption.tokens) <= 6, "a beam search gives a caption longer than max_tokens")
        score = caption.score
        demand(math.isfinite(score) and score <= TOLERANCE, f"a beam search gives {score}, which is no log-probability")
    _alike(captions, _generate(subject, **asked, batch_size=2), "captions of a beam search depend on batch_size")


@check("decoder")
def shortest_length(subject: Subject) -> None:
    """No caption is shorter than min_tokens; or that is refused."""
    if not _writes_tokens(subject):
        raise Skip("it chooses whole captions")
    least = 4
    for caption in _generate_or_skip(subject, min_tokens=least, max_tokens=6):
        shorter = f"min_tokens is neither honoured nor refused: a caption has {len(caption.tokens)} of {least}"
        demand(len(caption.tokens) >= least, shorter)


def _generate_or_skip(subject: Subject, **options: Any) -> list[Caption]:
    """Generate with options that a decoder may refuse."""
    try:
        return _generate(subject, **options)
    except RegionkitError as error:
        raise Skip(f"it refuses them: {error.message}") from error


def _texts(captions: Sequence[Caption]) -> list[str]:
    return [caption.text for caption in captions]


def _writes_tokens(subject: Subject) -> bool:
    """Say whether a caption grows token by token, which is what these options are about, or is chosen as a whole."""
    return any(len(caption.tokens) > 1 for caption in _generate(subject))


@check("decoder")
def scores(subject: Subject) -> None:
    """Score gives one finite log-likelihood a text."""
    inputs = subject.fed()
    texts = [caption.text for caption in _generate(subject)]
    found = _score(subject, inputs, texts)
    demand(found.shape == (len(texts),), f"score is {shape(found)}, not ({len(texts)},)")
    demand(bool(torch.isfinite(found).all()), "a score is NaN or infinite")
    demand(bool((found <= TOLERANCE).all()), "a log-likelihood is positive")


@check("decoder")
def score_batch_equals_loop(subject: Subject) -> None:
    """A text's score does not depend on the other texts of its batch."""
    inputs = subject.fed()
    texts = [caption.text for caption in _generate(subject)]
    singles = [_score(subject, rows_of(inputs, [row]), [text]) for row, text in enumerate(texts)]
    same(_score(subject, inputs, texts), torch.cat(singles), "a score depends on its batch mates")


@check("decoder")
def token_scores(subject: Subject) -> None:
    """Tokens of a text, where they are shown, are as likely together as the text; others are named beside them."""
    decoder: Decoder = subject.component
    inputs = subject.fed()
    texts = [caption.text for caption in _generate(subject)]
    try:
        found = decoder.token_scores(inputs, texts)
    except FeatureError as error:
        raise Skip(f"it shows none: {error.message}") from error
    demand(len(found) == len(texts), f"tokens of {len(found)} texts, asked for {len(texts)}")
    sums = torch.tensor([sum(one.log_probability for one in row) for row in found], dtype=torch.float64)
    same(_score(subject, inputs, texts), sums, "the log-probabilities of tokens do not sum to the score")
    for row in found:
        for one in row:
            named = [other.log_probability for other in one.alternatives]
            chances = [one.log_probability, *named]
            demand(all(chance <= TOLERANCE for chance in chances), "the log-probability of a token is positive")
            demand(sum(map(math.exp, chances)) <= 1 + TOLERANCE, "a token and its alternatives sum to more than 1")
            demand(named == sorted(named, reverse=True), "alternatives do not come with the likeliest first")
            demand(one.id not in {other.id for other in one.alternatives}, "a token is its own alternative")
            demand(len(named) <= 3, f"{len(named)} alternatives, asked for 3")
    for at in range(len(texts)):
        alone = decoder.token_scores(rows_of(inputs, [at]), [texts[at]])[0]
        demand([one.id for one in alone] == [one.id for one in found[at]], "tokens depend on batch mates")
        pair = [torch.tensor([one.log_probability for one in row]) for row in (found[at], alone)]
        same(pair[0], pair[1], "the log-probability of a token depends on batch mates")
    demand(decoder.token_scores(rows_of(inputs, []), []) == [], "no regions gave tokens")


@check("decoder")
def training_loss(subject: Subject) -> None:
    """The loss is one finite number, through which trainable weights are reached."""
    decoder: Decoder = subject.component
    texts = [caption.text for caption in _generate(subject)]
    loss = decoder.loss(subject.fed(), texts)
    demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss is {shape(loss)}, not one finite number")
    trainable = isinstance(decoder, torch.nn.Module) and any(weight.requires_grad for weight in decoder.parameters())
    demand(loss.requires_grad or not trainable, "the loss reaches no weight: it was computed without gradients")


@check("decoder")
def inputs_unchanged(subject: Subject) -> None:
    """generate, score and loss leave their caller's tokens or pictures as they are."""
    inputs, decoder = subject.fed(), subject.component
    before = digest(inputs)
    captions = _generate(subject, inputs)
    texts = [caption.text for caption in captions]
    _score(subject, inputs, texts)
    decoder.loss(inputs, texts)
    what = "tokens" if isinstance(inputs, RegionTokens) else "pictures"
    demand(digest(inputs) == before, f"the decoder changed its caller's {what}")


@check("decoder")
def nan_never_leaks(subject: Subject) -> None:
    """A token of NaN is refused with a FeatureError instead of being captioned."""
    inputs = subject.fed()
    if isinstance(inputs, RegionViews):
        raise Skip("it reads pictures, not tokens")
    bad = inputs.tokens.clone()
    bad[1] = torch.nan
    broken = replace(inputs, tokens=bad)
    must_raise(FeatureError, lambda: _generate(subject, broken), "a token of NaN is captioned without an error")


@check("decoder")
def ports(subject: Subject) -> None:
    """What it does not read, tokens of another width or the other form, is refused with an error."""
    inputs, port = subject.fed(), subject.reads
    if isinstance(inputs, RegionViews):
        tokens = example_tokens("grid/text[16]", len(inputs))
        must_raise(RegionkitError, lambda: _generate(subject, tokens), "vectors are taken by a decoder of pictures")
        return
    form = "tokens" if port is None else port.form
    demand(form == "tokens", "it is fed with tokens although its port says views")
    wider = replace(inputs, tokens=torch.cat([inputs.tokens, inputs.tokens], dim=2))
    must_raise(RegionkitError, lambda: _generate(subject, wider), "vectors of twice the width are taken")
    views = RegionViews(tuple(picture((16, 16), seed) for seed in range(len(inputs))))
    must_raise(RegionkitError, lambda: _generate(subject, views), "pictures are taken by a decoder of vectors")
    if port is not None and not port.many:
        several = RegionTokens(inputs.tokens.repeat(1, 2, 1), inputs.mask.repeat(1, 2), inputs.space)
        must_raise(
            RegionkitError, lambda: _generate(subject, several), "two tokens a region are taken, its port is one"
        )
