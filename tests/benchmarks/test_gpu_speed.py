"""What a GPU makes of the stages, beside the floors that arithmetic gives for an H200, and how often the host waits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import released_procedure as released
import torch
from full_size import decap, memory, talk2dino
from side_by_side import Goal, Table, interleaved

from regionkit.core.features import RegionTokens

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
PLACE = 12
#: Seconds on an H200 at 60 % of 989 bf16 TFLOP/s and 80 % of 4.8 TB/s; arithmetic, not measured: 2.6 s for 5000
#: pictures through DINOv2 B/14 at 518 pixels, 5.2 s for 400 boxes of each onto 500,000 rows.
FLOORS = {"backbone": 2.6 / 5000, "projection": 5.2 / 5000}


@pytest.fixture
def gpu(table: Table) -> torch.device:
    if not torch.cuda.is_available():
        table.not_measured(PLACE, "GPU: stages beside the floors of an H200, host synchronisations", "no GPU here")
    return torch.device("cuda")


def timed(work: Callable[[], Any], rounds: int = 5) -> float:
    """Return the median of wall seconds until the GPU is done."""

    def whole() -> None:
        work()
        torch.cuda.synchronize()

    whole()
    return interleaved({"gpu": whole}, rounds, time.perf_counter).middle("gpu")


def waits(work: Callable[[], Any]) -> int:
    """Count how often the host waits for the GPU."""
    work()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


@torch.inference_mode()
def test_stages_beside_their_floors(table: Table, gpu: torch.device):
    backbone = talk2dino().to(gpu, torch.bfloat16)
    pixels = torch.randn(64, 3, 518, 518, device=gpu, dtype=torch.bfloat16)
    seconds = timed(lambda: backbone.vision.forward_features(pixels)) / len(pixels)
    floor = FLOORS["backbone"]
    figure = "GPU: DINOv2 B/14 518, bf16, 64 pictures at once, seconds a picture"
    table.add(PLACE, figure, f"floor of an H200: {floor * 1e3:.2f} ms", f"{seconds * 1e3:.2f} ms", seconds / floor)
    bank = torch.nn.functional.normalize(torch.randn(500_000, 768, device=gpu), dim=-1)
    bridge = memory(bank)
    tokens = RegionTokens.single(torch.randn(400, 768, device=gpu), "random[768]")
    seconds, floor = timed(lambda: bridge.bridge(tokens)), FLOORS["projection"]
    figure = "GPU: memory projection, 500,000 x 768, fp32, 400 regions"
    table.add(PLACE, figure, f"floor in bf16: {floor * 1e3:.2f} ms", f"{seconds * 1e3:.2f} ms", seconds / floor)
    bridged = bridge.bridge(tokens).vectors()
    assert (bridged - released.project(tokens.vectors(), bank)).abs().max() < 1e-4


@torch.inference_mode()
def test_the_host_waits_for_no_region_and_no_token(table: Table, gpu: torch.device):
    decoder = decap(768, device="cuda")
    vectors = torch.randn(400, 768, device=gpu)
    few, many = (waits(lambda: decoder.decode(vectors[:count], released.STEPS)) for count in (50, 400))  # noqa: B023
    short = waits(lambda: decoder.decode(vectors, released.STEPS // 2))
    assert few == many == short
    bank = torch.nn.functional.normalize(torch.randn(50_000, 768, device=gpu), dim=-1)
    bridge = memory(bank)
    one, all_ = (waits(lambda: bridge.bridge(RegionTokens.single(vectors[:count], "r[768]"))) for count in (1, 400))  # noqa: B023
    assert one == all_
    table.add(
        PLACE,
        "GPU: host synchronisations of one call, the same for any number of regions and tokens",
        "",
        f"decoding {many}, projection {all_}",
        float(many - few + all_ - one),
        Goal(0, "at most", " a region or token"),
    )
