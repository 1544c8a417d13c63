"""Greedy decoding of a GPT-2 type transformer with a key-value cache.

The blocks are run here step by step on the weights of transformers' ``GPT2Model``, with a cache that is allocated once:
no mask is built, no list grows, and rows that are done leave the batch. A test holds both forwards against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from regionkit.core.compute import as_columns, fast_products
from regionkit.core.errors import FeatureError

#: On an accelerator, asking whether all rows are done makes the host wait; it is asked once in so many steps.
STEPS_BETWEEN_CHECKS = 8
#: Finished rows leave the batch once they are at least this share of it: moving the cache costs about one step.
COMPACT_SHARE = 0.2
#: Logits that are looked at together on a CPU, so that they stay in its cache, and the fewest words of a block.
_LOGITS_TOGETHER, _LEAST_WORDS = 1 << 18, 4096
#: Rows of a weight that are whole pages apart fall into the same few lines of a processor's cache. From so many
#: sequences on a copy pays whose rows are so many numbers further apart: at 50, width 768, decoding is 6 % faster.
_PAGE, _APART, _PAYS = 4096, 16, 32


@dataclass(frozen=True, slots=True)
class Generated:
    """Greedy tokens.

    Attributes:
        ids: (r, s) ids; after its end token a row holds end tokens.
        log_likelihood: (r,) sum of the log-probabilities of the tokens up to and including the end token; of all s
            tokens where decoding was told not to stop.
    """

    ids: Tensor
    log_likelihood: Tensor


class CachedBlocks:
    """Transformer blocks that remember the keys and values of every position.

    Args:
        transformer: A ``GPT2Model``.
        rows: Sequences r.
        length: Positions that the cache has room for.
    """

    def __init__(self, transformer: Any, rows: int, length: int) -> None:
        self._transformer = transformer
        self._heads = transformer.config.n_head
        weight = transformer.wte.weight
        shape = (rows, self._heads, length, weight.shape[1] // self._heads)
        self._cache = [(weight.new_empty(shape), weight.new_empty(shape)) for _ in transformer.h]
        self._widening = [_spread(block.mlp.c_fc.weight, rows) for block in transformer.h]
        self._filled = 0

    def append(self, embeddings: Tensor) -> Tensor:
        """Run token embeddings (r, t, d) at the next t positions and return their last hidden states (r, t, d).

        The first call may hold any number of positions; later calls hold one.
        """
        rows, count, width = embeddings.shape
        start, end = self._filled, self._filled + count
        hidden = embeddings + self._transformer.wpe.weight[start:end]
        for block, wide, (keys, values) in zip(self._transformer.h, self._widening, self._cache, strict=True):
            mixed = _affine(block.attn.c_attn, _norm(block.ln_1, hidden)).view(rows, count, 3, self._heads, -1)
            query, key, value = mixed.permute(2, 0, 3, 1, 4)
            keys[:, :, start:end] = key
            values[:, :, start:end] = value
            seen = scaled_dot_product_attention(query, keys[:, :, :end], values[:, :, :end], is_causal=count > 1)
            hidden = hidden + _affine(block.attn.c_proj, seen.transpose(1, 2).reshape(rows, count, width))
            inner = block.mlp.act(_affine(block.mlp.c_fc, _norm(block.ln_2, hidden), wide))
            hidden = hidden + _affine(block.mlp.c_proj, inner)
        self._filled = end
        return _norm(self._transformer.ln_f, hidden)

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows of the batch."""
        self._cache = [(keys[rows], values[rows]) for keys, values in self._cache]


def greedy(
    transformer: Any, prefix: Tensor, steps: int, *, known: int, end: int, stop: bool = True, all_rows: bool = False
) -> Generated:
    """Write the most likely token, step after step.

    Args:
        transformer: A ``GPT2Model`` whose word embedding is also the output layer.
        prefix: (r, d) embedding at position 0.
        steps: Most tokens to write.
        known: Ids from here on are unknown to the tokenizer and never written.
        end: Id of the end token.
        stop: Stop when every row has written its end token. Otherwise all rows make all steps and go on writing after
            the end token, as the released code does.
        all_rows: Normalise probabilities over all rows of the embedding, unknown ids included.

    Raises:
        FeatureError: The decoder computed NaN, from which no word follows.
    """
    with fast_products(prefix.device):
        found = _written(transformer, prefix, steps, known, end, stop=stop, all_rows=all_rows)
    # Once at the end: what is NaN at any step makes the sum NaN, and asking at each would make the host wait for it.
    broken = found.log_likelihood.isnan().nonzero().flatten().tolist()
    if broken:
        raise FeatureError(
            f"decoder 'decap' computed NaN for {len(broken)} of {len(prefix)} regions, so it wrote no caption",
            "its weights are damaged, or numbers were too large for the type that it computes in",
            "check them with: toolkit weights list; or compute in float32",
        )
    return found


def _written(
    transformer: Any, prefix: Tensor, steps: int, known: int, end: int, *, stop: bool, all_rows: bool
) -> Generated:
    """Write as :func:`greedy` does, whatever comes of it."""
    rows = prefix.shape[0]
    words = transformer.wte.weight
    outputs = words if all_rows else words[:known]
    blocks = CachedBlocks(transformer, rows, steps)
    ids = torch.full((rows, steps), end, dtype=torch.long, device=prefix.device)
    total = prefix.new_zeros(rows, dtype=torch.float32)
    active = torch.arange(rows, device=prefix.device)
    done = torch.zeros(rows, dtype=torch.bool, device=prefix.device)
    between = _steps_between_checks(prefix.device)
    embeddings = prefix
    for step in range(steps):
        token, gain = likeliest(blocks.append(embeddings.unsqueeze(1)).squeeze(1), outputs, known)
        if stop:
            token = token.masked_fill(done, end)
            gain = gain.masked_fill(done, 0.0)
            done = done | (token == end)
        ids[active, step] = token
        total[active] += gain
        if stop and (step + 1) % between == 0:
            left = (~done).nonzero().flatten()
            if len(left) == 0:
                break
            if len(left) <= (1 - COMPACT_SHARE) * len(done):
                blocks.keep(left)
                active, done, token = active[left], done[left], token[left]
        embeddings = words[token]
    return Generated(ids, total)


def likeliest(hidden: Tensor, outputs: Tensor, known: int) -> tuple[Tensor, Tensor]:
    """Return the most likely id of each row and its log-probability, both (r,), in float32.

    The logits of all words are never there together: a running maximum and sum are kept over blocks of words, whose
    logits stand in columns, since a product of many rows with few columns is the faster one.

    Args:
        hidden: (r, d) last hidden states.
        outputs: (v, d) rows of the output layer, over all of which probabilities are normalised.
        known: Only the first so many ids are written.
    """
    columns = as_columns(hidden)
    step = (
        max(_LOGITS_TOGETHER // max(len(hidden), 1), _LEAST_WORDS)
        if hidden.device.type == "cpu"
        else max(len(outputs), 1)
    )
    best = hidden.new_full((len(hidden),), -torch.inf, dtype=torch.float32)
    peak, mass, token = best, torch.zeros_like(best), torch.zeros_like(best, dtype=torch.long)
    bounds = sorted({*range(0, known, step), *range(known, len(outputs), step), len(outputs)})
    for start, end in pairwise(bounds):
        logits = (outputs[start:end] @ columns).float()  # a product of its own, which may be changed
        highest, place = logits.max(dim=0)
        if start < known:
            better = highest > best
            token = torch.where(better, place + start, token)
            best = torch.where(better, highest, best)
        higher = torch.maximum(peak, highest)
        mass = mass * (peak - higher).exp() + logits.sub_(higher).exp_().sum(dim=0)
        peak = higher
    return token, best - peak - mass.log()


def _steps_between_checks(device: torch.device) -> int:
    return 1 if device.type == "cpu" else STEPS_BETWEEN_CHECKS


def _norm(module: Any, hidden: Tensor) -> Tensor:
    return layer_norm(hidden, module.normalized_shape, module.weight, module.bias, module.eps)


def _affine(module: Any, hidden: Tensor, weight: Tensor | None = None) -> Tensor:
    # transformers' Conv1D keeps its weight as (in, out).
    weight = module.weight if weight is None else weight
    flat = torch.addmm(module.bias, hidden.reshape(-1, hidden.shape[-1]), weight)
    return flat.view(*hidden.shape[:-1], -1)


def _spread(weight: Tensor, rows: int) -> Tensor:
    """Return a weight (in, out) with its rows further apart in memory where that makes products on a CPU faster."""
    away = weight.shape[1] * weight.element_size() % _PAGE
    if away or weight.device.type != "cpu" or rows < _PAYS:
        return weight
    return weight.new_empty(weight.shape[0], weight.shape[1] + _APART)[:, : weight.shape[1]].copy_(weight)
