"""Projection onto a bank that is kept in half precision.

Rows are rounded where they are kept; sums are made in float32. On a CPU each block is widened to float32 first: that
costs less than a fourth more time than a float32 bank, and no product is rounded. (Products of bfloat16 on a CPU are
rounded to bfloat16 as well, and a similarity that is off by 0.002 is off by 0.2 in the exponent at temperature 0.01.)
On a GPU products are of the bank's own type, with float32 sums and results.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.compute import fast_products
from regionkit.core.contracts import iter_batches

#: Rows that are widened together: 3 MB at a width of 768, which stays in a processor's cache until it is used twice.
_WIDENED = 1024
#: Rows that a GPU looks at together.
_ROWS = 1 << 15


def project_half(
    queries: Tensor,
    unit: Tensor,
    norms: Tensor,
    *,
    temperature: float,
    normalise_bank: bool,
    normalise_output: bool,
    left_out: Tensor | None = None,
) -> Tensor:
    """Project m unit vectors onto n embeddings of half precision, with a running maximum of the softmax.

    Args:
        queries: (m, d) float32 unit vectors, on the bank's device.
        unit: (n, d) unit rows, bfloat16 or float16.
        norms: (n,) lengths of the rows.
        temperature: Of the softmax.
        normalise_bank: Whether the rows that are summed are unit vectors, else ``unit * norms``.
        normalise_output: Whether the sums are made unit vectors.
        left_out: Numbers (k,) of rows that are taken as if they were not there; at least one row must remain.

    Returns:
        (m, d) float32.
    """
    total = torch.zeros_like(queries)
    mass = queries.new_zeros(len(queries), 1)
    peak = queries.new_full((len(queries), 1), -torch.inf)
    blocks = _Blocks(queries, unit)
    with fast_products(queries.device):
        for rows in iter_batches(len(unit), blocks.size):
            similarity = blocks.similarity(rows)
            if left_out is not None:
                inside = left_out[(left_out >= rows.start) & (left_out < rows.stop)] - rows.start
                similarity.index_fill_(1, inside, -torch.inf)
                if bool(similarity.isneginf().all()):
                    continue  # a whole block is left out
            higher = torch.maximum(peak, similarity.amax(1, keepdim=True))
            shrink = ((peak - higher) / temperature).exp()
            shares = similarity.sub_(higher).div_(temperature).exp_()
            mass = mass * shrink + shares.sum(1, keepdim=True)
            if not normalise_bank:
                shares *= norms[rows]
            total = total.mul_(shrink).add_(blocks.summed(shares, rows))
            peak = higher
    return normalize(total, dim=-1) if normalise_output else total / mass


class _Blocks:
    """Products of queries (m, d) with blocks of a bank (n, d); both results are float32."""

    def __init__(self, queries: Tensor, unit: Tensor) -> None:
        self.unit = unit
        self.own = unit.is_cuda  # the one device whose products of half precision can be summed and kept in float32
        self.size = _ROWS if self.own else _WIDENED
        self.queries = queries.to(unit.dtype) if self.own else queries
        self._wide = queries.new_empty(0 if self.own else min(self.size, len(unit)), unit.shape[1])

    def similarity(self, rows: slice) -> Tensor:
        """Return (m, rows) cosines; :meth:`summed` for the same rows follows."""
        if self.own:
            return torch.mm(self.queries, self.unit[rows].T, out_dtype=torch.float32)
        return self.queries @ self._wide[: rows.stop - rows.start].copy_(self.unit[rows]).T

    def summed(self, shares: Tensor, rows: slice) -> Tensor:
        """Return (m, d) sums of the rows, weighted by shares (m, rows)."""
        if self.own:
            return torch.mm(shares.to(self.unit.dtype), self.unit[rows], out_dtype=torch.float32)
        return shares @ self._wide[: rows.stop - rows.start]
