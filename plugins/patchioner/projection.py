"""Softmax-weighted sums over a bank of embeddings, in blocks: the inner loop of memory projection.

Shares are counted from a running offset (Milakov and Gimelshein, arXiv 1805.02867), so that nothing of size (m, n) is
made. Nine tenths of the time and more go into two products a block. Rows of negligible share could be left out of the
second one: that saves a third where every region lies at a row of the bank, and nothing with the cosines that regions
have to texts. This and what else was tried stands in docs/benchmarks.md, "What the Xeon allows".

A bank may be kept in half precision. Its rows are rounded where they are kept; sums are made in float32 or better. On a
CPU each block is widened first: that costs less than a fourth more time than a float32 bank, and no product is rounded.
(Products of bfloat16 on a CPU are rounded to bfloat16 as well, and a similarity that is off by 0.002 is off by 0.2 in
the exponent at temperature 0.01.) On a GPU products are of the bank's own type, with float32 sums and results.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.compute import as_columns, fast_products
from regionkit.core.contracts import iter_batches

#: Bank rows looked at together: what a block makes of many regions stays in a processor's cache.
BLOCK = 2048
#: The same where rows are widened: 3 MB at a width of 768, which stay in the cache until they are used twice.
WIDENED = 1024
#: The same on a GPU, where each block costs some ten kernels to start.
ON_GPU = 1 << 15
#: A bank of at most so many values is projected in double precision.
SMALL = 1 << 20
#: Sums of a block's shares beyond which they are counted from a new offset: far from the largest float32, also after
#: thousands of blocks and multiplied with the lengths of rows.
_LARGE = 1e15


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
    queries = queries.to(precision(unit))
    sums, products = _Sums(queries), _Products(queries, unit, temperature)
    with fast_products(queries.device):
        for rows in iter_batches(len(unit), products.block):
            logits = but(products.logits(rows).T, rows, left_out).T
            if left_out is not None and bool(logits.isneginf().all()):
                continue  # a whole block is left out
            shares = sums.shares(logits)
            if not normalise_bank:
                shares *= norms[rows].to(shares).unsqueeze(1)
            products.add(shares, rows, sums.total)
    # Divided before its length is taken: the square of a sum may be beyond float32 where the sum is not.
    projected = sums.total / sums.mass.unsqueeze(1)
    return (normalize(projected, dim=-1) if normalise_output else projected).float()


class _Products:
    """Products of m queries (m, d) with blocks of a bank (n, d); results are of the queries' type.

    Logits stand in columns, a query each: a product of many rows with few columns is the faster one.

    Attributes:
        block: Rows of the bank to take at once.
    """

    def __init__(self, queries: Tensor, unit: Tensor, temperature: float) -> None:
        self._unit, self._temperature = unit, temperature
        # The one device whose products of half precision can be summed and kept in float32.
        self._own = unit.is_cuda and unit.dtype != torch.float32 and queries.dtype == torch.float32
        widened = unit.dtype != queries.dtype and not self._own
        self.block = ON_GPU if unit.is_cuda else WIDENED if widened else BLOCK
        self._wide = queries.new_empty(min(self.block, len(unit)), unit.shape[1]) if widened else None
        # Divided afterwards where numbers are rounded: 1 / temperature may be beyond float16.
        self._columns = as_columns(queries.to(unit.dtype) if self._own else queries / temperature)

    def logits(self, rows: slice) -> Tensor:
        """Return (b, m) logits of some rows, a product that may be changed; :meth:`add` for the same rows follows."""
        if self._own:
            return torch.mm(self._unit[rows], self._columns, out_dtype=torch.float32).div_(self._temperature)
        if self._wide is not None:
            self._wide[: rows.stop - rows.start].copy_(self._unit[rows])
        return self._rows(rows) @ self._columns

    def add(self, shares: Tensor, rows: slice, total: Tensor) -> None:
        """Add the sums of rows by their shares (b, m) to a total (m, d)."""
        if self._own:
            total += torch.mm(shares.T.to(self._unit.dtype), self._unit[rows], out_dtype=torch.float32)
        else:
            total.addmm_(shares.T, self._rows(rows))

    def _rows(self, rows: slice) -> Tensor:
        return self._unit[rows] if self._wide is None else self._wide[: rows.stop - rows.start]


class _Sums:
    """Sums of rows by their shares exp(logit - offset), for m queries (m, d).

    Attributes:
        total: (m, d) sums of the rows.
        mass: (m,) sums of the shares.
        offset: (m,) what is taken off all logits; None before the first block.
    """

    def __init__(self, queries: Tensor) -> None:
        self.total = torch.zeros_like(queries)
        self.mass = queries.new_zeros(len(queries))
        self.offset: Tensor | None = None

    def shares(self, logits: Tensor) -> Tensor:
        """Return exp(logits - offset) of a block's logits (b, m), which are spoilt, and count them in the mass.

        The offset of the first block is kept as long as no sum grows large: to look for the largest logit of every
        block costs a CPU as much as all else beside the products. A GPU, which the host would have to wait for, looks.
        """
        if self.offset is not None and logits.device.type == "cpu":
            logits.sub_(self.offset)
            shares = logits.exp()
            sums = _column_sums(shares)
            if bool((sums <= _LARGE).all()):
                self.mass += sums
                return shares
            logits.add_(self.offset)
        highest = logits.amax(0)
        if self.offset is not None:
            highest = torch.maximum(self.offset, highest)
            shrink = (self.offset - highest).exp()
            self.mass *= shrink
            self.total *= shrink.unsqueeze(1)
        self.offset = highest
        shares = logits.sub_(highest).exp_()
        self.mass += _column_sums(shares)
        return shares


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
