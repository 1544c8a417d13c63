"""The kit's checks of backbones that take masks, each of their demands broken once, and of an encoder of masks."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.contracts import RegionEncoder
from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens
from regionkit.core.geometry import region_mask
from regionkit.core.images import check_masks
from regionkit.core.spec import Port
from regionkit.core.testing import (
    GridBackbone,
    MaskedBackbone,
    Subject,
    answer,
    check_backbone,
    check_region_encoder,
    example_masks,
    failures,
    picture,
)

param = pytest.param
PORT = Port("grid/image[16]")


def caught(subject, check):
    """Return the sentence with which a check fails a subject."""
    found = dict(failures(subject, [check]))
    assert found, f"{check} passes"
    return found[check]


class Faulty(MaskedBackbone):
    def __init__(self, fault=""):
        super().__init__()
        self.fault = fault

    def encode_masked(self, images, masks):
        match self.fault:
            case "deaf":
                check_masks(images, masks)
                return self.encode(images)
            case "refuses":
                raise FeatureError("not today")
            case "in-place":
                masks[0][0, 0] ^= True
            case "last":
                masks = [masks[-1]] * len(masks) if len({mask.shape for mask in masks}) == 1 else masks
            case "lenient":
                pairs = list(zip(images, masks, strict=False))
                shown = [np.resize(mask, image.size[::-1]) for image, mask in pairs]
                return super().encode_masked([image for image, _ in pairs], shown)
        features = super().encode_masked(images, masks)
        return self.spoilt(features, masks)

    def spoilt(self, features, masks):
        patches, cls = features.patches, features.cls
        match self.fault:
            case "flat":
                return replace(features, patches=patches.flatten(1, 2))
            case "narrow":
                return replace(features, cls=cls[:, :-1])
            case "mates":
                return replace(features, patches=patches - patches.mean(0))
            case "place":
                return replace(features, patches=patches + torch.arange(len(patches)).reshape(-1, 1, 1, 1))
            case "frames":
                return replace(features, frames=features.frames[::-1])
            case "area":
                areas = torch.tensor([float(mask.sum()) for mask in masks]).reshape(-1, 1)
                return replace(features, cls=cls / areas)
            case "empty":
                return replace(features, patches=patches[torch.arange(len(masks)).max() :])
        return features


def test_the_stand_in_conforms():
    check_backbone(MaskedBackbone())


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("deaf", "a-mask-matters", "the upper half of a picture and its lower half give the same", id="deaf"),
        param("flat", "takes-masks", r"patches of masked pictures are \(3, 16, 16\), not \(3, 4, 4, 16\)", id="shape"),
        param("narrow", "takes-masks", r"cls of masked pictures is \(3, 15\), not \(3, 16\)", id="cls"),
        param("frames", "takes-masks", "encode_masked and encode disagree on the frames", id="frames"),
        param("refuses", "takes-masks", "it raised FeatureError: not today", id="refuses"),
        param("mates", "masked-batch-equals-loop", "patches of a masked picture depend on batch mates", id="mates"),
        param("place", "masked-batch-equals-loop", "depend on", id="place"),
        param("area", "any-mask-is-finite", "a mask of nothing on a picture of .* NaN or infinite cls", id="nothing"),
        param("empty", "no-masked-pictures", "it crashed with RuntimeError", id="empty"),
        param("lenient", "masks-must-fit", "a mask of another size than its picture is taken", id="misfit"),
        param("in-place", "masks-unchanged", "encode_masked changed its caller's pictures or masks", id="in-place"),
    ],
)
def test_faulty_backbones_are_caught(fault, check, words):
    assert re.search(words, caught(Subject("backbone", Faulty(fault)), check))
    with pytest.raises(AssertionError):
        check_backbone(Faulty(fault))


def test_a_backbone_that_gives_all_pairs_the_last_mask_is_caught():
    """Where all pictures are of one size nothing else tells it."""
    images = tuple(picture((40, 40), seed) for seed in range(3))
    found = caught(Subject("backbone", Faulty("last"), images=images), "masked-batch-equals-loop")
    assert "of a masked picture depend on batch mates" in found


def test_a_backbone_that_answers_without_saying_so_is_caught():
    class Secret(MaskedBackbone):
        def __init__(self):
            super().__init__()
            self.masked_space = ""

    assert caught(Subject("backbone", Secret()), "takes-masks") == (
        "encode_masked answers without a space for masked pictures"
    )


def test_a_backbone_without_masks_refuses_them_with_the_standard_error():
    with pytest.raises(FeatureError, match="backbone 'GridBackbone' takes no masks beside its pictures") as error:
        GridBackbone().encode_masked([picture()], example_masks([picture()]))
    assert "toolkit compat" in str(error.value)
    assert not dict(failures(Subject("backbone", GridBackbone()), ["takes-masks"]))


@pytest.mark.parametrize(
    ("backbone", "said", "words"),
    [
        param(MaskedBackbone(), "", "is grid/image[16], the spec says none", id="unsaid"),
        param(GridBackbone(), "grid/image[16]", "is none, the spec says grid/image[16]", id="unkept"),
    ],
)
def test_a_space_that_the_port_does_not_say_is_caught(backbone, said, words):
    subject = Subject("backbone", backbone, text="grid/text[16]", masked=said)
    subject = replace(subject, writes=replace(PORT, space=backbone.space))
    assert caught(subject, "ports") == f"its space of masked pictures {words}"


def test_what_it_makes_of_masks_is_compared_between_processes_and_precisions():
    told = answer(Subject("backbone", MaskedBackbone()))
    assert {"masked patches", "masked cls"} <= set(told)
    assert not torch.equal(told["masked patches"], told["patches"])
    assert "masked patches" not in answer(Subject("backbone", GridBackbone()))


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        param([], "0 masks were given for 1 pictures", id="none"),
        param([np.ones((64, 48), bool)], "a mask of 48 x 64 pixels does not fit its picture of 64 x 48", id="turned"),
        param([np.ones((48, 64, 1), bool)], "a mask of 1 x 64 x 48 pixels does not fit", id="dimensions"),
        param([np.array(True)], "a mask of no pixels does not fit", id="scalar"),
        param([[[True] * 64] * 48], "a mask is a list, not an array of numpy", id="list"),
        param([torch.ones(48, 64, dtype=torch.bool)], "a mask is a Tensor, not an array of numpy", id="tensor"),
        param([Image.new("1", (64, 48))], "a mask is a Image, not an array of numpy", id="image"),
        param([np.ones((48, 64))], "a mask holds float64 and no truth values", id="numbers"),
    ],
)
def test_masks_that_do_not_belong_to_a_picture_are_refused(masks, words):
    with pytest.raises(FeatureError, match=re.escape(words)):
        check_masks([picture((64, 48))], masks)


# ---------------------------------------------------------------- an encoder that reads ``masked``


class Marked(RegionEncoder):
    """The smallest honest reader of masked pictures."""

    checks = True

    def encode(self, scene, regions):
        regions.require(self.accepts, "marked")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        images = [scene.images[index] for index in regions.image]
        masks = [region_mask(region, image.size) for region, image in zip(regions.items, images, strict=True)]
        features = scene.backbone.encode_masked(images, masks)
        if self.checks:
            features.check_finite("the backbone")
        return RegionTokens.single(features.cls, scene.backbone.space)


def test_an_honest_reader_of_masked_pictures_conforms():
    check_region_encoder(Marked(), MaskedBackbone())


def test_one_that_lets_its_backbones_nan_through_is_caught():
    class Trusting(Marked):
        checks = False

    found = caught(Subject("region_encoder", Trusting(), backbone=MaskedBackbone()), "nan-never-leaks")
    assert found == "a backbone's NaN becomes a token without an error"


def test_one_whose_masks_are_shared_by_a_batch_is_caught():
    class Sharing(Marked):
        def encode(self, scene, regions):
            first = Marked.encode(self, scene, replace(regions, items=regions.items[:1], image=regions.image[:1]))
            return replace(
                first, tokens=first.tokens.expand(len(regions), -1, -1), mask=first.mask.expand(len(regions), -1)
            )

    found = caught(Subject("region_encoder", Sharing(), backbone=MaskedBackbone()), "batch-equals-loop")
    assert "result depends on its batch mates" in found
