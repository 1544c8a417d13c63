"""Writing text with a language model of transformers: greedily, by beams, or by samples that know no batch mates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from regionkit.core.errors import FeatureError
from regionkit.core.features import GenerateOptions
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.seeds import generator_of

#: Tokens that are turned into text to see whether it ends in a stop string of several tokens.
_TAIL = 16


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote for r regions.

    Attributes:
        ids: Ids of each text, without the end token.
        finished: Whether each came to its end.
        counted: How many tokens of each its likelihood counts: all of its ids, and the end token where one was written.
            A text that a stop string ended has none.
        log_likelihood: Sums of the log-probabilities of the counted tokens, in the model's own distribution; None after
            a beam search, which does not keep them.
    """

    ids: list[list[int]]
    finished: list[bool]
    counted: list[int]
    log_likelihood: list[float] | None


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be written.

    Attributes:
        options: How. ``max_tokens`` must fit the model's positions.
        tokenizer: Of the model.
        end: Id of the end token.
        stop: Text that ends a text as well; empty for none. Where it is one token, that is ``end``.
        rows: Numbers of the rows in the whole call: each draws its samples from a stream of its own.
        who: Whose model it is, for messages: ``decoder 'NAME'``.
    """

    options: GenerateOptions
    tokenizer: LanguageTokenizer
    end: int
    stop: str = ""
    rows: Sequence[int] = ()
    who: str = ""


def write(model: Any, inputs: Mapping[str, Tensor], request: Request) -> Written:
    """Write one text a row with a key-value cache.

    Args:
        model: A language model of transformers with a method ``generate``.
        inputs: Its inputs, ``inputs_embeds`` (r, t, d) and ``attention_mask`` (r, t), padded on the left for a causal
            model.
        request: What is to be written.

    Raises:
        FeatureError: The model computed NaN, from which no word follows.
    """
    options = request.options
    device = inputs["inputs_embeds"].device
    stopping = request.tokenizer.ids_with(request.stop) if request.stop and options.min_tokens > 1 else ()
    watch = _Watch(request.tokenizer.size, request.end, options.min_tokens, stopping)
    processors: list[Any] = [watch]
    if options.temperature > 0:
        processors.append(_Draw(options, request.rows))
    before = int(model.config.is_encoder_decoder)  # its start token stands before what it writes
    stops: list[Any] = [_StopText(request, before)] if request.stop else []
    with _quiet():
        sequences = model.generate(
            **inputs,
            max_new_tokens=options.max_tokens,
            num_beams=options.beams,
            length_penalty=options.length_penalty,
            do_sample=False,  # samples are the largest of noisy logits
            use_cache=True,
            eos_token_id=request.end,
            pad_token_id=request.tokenizer.pad,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList(stops),
        )
    _check(watch.broken, len(sequences), request.who)
    new = sequences[:, before:]
    ids, finished, counted = _ended(new, request)
    if options.beams > 1:
        return Written(ids, finished, counted, None)
    watch.close(sequences)
    return Written(ids, finished, counted, watch.sums(torch.tensor(counted, device=device)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' advice on masks and cache types from the user, who cannot follow it."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check(broken: Tensor | None, rows: int, who: str) -> None:
    if broken is not None and bool(broken.any()):
        count = int(broken.view(rows, -1).any(dim=1).sum())  # a beam search has several rows a region
        raise FeatureError(
            f"{who} computed NaN for {count} of {rows} regions, so it wrote no caption",
            "its weights are damaged, or numbers were too large for the type that it computes in",
            "check them with: toolkit weights list; or compute in float32",
        )


def _ended(new: Tensor, request: Request) -> tuple[list[list[int]], list[bool], list[int]]:
    """Cut each row before its end token, or after the tokens that hold the stop string, whichever comes first.

    What stands behind a stop string is padding, which may be the end token: nobody wrote it, so it does not count.

    Returns:
        Ids, whether each row ended, and how many of its tokens count.
    """
    ids, finished, counted = [], [], []
    for row in new.tolist():
        ends = request.end in row
        kept = row[: row.index(request.end)] if ends else row
        length = _stop_length(kept, request)
        ids.append(kept[:length])
        finished.append(ends or length is not None)
        counted.append(len(kept) + int(ends) if length is None else length)
    return ids, finished, counted


def _stop_length(row: Sequence[int], request: Request) -> int | None:
    """Return how many tokens it takes until the text has the stop string; None where it never has.

    A stop string that several tokens make up ends no text before the fewest tokens are there.
    """
    decode, least = request.tokenizer.decode_all, max(request.options.min_tokens, 1)
    if not request.stop or request.stop not in decode(row):
        return None
    lengths = range(least, len(row) + 1)
    return next((length for length in lengths if request.stop in decode(row[:length])), None)


class _Watch(LogitsProcessor):  # type: ignore[misc]
    """Sees the logits before all else: keeps the log-probabilities of what is chosen, and holds two rules.

    Ids that the tokenizer does not know are never written, the end token not before ``least`` tokens, and those of
    ``stopping``, which end a text and are part of it, only as the last of them or later.
    """

    def __init__(self, known: int, end: int, least: int, stopping: Sequence[int] = ()) -> None:
        self._stopping = list(stopping)
        self.broken: Tensor | None = None
        self._known, self._end, self._least = known, end, least
        self._start: int | None = None
        self._last: Tensor | None = None
        self._gains: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._start is None:
            self._start = input_ids.shape[1]
        self._take(input_ids)
        self._last = scores.float().log_softmax(dim=-1)
        lost = self._last.isnan().any(dim=-1)
        self.broken = lost if self.broken is None else self.broken | lost
        scores = scores.clone()
        scores[:, self._known :] = -torch.inf
        written = input_ids.shape[1] - self._start
        if written < self._least:
            scores[:, self._end] = -torch.inf
        if self._stopping and written + 1 < self._least:
            scores[:, self._stopping] = -torch.inf
        return scores

    def close(self, sequences: Tensor) -> None:
        """Take the last token in, which no further step has shown."""
        if self._start is not None and len(self._gains) < sequences.shape[1] - self._start:
            self._take(sequences)

    def sums(self, lengths: Tensor) -> list[float]:
        """Return (r,) sums of the log-probabilities of the first ``lengths`` tokens of each row."""
        gains = torch.stack(self._gains, dim=1)
        counted = torch.arange(gains.shape[1], device=gains.device) < lengths.unsqueeze(1)
        found: list[float] = gains.masked_fill(~counted, 0.0).sum(dim=1).tolist()
        return found

    def _take(self, ids: Tensor) -> None:
        if self._last is not None and len(self._last) == len(ids) and ids.shape[1] > 0:
            self._gains.append(self._last.gather(1, ids[:, -1:]).squeeze(1))


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Turns the largest logit into a sample: adds Gumbel noise that each row draws from a stream of its own.

    The largest of logits plus Gumbel noise is a sample of their softmax (Gumbel 1954; Maddison et al., arXiv
    1411.0030), so that greedy decoding samples, and no row's draw depends on how many rows there are.
    """

    def __init__(self, options: GenerateOptions, rows: Sequence[int]) -> None:
        self._options = options
        self._streams = [generator_of(options.seed, row) for row in rows]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logits = _nucleus(scores.float() / self._options.temperature, self._options.top_p)
        # On the CPU, whatever the device: one seed gives one caption everywhere but for rounding.
        uniform = torch.stack(
            [torch.rand(scores.shape[1], generator=one, dtype=torch.float64) for one in self._streams]
        )
        tiny = torch.finfo(torch.float64).tiny
        noise = -torch.log(-torch.log(uniform.clamp(min=tiny, max=1 - 1e-16)))
        drawn: Tensor = logits + noise.to(device=scores.device, dtype=torch.float32)
        return drawn


def _nucleus(logits: Tensor, mass: float) -> Tensor:
    """Leave the likeliest tokens that together have the mass, at least one (Holtzman et al., arXiv 1904.09751)."""
    if mass >= 1:
        return logits
    ordered, places = logits.sort(dim=-1, descending=True, stable=True)
    shares = ordered.softmax(dim=-1)
    beyond = shares.cumsum(dim=-1) - shares >= mass  # what stands before a token has the mass already
    return logits.masked_fill(beyond.scatter(1, places, beyond), -torch.inf)


class _StopText(StoppingCriteria):  # type: ignore[misc]
    """Ends a row whose text has the stop string, once it has the fewest tokens."""

    def __init__(self, request: Request, before: int) -> None:
        self._request, self._before = request, before

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        if input_ids.shape[1] - self._before < self._request.options.min_tokens:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        tails = input_ids[:, -_TAIL:].tolist()
        ended = [self._request.stop in self._request.tokenizer.decode_all(row) for row in tails]
        return torch.tensor(ended, device=input_ids.device)
