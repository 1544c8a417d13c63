"""Features of a picture read from the stage cache, beside the forward pass that makes them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from full_size import PICTURE, talk2dino
from side_by_side import Table, interleaved

from regionkit.core.testing import picture
from regionkit.plugins.ablation.cache.stage_cache import StageCache

pytestmark = pytest.mark.benchmark
PLACE = 11


@pytest.mark.parametrize("precision", [pytest.param(name, id=name) for name in ("float32", "float16")])
@torch.inference_mode()
def test_reading_beside_computing(table: Table, tmp_path: Path, precision):
    backbone, image = talk2dino(), picture(PICTURE, 1)
    cache = StageCache(tmp_path, precision=precision)
    key = "0123456789abcdef" * 2

    def tensors() -> dict[str, torch.Tensor]:
        features = backbone.encode([image])
        assert features.cls is not None
        assert features.attention is not None
        return {"patches": features.patches, "cls": features.cls, "attention": features.attention}

    made = tensors()

    def write() -> None:
        cache.put(key, made, {"stage": "backbone"})

    def read() -> dict[str, torch.Tensor]:
        entry = cache.get(key)
        assert entry is not None
        return entry.tensors

    write()
    timings = interleaved(
        {"compute": tensors, "write": write, "read": read}, {"compute": 2, "write": 9, "read": 9}, time.perf_counter
    )
    for name, tensor in cache.rounded(made).items():
        assert torch.equal(timings.results["read"][name], tensor)
    error = float((timings.results["read"]["patches"] - made["patches"]).abs().max())
    table.add(
        PLACE,
        f"stage cache, features of a picture at 518 pixels, {precision}, {cache.size(key) / 1e6:.1f} MB, read warm; "
        f"largest error {error:.0e}; wall time",
        f"Talk2DINO's forward pass: {timings.said('compute')}",
        f"read {timings.said('read')}, written {timings.said('write')}",
        timings.ratio("compute", "read"),
    )
