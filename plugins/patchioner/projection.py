"""Softmax-weighted sums over a bank of embeddings, in blocks: the inner loop of memory projection.

Shares are counted from a running offset (Milakov and Gimelshein, arXiv 1805.02867), so that nothing of size (m, n) is
made. Nearly all of the time goes into two products a block. Blocks of negligible mass could be left out of the second
one within a bound; that was tried and gave a tenth where every query has a near row, and lost where some have none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.compute import fast_products
from regionkit.core.contracts import iter_batches

#: Bank rows looked at together: what a block makes of many regions stays in a processor's cache.
BLOCK = 2048
#: A bank of at most so many values is projected in double precision.
SMALL = 1 << 20
#: Sums of a block's shares beyond which they are counted from a new offset: far from the largest float32.
_LARGE = 1e20


def project(
    queries: Tensor,
    unit: Tensor,
    norms: Tensor,
    *,
    temperature: float,
    normalise_bank: bool,
    normalise_output: bool,
    left_out: Tensor | None = None,
) -> Tensor:
    """Project m unit vectors onto n embeddings: p = sum_j alpha_j m_j, alpha = softmax(cos(v, m_j) / temperature).

    Args:
        queries: (m, d) float32 unit vectors, on the bank's device.
        unit: (n, d) unit rows of the bank, float32 or of half precision; sums are made in float32 or better.
        norms: (n,) lengths of the rows, float32 or of half precision.
        temperature: Of the softmax.
        normalise_bank: Whether the rows that are summed are unit vectors, else ``unit * norms``.
        normalise_output: Whether the sums are made unit vectors.
        left_out: Numbers (k,) of rows that are taken as if they were not there; at least one row must remain.

    Returns:
        (m, d) float32.
    """
    with fast_products(queries.device):
        sums = _Sums(queries.to(precision(unit)), temperature)
        for block in iter_batches(len(unit), BLOCK):
            bank = unit[block].to(sums.total)
            logits = but((bank @ sums.columns).T, block, left_out).T
            if left_out is not None and bool(logits.isneginf().all()):
                continue  # a whole block is left out
            sums.add(bank, logits, None if normalise_bank else norms[block])
    projected = normalize(sums.total, dim=-1) if normalise_output else sums.total / sums.mass.unsqueeze(1)
    return projected.float()


class _Sums:
    """Sums of rows by their shares exp(logit - offset), for m queries.

    Attributes:
        columns: (d, m) queries over the temperature. Logits stand in columns, a query each: a product of many rows
            with few columns is the faster one.
        total: (m, d) sums of the rows.
        mass: (m,) sums of the shares.
        offset: (m,) what is taken off all logits; None before the first block.
    """

    def __init__(self, queries: Tensor, temperature: float) -> None:
        self.columns = (queries / temperature).T.contiguous()
        self.total = torch.zeros_like(queries)
        self.mass = queries.new_zeros(len(queries))
        self.offset: Tensor | None = None

    def add(self, bank: Tensor, logits: Tensor, lengths: Tensor | None) -> None:
        """Add rows (b, d) with logits (b, m), which are spoilt, and perhaps lengths (b,)."""
        shares, sums = self._shares(logits)
        self.mass += sums
        if lengths is not None:
            shares *= lengths.to(shares).unsqueeze(1)
        self.total.addmm_(shares.T, bank)

    def _shares(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return exp(logits - offset) and their sums (m,).

        The offset of the first block is kept as long as no sum grows large: to look for the largest logit of every
        block costs a CPU as much as all else beside the products. A GPU, which the host would have to wait for, looks.
        """
        if self.offset is not None and logits.device.type == "cpu":
            logits.sub_(self.offset)
            shares = logits.exp()
            sums = _column_sums(shares)
            if bool((sums <= _LARGE).all()):
                return shares, sums
            logits.add_(self.offset)
        highest = logits.amax(0)
        if self.offset is not None:
            highest = torch.maximum(self.offset, highest)
            shrink = (self.offset - highest).exp()
            self.mass *= shrink
            self.total *= shrink.unsqueeze(1)
        self.offset = highest
        shares = logits.sub_(highest).exp_()
        return shares, _column_sums(shares)


def _column_sums(shares: Tensor) -> Tensor:
    """Return the sums of columns: as a product, for torch takes longer over sums across few columns."""
    return shares.T @ shares.new_ones(len(shares))


def precision(unit: Tensor) -> torch.dtype:
    """Return float64 for a small bank, where it costs nothing: a low temperature magnifies what float32 rounds."""
    small = unit.numel() <= SMALL and unit.device.type != "mps"
    return torch.float64 if small else torch.float32


def but(similarity: Tensor, block: slice, left_out: Tensor | None) -> Tensor:
    """Return similarities (m, rows of a block) in which rows of the bank that are left out are never alike."""
    if left_out is None:
        return similarity
    inside = left_out[(left_out >= block.start) & (left_out < block.stop)] - block.start
    return similarity.index_fill(1, inside, -torch.inf)
