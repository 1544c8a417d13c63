"""Greedy decoding at the released size, beside the release."""

from __future__ import annotations

import pytest
import released_procedure as released
import torch
from full_size import decap
from side_by_side import Goal, Size, Table, counted, interleaved
from torch.nn.functional import normalize

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

DIM = 512


@torch.inference_mode()
def test_greedy_decoding(table: Table, size: Size, onednn_helps: bool):
    decoder = decap(DIM)
    goal = Goal(20) if onednn_helps else Goal(10, note="(on a CPU without the oneDNN gain; else 20x)")
    for count in size.decoded:
        vectors = normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)
        decoder.decode(vectors[:1], 2)
        timings = interleaved(
            {
                "release": lambda: released.decode(decoder, vectors),  # noqa: B023
                "ours": lambda: decoder.decode(vectors, released.STEPS),  # noqa: B023
            },
            {"release": 1, "ours": 3},
        )
        ours = timings.results["ours"]
        distinct = len(set(map(tuple, ours.ids.tolist())))
        assert torch.equal(ours.ids, timings.results["release"][0])
        assert torch.allclose(ours.log_likelihood.exp(), timings.results["release"][1], rtol=1e-3)
        assert distinct >= min(count, 10)
        table.add(
            4,
            f"greedy decoding, 4 x 768, vocabulary 50257, {counted(count, 'caption')} of {released.STEPS} tokens, "
            f"fp32; tokens equal, {distinct} distinct",
            f"the release: {timings.said('release')}",
            timings.said("ours"),
            timings.ratio("release", "ours"),
            goal if count == 50 else None,
        )
