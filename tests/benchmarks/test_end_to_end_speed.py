"""Boxes of one picture, from pixels to captions: Talk2DINO at 518 pixels, a bank, and DeCap, beside the release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import released_procedure as released
import torch
from full_size import PICTURE, decap, diverse_patches, memory, some_boxes, talk2dino
from side_by_side import Goal, Size, Table, interleaved
from torch import Tensor

from regionkit.core.contracts import Backbone
from regionkit.core.features import Features, Scene
from regionkit.core.regions import Box, Regions
from regionkit.core.testing import picture
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]


class Replaced:
    """A backbone whose patches are replaced by others after its forward pass, which is made all the same."""

    def __init__(self, inner: Talk2Dino, patches: Tensor) -> None:
        self.inner, self.patches = inner, patches
        self.space, self.check_images, self.frame = inner.space, inner.check_images, inner.frame

    def encode(self, images) -> Features:
        return replace(self.inner.encode(images), patches=self.patches.unsqueeze(0))


@torch.inference_mode()
def test_the_backbone_sees_what_the_release_sees(table: Table):
    backbone, image = talk2dino(), picture(PICTURE, 1)
    theirs, attention = released.encode(backbone, image)
    ours = backbone.encode([image])
    assert torch.allclose(ours.patches[0], theirs, atol=1e-4)
    assert torch.allclose(ours.attention[0], attention, atol=1e-6)
    boxes = some_boxes(50)
    scene = Scene([image], backbone, ours)
    pooled = PatchPool(PatchPoolConfig(compat="reference")).encode(scene, Regions.of([boxes])).vectors()
    assert torch.allclose(pooled, released.pool(ours.patches[0], boxes, PICTURE, 14), atol=1e-5)


#: Of more boxes at once, the release's logits of all positions alone would take gigabytes.
_MOST_AT_ONCE = 50
_NOTHING = "oneDNN gives nothing on this CPU"


@pytest.mark.parametrize("count", [pytest.param(count, id=f"{count}_boxes") for count in (8, 50, 400)])
@torch.inference_mode()
def test_boxes_of_one_picture(
    table: Table, size: Size, bank: Tensor, onednn_helps: bool, count: int, request: pytest.FixtureRequest
):
    if count not in size.boxes:
        pytest.skip(f"not at size {size.name}")
    backbone, decoder, bridge = talk2dino(), decap(768), memory(bank)
    image, patches, boxes = picture(PICTURE, 1), diverse_patches(bank), some_boxes(count)
    encoder = PatchPool(PatchPoolConfig(compat="reference"))
    seen: Backbone = Replaced(backbone, patches)  # type: ignore[assignment]
    many = count > _MOST_AT_ONCE
    # The release captions boxes a few at a time, so that its time for more of them follows from that for some.
    timed = min(count, request.config.getoption("--benchmark-release-boxes")) if many else count

    def ours(boxes: list[Box] = boxes) -> Tensor:
        tokens = encoder.encode(Scene([image], seen), Regions.of([boxes]))
        return decoder.decode(bridge.bridge(tokens).vectors(), released.STEPS).ids

    def theirs(at_once: int) -> Tensor:
        return released.caption(decoder, bank, released.pool(patches, boxes[:timed], PICTURE, 14), at_once)

    ours(boxes[:2])
    work: dict[str, Callable[[], object]] = {
        "pass": lambda: released.encode(backbone, image),
        "shipped": lambda: theirs(released.AT_ONCE),
        "ours": ours,
    }
    if not many:
        work["raised"] = lambda: theirs(count)
    timings = interleaved(work, {"pass": 1, "shipped": 1, "ours": 1 if many else 3, "raised": 1})
    found = timings.results["ours"]
    distinct = len(set(map(tuple, found.tolist())))
    said = ""
    if timed < count:
        said = f", {timed} boxes timed and their time taken {count / timed:.1f} times"
    for side in {"shipped", "raised"} & set(work):
        assert torch.equal(found[:timed], timings.results[side]), f"tokens of {side} differ"
        whole = timings.seconds[side][0] * count / timed + timings.seconds["pass"][0]
        timings.seconds[side] = [whole]
    assert distinct >= min(count, 10)
    figure = (
        f"{count} boxes of one picture, Talk2DINO 518, bank of {size.bank:,}, DeCap, fp32, {released.STEPS} steps; "
        f"tokens equal, {distinct} distinct captions"
    )
    for side, words in (("shipped", "the release as shipped (4 boxes at once)"), ("raised", "all boxes at once")):
        if side in work:
            table.add(
                2 if many else 1,
                figure,
                f"{words}: {timings.said(side)}{said}",
                timings.said("ours"),
                timings.ratio(side, "ours"),
                _goal(count, side, onednn_helps),
                at_goal_size=size.full,
            )


def _goal(count: int, side: str, onednn_helps: bool) -> Goal:
    """Return the goal of a row; those of oneDNN's gain do not apply where there is none."""
    aside = "" if onednn_helps else _NOTHING
    if side == "raised":
        return Goal(10, note="with its batching knob raised", aside=aside)
    if count > 50:
        return Goal(35, note="as shipped", aside=aside)
    return Goal(20, note="as shipped") if onednn_helps else Goal(8, note="as shipped where oneDNN gives nothing")
