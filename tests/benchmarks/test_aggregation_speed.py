"""Pooling 400 boxes of one picture, beside a loop over boxes as in the release."""

from __future__ import annotations

import pytest
import released_procedure as released
import torch
from full_size import PICTURE, some_boxes
from side_by_side import Goal, Table, interleaved

from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Regions
from regionkit.core.testing import GridBackbone, picture
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

pytestmark = pytest.mark.benchmark
PLACE = 6


@pytest.mark.parametrize("weighting", [pytest.param(name, id=name) for name in ("uniform", "gaussian", "attention")])
@torch.inference_mode()
def test_pooling_many_boxes(table: Table, weighting: str):
    draw = torch.Generator().manual_seed(2)
    patches = torch.randn(37, 37, 768, generator=draw)
    attention = torch.randn(37, 37, generator=draw).flatten().softmax(0).view(37, 37)
    frame = Frame.squash(PICTURE, (518, 518), (37, 37))
    features = Features(patches[None], (frame,), attention=attention[None])
    scene = Scene([picture(PICTURE)], GridBackbone(), features)
    boxes = some_boxes(400)
    regions = Regions.of([boxes])
    encoder = PatchPool(PatchPoolConfig(weighting=weighting, compat="reference"))  # type: ignore[arg-type]
    weights = torch.from_numpy(encoder.weights(features, regions)).flatten(1).float()
    timings = interleaved(
        {
            "loop": lambda: released.pool(patches, boxes, PICTURE, 14, weighting, attention),
            "ours": lambda: encoder.encode(scene, regions).vectors(),
            "weights": lambda: encoder.weights(features, regions),
            "product": lambda: weights @ patches.flatten(0, 1),
        },
        7,
    )
    assert torch.allclose(timings.results["ours"], timings.results["loop"], atol=1e-5)
    error = float((timings.results["ours"] - timings.results["loop"]).abs().max())
    table.add(
        PLACE,
        f"aggregation of 400 boxes, 37 x 37 x 768, {weighting}; error {error:.0e}",
        f"a loop over boxes: {timings.said('loop')}",
        f"{timings.said('ours')}, of it weights {timings.middle('weights') * 1e3:.0f} ms, "
        f"one dense product {timings.middle('product') * 1e3:.0f} ms",
        timings.ratio("loop", "ours"),
        Goal(3),
    )
