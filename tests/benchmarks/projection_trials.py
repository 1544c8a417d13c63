"""What could make the projection onto a bank faster on a CPU, beside it: docs/benchmarks.md says what came of it.

    OMP_NUM_THREADS=1 python tests/benchmarks/projection_trials.py [ROWS]

All ways take turns, in CPU time. Regions lie at a row of the bank (cosine 0.96), at a distance of real texts (0.6,
0.35), in no direction of it, or half of them at a row and half in none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from side_by_side import interleaved
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.plugins.patchioner import projection

TAU, WIDTH, ROUNDS, VECTOR = 0.01, 768, 5, 16
#: Share of its row in a region's vector, whose other part is noise of length 1.
KINDS = {"at a row": 3.6, "cosine 0.6": 0.72, "cosine 0.35": 0.37, "in no direction": 0.0}


def bank_of(rows: int) -> Tensor:
    """Return the unit rows (n, 768) of the benchmarks' bank: 2,000 clusters in a cone."""
    draw = torch.Generator().manual_seed(7)
    centres = 0.8 * torch.randn(WIDTH, generator=draw) + torch.randn(2000, WIDTH, generator=draw)
    return normalize(0.7 * torch.randn(rows, WIDTH, generator=draw) + centres[torch.arange(rows) % 2000], dim=1)


def regions(bank: Tensor, count: int, near: float) -> Tensor:
    """Draw unit vectors (count, 768)."""
    draw = torch.Generator().manual_seed(11)
    rows = bank[torch.randint(len(bank), (count,), generator=draw)]
    return normalize(near * rows + torch.randn(count, WIDTH, generator=draw) / WIDTH**0.5, dim=1)


def ours(queries: Tensor, bank: Tensor, block: int = 2048) -> Tensor:
    """Project as the bridge does."""
    projection.BLOCK = block
    norms = torch.ones(len(bank))
    return projection.project(queries, bank, norms, temperature=TAU, normalise_bank=True, normalise_output=True)


def products(queries: Tensor, bank: Tensor, block: int = 2048) -> None:
    """Make the two products alone."""
    columns, total = queries.T.contiguous(), torch.zeros_like(queries)
    for rows in bank.split(block):
        total.addmm_((rows @ columns).T, rows)


def trial(queries: Tensor, bank: Tensor, *, padded: bool = False, gathered: bool = False) -> Tensor:
    """Project with zero columns up to whole vectors, or with the rows gathered that count for any region."""
    count = len(queries)
    columns = (queries / TAU).T
    if padded:
        columns = torch.nn.functional.pad(columns, (0, -count % VECTOR))
    columns, sums = columns.contiguous(), projection._Sums(queries)
    for rows in bank.split(2048):
        shares = sums.shares((rows @ columns)[:, :count])
        if gathered:
            kept = ((shares @ (1 / sums.mass)) > 1e-7 / len(bank)).nonzero().flatten()
            if 2 * len(kept) < len(rows):
                shares, rows = shares[kept], rows[kept]
        sums.total.addmm_(shares.T, rows)
    return normalize(sums.total, dim=1)


def main(rows: int) -> None:
    """Print a table."""
    bank = bank_of(rows)
    print("regions | where | " + " | ".join(ways(bank[:1], bank)))
    for count in (50, 56, 100, 400):
        kinds = KINDS if count == 50 else {"in no direction": 0.0}
        drawn = {name: regions(bank, count, near) for name, near in kinds.items()}
        if count == 50:
            drawn["half and half"] = torch.cat([drawn["at a row"][::2], drawn["in no direction"][::2]])
        for name, queries in drawn.items():
            timings = interleaved(ways(queries, bank), ROUNDS)
            found = [one for one in timings.results.values() if one is not None]
            assert all(torch.allclose(one, found[0], atol=1e-6) for one in found)
            figures = [f"{1e3 * min(seconds):.0f}" for seconds in timings.seconds.values()]
            print(f"{count} | {name} | " + " | ".join(figures), flush=True)


def ways(queries: Tensor, bank: Tensor) -> dict[str, Callable[[], Tensor | None]]:
    """Return what is timed, by name."""
    return {
        "ours, ms": partial(ours, queries, bank),
        "blocks of 512": partial(ours, queries, bank, 512),
        "products alone": partial(products, queries, bank),
        "zero columns": partial(trial, queries, bank, padded=True),
        "rows gathered": partial(trial, queries, bank, gathered=True),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 61_440)
