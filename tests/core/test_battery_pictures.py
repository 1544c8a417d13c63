"""The kit's checks of encoders that make pictures, and of backbones that expose their blocks: each fault is caught."""

from __future__ import annotations

import re

import pytest
import torch

from regionkit.core.contracts import RegionEncoder
from regionkit.core.features import RegionTokens
from regionkit.core.geometry import bounding_box
from regionkit.core.testing import BlockBackbone, Subject, check_backbone, check_region_encoder, failures
from regionkit.core.testing.stand_ins import Pooled

param = pytest.param


class Cutting(RegionEncoder):
    """Gives each region the patches of its cut-out, whose notes it may forget."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps

    def encode(self, scene, regions):
        regions.require(self.accepts, "cutting")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        cuts = []
        for region, index in zip(regions.items, regions.image, strict=True):
            x1, y1, x2, y2 = bounding_box(region, scene.images[index].size).corners
            cut = scene.images[index].crop((int(x1), int(y1), max(int(x2), int(x1) + 1), max(int(y2), int(y1) + 1)))
            cut.info = dict(scene.images[index].info) if self.keeps else {}
            cuts.append(cut)
        features = scene.backbone.encode(cuts)
        features.check_finite("the backbone")
        return RegionTokens.single(features.patches.mean((1, 2)), scene.backbone.space)


def caught(subject, check):
    """Return the sentence with which a check fails a subject."""
    found = dict(failures(subject, [check]))
    assert found, f"{check} passes"
    return found[check]


def test_an_encoder_that_forgets_the_notes_of_its_pictures_is_caught():
    sentence = caught(Subject("region_encoder", Cutting(keeps=False)), "notes")
    assert re.fullmatch(r"(\d+) of \1 pictures for the backbone lack the notes \(info\) of the originals", sentence)
    for honest in (Cutting(keeps=True), Pooled()):
        assert not list(failures(Subject("region_encoder", honest), ["notes"]))
    check_region_encoder(Cutting(keeps=True))


class Faulty(BlockBackbone):
    """A backbone of blocks with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        if fault == "nameless":
            self.block_space = ""
        if fault == "other-width":
            self.block_space = "grid/blocks[20]"
        if fault == "no-prefix":
            self.prefix_tokens = 0
        if fault == "dropping":
            self._blocks = (*self._blocks, Dropping())

    @property
    def blocks(self):
        return () if self.fault == "none" else self._blocks

    def embed(self, pixels):
        tokens = super().embed(pixels)
        return tokens / 0 if self.fault == "infinite" else tokens


class Dropping(torch.nn.Module):
    """Loses the last token."""

    def forward(self, tokens):
        return tokens[:, :-1]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("nameless", "it exposes blocks and names no space of what they hand on", id="nameless"),
        param("none", r"it names grid/blocks\[16\] as what its blocks hand on, and has none", id="none"),
        param("other-width", r"embed gives \(3, 17, 16\), not \(3, 17, 20\)", id="other-width"),
        param("no-prefix", r"embed gives \(3, 17, 16\), not \(3, 16, 16\)", id="no-prefix"),
        param("dropping", r"block 3 gives \(3, 16, 16\), not \(3, 17, 16\)", id="dropping"),
        param("infinite", "a token behind the last block is NaN or infinite", id="infinite"),
    ],
)
def test_faulty_blocks_are_caught(fault, words):
    assert re.search(words, caught(Subject("backbone", Faulty(fault)), "blocks"))


def test_honest_blocks_pass():
    check_backbone(BlockBackbone())
