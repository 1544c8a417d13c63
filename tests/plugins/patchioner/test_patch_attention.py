"""Attention maps of patch-pool are the weights that it pools with."""

import pytest
import torch

from regionkit.core.errors import FeatureError, RegionError
from regionkit.core.features import Scene
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, example_regions, picture
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

param = pytest.param


def scene(fit="squash", **has):
    return Scene([picture((64, 48), 1), picture((40, 56), 2)], GridBackbone(fit=fit, **has))


def regions():
    kinds = PatchPool.accepts
    return Regions.of([[one for kind, one in example_regions(size).items() if kind in kinds] for size in SIZES])


SIZES = ((64, 48), (40, 56))


@pytest.mark.parametrize("weighting", ["uniform", "gaussian", "attention", "central"])
@pytest.mark.parametrize("compat", ["paper", "reference"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_maps_weigh_the_patches_as_encode_does(weighting, compat, fit):
    encoder, given, wanted = PatchPool(PatchPoolConfig(weighting=weighting, compat=compat)), scene(fit), regions()
    maps = encoder.attention(given, wanted)
    assert (maps.shape, maps.dtype) == ((len(wanted), 4, 4), torch.float32)
    assert torch.allclose(maps.sum((1, 2)), torch.ones(len(wanted)), atol=1e-6)
    assert bool((maps >= 0).all())
    patches = given.features.patches[list(wanted.image)]
    pooled = (maps.unsqueeze(-1) * patches).sum((1, 2))
    vectors = encoder.encode(given, wanted).vectors()
    if compat == "paper":
        assert torch.allclose(pooled, vectors, atol=1e-5)
    else:  # the released code leaves some vectors in another length
        assert torch.allclose(torch.cosine_similarity(pooled, vectors), torch.ones(len(wanted)), atol=1e-5)


def test_maps_by_hand():
    """A grid of 4 x 4 patches over 64 x 48 pixels: a patch is 16 x 12."""
    found = PatchPool().attention(
        Scene([picture((64, 48))], GridBackbone()),
        Regions.of(
            [[Box(0, 0, 17, 12), Point.at(63, 47), BoxSet((Box(0, 0, 16, 12), Box(0, 0, 32, 12))), WholeImage()]]
        ),
    )
    expected = torch.zeros(4, 4, 4)
    expected[0, 0, :2] = 1 / 2
    expected[1, 3, 3] = 1
    expected[2, 0, :2] = torch.tensor([2 / 3, 1 / 3])
    expected[3] = 1 / 16
    assert torch.allclose(found, expected)


def test_no_regions_have_no_maps_and_cost_no_forward_pass():
    given = scene()
    assert PatchPool().attention(given, Regions.of([[], []])).shape == (0, 4, 4)
    assert given.backbone.forwards == 0


def test_the_class_token_has_no_map():
    with pytest.raises(FeatureError, match="patch-pool with weighting 'cls' reads the class token alone") as caught:
        PatchPool(PatchPoolConfig(weighting="cls")).attention(scene(), regions())
    assert caught.value.hints == ("set region_encoder.weighting to uniform, gaussian, attention or central",)


def test_what_encode_refuses_has_no_map_either():
    with pytest.raises(FeatureError, match="needs a backbone with an attention map"):
        PatchPool(PatchPoolConfig(weighting="attention")).attention(scene(attention=False), regions())
    outside = Regions((Trace(((-4.0, -4.0),)),), (0,))
    with pytest.raises(RegionError, match="none of the 1 points of a trace lies inside"):
        PatchPool().attention(scene(), outside)
    bitmap = torch.ones(48, 64, dtype=torch.bool).numpy()
    with pytest.raises(RegionError, match="patch-pool"):
        PatchPool().attention(scene(), Regions((MaskTrack((Mask(bitmap),)),), (0,)))
