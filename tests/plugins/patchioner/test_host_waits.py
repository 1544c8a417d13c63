"""On a GPU the host waits for no region and no token: counted on tensors that say they are on one.

What a real GPU says of it is printed by ``tests/benchmarks/test_gpu_speed.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretend_gpu import move, on_gpu, pretended_gpu, values
from torch import Tensor

from regionkit.core.features import Features, GenerateOptions, RegionTokens, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, Regions
from regionkit.core.testing import GridBackbone, picture
from regionkit.plugins.patchioner.configs import MemoryConfig, PatchPoolConfig
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.greedy import STEPS_BETWEEN_CHECKS
from regionkit.plugins.patchioner.memory import Memory
from regionkit.plugins.patchioner.patch_pool import PatchPool
from regionkit.plugins.patchioner.vocabulary import WordTokenizer

DIM, STEPS = 24, 20


def waits(work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what work makes on the pretended GPU, and how often the host waited."""
    with pretended_gpu() as counted, torch.no_grad():
        made = work()
        return made, len(counted["reads"])


def queries(count: int) -> Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(1))


def there(count: int) -> RegionTokens:
    return RegionTokens.single(on_gpu(queries(count)), f"random[{DIM}]")


def boxes(count: int) -> list[Box]:
    corners = torch.rand(count, 4, generator=torch.Generator().manual_seed(2)).tolist()
    return [Box(80 * x, 50 * y, 80 * x + 1 + 15 * w, 50 * y + 1 + 9 * h) for x, y, w, h in corners]


@pytest.mark.parametrize("weighting", ["uniform", "gaussian", "attention", "cls"])
def test_pooling_waits_for_no_region(weighting):
    frame = Frame.squash((96, 60), (126, 84), (6, 9))
    draw = torch.Generator().manual_seed(0)
    features = Features(
        torch.randn(2, 6, 9, DIM, generator=draw),
        (frame, frame),
        cls=torch.randn(2, DIM, generator=draw),
        attention=torch.rand(2, 6, 9, generator=draw),
    )
    there = replace(
        features, patches=on_gpu(features.patches), cls=on_gpu(features.cls), attention=on_gpu(features.attention)
    )
    pictures, encoder = [picture((96, 60), 0), picture((96, 60), 1)], PatchPool(PatchPoolConfig(weighting=weighting))
    counted = []
    for count in (2, 150):
        regions = Regions.of([boxes(count), boxes(count // 2)])
        scene = Scene(pictures, GridBackbone(), there)
        found, reads = waits(lambda: encoder.encode(scene, regions).vectors())  # noqa: B023
        wanted = encoder.encode(Scene(pictures, GridBackbone(), features), regions).vectors()
        torch.testing.assert_close(values(found), wanted, rtol=0, atol=1e-5)
        counted.append(reads)
    assert counted[0] == counted[1]
    assert counted[0] == (1 if weighting == "attention" else 0)  # the map's numbers decide the weights


@pytest.mark.parametrize("normalise_bank", [True, False])
def test_projecting_waits_for_no_region_and_no_block(normalise_bank):
    rows = torch.randn(70_000, DIM, generator=torch.Generator().manual_seed(3))
    config = MemoryConfig(weights="none", normalise_bank=normalise_bank, normalise_output=True)

    def bridge(placed: Callable[[Tensor], Tensor]) -> Memory:
        made = Memory(config, f"random[{DIM}]")
        made.unit, made.norms = placed(torch.nn.functional.normalize(rows, dim=-1)), placed(rows.norm(dim=-1))
        return made

    own, theirs, counted = bridge(lambda one: one), bridge(on_gpu), []
    for count in (1, 90):
        found, reads = waits(lambda: theirs.bridge(there(count)).vectors())  # noqa: B023
        wanted = own.bridge(RegionTokens.single(queries(count), f"random[{DIM}]")).vectors()
        torch.testing.assert_close(values(found), wanted, rtol=0, atol=1e-5)
        counted.append(reads)
    assert counted[0] == counted[1]
    assert counted[0] <= 2  # over three blocks of the bank: what is asked is asked once a call


def decoder(compat: str) -> Decap:
    torch.manual_seed(0)
    config = DecapConfig(compat=compat, hidden=32, layers=2, heads=2, positions=40)
    made = Decap(config, f"random[{DIM}]", WordTokenizer([f"w{number}" for number in range(300)])).eval()
    with torch.no_grad():  # at initialisation all captions are one
        made.clip_project.model[0].weight.mul_(20)
        made.decoder.transformer.wpe.weight.mul_(20)
    return made


@pytest.mark.parametrize("compat", ["reference", "paper"])
def test_decoding_waits_for_no_region_and_hardly_for_a_token(compat):
    """The paper's reading stops when all are done, which is asked once in so many steps."""
    own, theirs = decoder(compat), decoder(compat)
    move(theirs)
    counted = {}
    for count, steps in ((3, STEPS), (120, STEPS), (120, 2 * STEPS)):
        found, counted[count, steps] = waits(lambda: theirs.decode(on_gpu(queries(count)), steps))  # noqa: B023
        with torch.inference_mode():
            wanted = own.decode(queries(count), steps)
        assert torch.equal(values(found.ids), wanted.ids[:, : found.ids.shape[1]])
    assert len({tuple(row) for row in wanted.ids.tolist()}) > 50
    once = counted[3, STEPS] - (STEPS // STEPS_BETWEEN_CHECKS if compat == "paper" else 0)
    assert counted[3, STEPS] == counted[120, STEPS]
    more = 2 * STEPS // STEPS_BETWEEN_CHECKS if compat == "paper" else 0
    assert counted[120, 2 * STEPS] == once + more
    assert once <= 2


def test_captions_of_many_regions_wait_as_often_as_those_of_one_batch():
    theirs = decoder("paper")
    move(theirs)
    options = GenerateOptions(max_tokens=STEPS, batch_size=200)
    counted = []
    for count in (4, 150):
        captions, reads = waits(lambda: Decap.generate.__wrapped__(theirs, there(count), options=options))  # noqa: B023
        assert len(captions) == count
        counted.append(reads)
    assert counted[0] == counted[1]
