"""What a bank of half precision, and a sum over the nearest rows alone, change: errors and times, beside each other.

    python tests/benchmarks/half_bank.py [ROWS]
    python tests/benchmarks/half_bank.py ROWS WIDTH [WIDTH ...]

The bank is made: clusters in a cone, as text embeddings lie. Peaked queries lie near a row, diffuse ones anywhere. All
are compared with the plain formula in float64 on the bank before rounding. With widths, only the largest errors of half
precision are told, over that bank and one whose rows lie in all directions, whose rows differ most.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from regionkit.core.features import RegionTokens
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.memory import Memory

WIDTH, QUERIES, TAU = 768, 50, 0.01


def bank(rows: int, generator: torch.Generator, width: int = WIDTH) -> Tensor:
    """Return (rows, width) embeddings around 2,000 centres in a cone."""
    centres = torch.randn(2000, width, generator=generator) + torch.randn(1, width, generator=generator)
    chosen = torch.randint(2000, (rows,), generator=generator)
    return centres[chosen] + 0.6 * torch.randn(rows, width, generator=generator)


def worst(rows: int, width: int) -> None:
    """Print the largest errors of both types at a width, over two banks and two kinds of queries."""
    generator = torch.Generator().manual_seed(0)
    for precision in ("bfloat16", "float16"):
        errors, cosines = [], []
        for embeddings in (bank(rows, generator, width), torch.randn(rows, width, generator=generator)):
            memory = Memory(MemoryConfig(precision=precision), f"bank[{width}]")
            memory.fit(embeddings.clone(), [])
            near = embeddings[torch.randint(rows, (4 * QUERIES,), generator=generator)]
            far = torch.randn(4 * QUERIES, width, generator=generator)
            for queries in (near + 0.3 * torch.randn(near.shape, generator=generator), far):
                wanted = plain(queries, normalize(embeddings, dim=-1))
                found = memory.bridge(RegionTokens.single(queries, "image")).vectors().double()
                errors.append(float((found - wanted).abs().max()))
                cosines.append(float(cosine_similarity(found, wanted).min()))
        print(f"{rows:,} x {width} | {precision} | {max(errors):.1e} | {min(cosines):.6f}")


def plain(queries: Tensor, unit: Tensor) -> Tensor:
    """Return the formula in float64, a region at a time."""
    rows = unit.double()
    found = [normalize((rows @ one / TAU).softmax(0) @ rows, dim=-1) for one in normalize(queries.double(), dim=-1)]
    return torch.stack(found)


def products_of_bfloat16(queries: Tensor, unit: Tensor) -> Tensor:
    """Return what comes of products that are of bfloat16 as well, as a processor makes them."""
    half = unit.bfloat16()
    shares = ((normalize(queries, dim=-1).bfloat16() @ half.T).float() / TAU).softmax(1)
    return normalize((shares.bfloat16() @ half).float(), dim=-1)


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main(rows: int) -> None:
    """Print a line for each way and kind of query."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    embeddings = bank(rows, generator)
    unit = normalize(embeddings, dim=-1)
    near = embeddings[torch.randint(rows, (QUERIES,), generator=generator)]
    given = {
        "peaked": near + 0.3 * torch.randn(QUERIES, WIDTH, generator=generator),
        "diffuse": torch.randn(QUERIES, WIDTH, generator=generator),
    }
    print(f"{rows:,} x {WIDTH}, temperature {TAU}, {QUERIES} queries each, {platform.machine()}, 1 thread")
    print("way | queries | largest error of a coordinate | smallest cosine | CPU s at 1 | at 4 | at 50")
    ways = {
        "float32": {},
        "bfloat16": {"precision": "bfloat16"},
        "float16": {"precision": "float16"},
        "top-n, 32 rows": {"mode": "top-n"},
        "top-n, 512 rows": {"mode": "top-n", "rows": 512},
        "top-n, 512 rows, any mass": {"mode": "top-n", "rows": 512, "mass": 1e-9},
    }
    wanted = {kind: plain(queries, unit) for kind, queries in given.items()}
    for name, options in ways.items():
        memory = Memory(MemoryConfig(**options), f"bank[{WIDTH}]")
        memory.fit(embeddings, [])
        for kind, queries in given.items():
            found = memory.bridge(RegionTokens.single(queries, "image")).vectors()
            parts = [RegionTokens.single(queries[:count], "image") for count in (1, 4, QUERIES)]
            times = [seconds(partial(memory.bridge, part)) for part in parts]
            _tell(name, kind, found, wanted[kind], times)
    for kind, queries in given.items():
        _tell("bfloat16, products too", kind, products_of_bfloat16(queries, unit), wanted[kind], [])


def _tell(name: str, kind: str, found: Tensor, wanted: Tensor, times: list[float]) -> None:
    error = (found.double() - wanted).abs().max()
    cosine = cosine_similarity(found.double(), wanted).min()
    print(" | ".join([name, kind, f"{error:.1e}", f"{cosine:.6f}", *(f"{one:.3f}" for one in times)]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for each in map(int, sys.argv[2:]):
        worst(many, each)
    if not sys.argv[2:]:
        main(many)
