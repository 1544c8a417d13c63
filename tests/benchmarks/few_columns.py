"""How long products of many rows with few columns take on a CPU, by how the columns lie in memory.

    OMP_NUM_THREADS=1 python tests/benchmarks/few_columns.py [ROWS]

Blocks of 2,048 rows of width 768, as projection takes them, all ways in turn, CPU time of the fastest of six rounds.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from side_by_side import interleaved
from torch import Tensor

BLOCK, WIDTH, ROUNDS = 2048, 768, 6


def multiply(rows: Tensor, columns: Tensor) -> None:
    """Multiply a table with columns, a block of it at a time."""
    for block in rows.split(BLOCK):
        block @ columns


def main(rows: int) -> None:
    """Print a line for each number of columns."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(rows, WIDTH, generator=draw)
    print(f"{rows:,} rows x {WIDTH}, ms\ncolumns | each whole in memory | side by side, row by row")
    for count in (1, 2, 4, 8, 12, 15, 16, 24, 50):
        vectors = torch.randn(count, WIDTH, generator=draw)
        ways = {"whole": vectors.T, "rows": vectors.T.contiguous()}
        timings = interleaved({name: partial(multiply, table, columns) for name, columns in ways.items()}, ROUNDS)
        figures = [f"{1e3 * min(seconds):.0f}" for seconds in timings.seconds.values()]
        print(f"{count} | " + " | ".join(figures), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_960)
