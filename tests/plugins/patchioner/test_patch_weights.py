"""Lists of patches and weights: what they stand for, and the two ways of adding patches up by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, Point, Regions, WholeImage
from regionkit.core.testing import GridBackbone
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool
from regionkit.plugins.patchioner.patch_weights import PatchWeights, _listed, _spread

GRID = (5, 7)
edges = st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 6), st.integers(1, 7))
spans = st.lists(edges.filter(lambda e: e[0] < e[1] and e[2] < e[3]), min_size=1, max_size=9)


def maps_of(found: list[tuple[int, ...]]) -> np.ndarray:
    """The same rectangles, filled one by one."""
    maps = np.zeros((len(found), *GRID))
    for own, (top, bottom, left, right) in zip(maps, found, strict=True):
        own[top:bottom, left:right] = 1 / ((bottom - top) * (right - left))
    return maps


@given(found=spans)
def test_rectangles_are_listed_patch_by_patch(found):
    listed = PatchWeights.of_spans(np.array(found), GRID[1])
    np.testing.assert_array_equal(listed.maps(GRID), maps_of(found))
    again = PatchWeights.of_maps(list(maps_of(found)))
    for name in ("counts", "places", "values"):
        np.testing.assert_array_equal(getattr(listed, name), getattr(again, name))


@given(found=spans, data=st.data())
def test_another_order_is_that_order_of_the_maps(found, data):
    order = np.array(data.draw(st.permutations(range(len(found)))))
    cut = data.draw(st.integers(1, len(found)))
    parts = [PatchWeights.of_spans(np.array(part), GRID[1]) for part in (found[:cut], found[cut:]) if part]
    np.testing.assert_array_equal(PatchWeights.joined(parts).taken(order).maps(GRID), maps_of(found)[order])


@given(found=spans, seed=st.integers(0, 99))
def test_factors_share_out_each_region_and_vanish_where_all_are_zero(found, seed):
    draw = np.random.default_rng(seed)
    picture_of = draw.random(GRID) * (draw.random(GRID) < 0.4)
    listed = PatchWeights.of_spans(np.array(found), GRID[1])
    shaped = listed.shaped(picture_of.ravel()[listed.places]).maps(GRID)
    for own, even in zip(shaped, maps_of(found), strict=True):
        wanted = even * picture_of
        np.testing.assert_allclose(own, wanted / wanted.sum() if wanted.any() else even, atol=1e-12)


@given(found=spans, seed=st.integers(0, 99))
def test_listed_and_spread_weights_add_up_the_same_patches(found, seed):
    """A GPU's way, run here, and a processor's, over three pictures in any order."""
    draw = torch.Generator().manual_seed(seed)
    patches = torch.randn(3, *GRID, 4, generator=draw)
    image = torch.randint(0, 3, (len(found),), generator=draw).numpy()
    weights = PatchWeights.of_spans(np.array(found), GRID[1])
    wanted = torch.einsum("rhw,rhwd->rd", torch.from_numpy(maps_of(found)), patches.double()[image]).float()
    torch.testing.assert_close(_listed(weights, image, patches), wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(_spread(weights, image, patches), wanted, rtol=0, atol=1e-6)


def test_no_regions_have_no_weights():
    frame = Frame.squash((90, 60), (126, 84), (6, 9))
    features = Features(torch.zeros(1, 6, 9, 5), (frame,))
    assert PatchPool().weights(features, Regions((), ())).shape == (0, 6, 9)


@pytest.mark.parametrize("route", [pytest.param(_listed, id="listed"), pytest.param(_spread, id="spread")])
def test_patches_get_their_gradient(route):
    patches = torch.randn(1, *GRID, 4, requires_grad=True)
    weights = PatchWeights.of_spans(np.array([(0, 2, 1, 4), (1, 3, 2, 3)]), GRID[1])
    route(weights, np.zeros(2, dtype=np.int64), patches).sum().backward()
    expected = torch.from_numpy(weights.maps(GRID).sum(0)).float()
    torch.testing.assert_close(patches.grad[0], expected.unsqueeze(-1).expand(*GRID, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("weighting", [pytest.param(name, id=name) for name in ("uniform", "gaussian", "attention")])
def test_a_regions_vector_is_bit_for_bit_that_of_the_region_alone(weighting):
    """Among regions of other kinds, of two pictures, in turn."""
    frame = Frame.squash((90, 60), (126, 84), (6, 9))
    draw = torch.Generator().manual_seed(1)
    features = Features(
        torch.randn(2, 6, 9, 5, generator=draw), (frame, frame), attention=torch.rand(2, 6, 9, generator=draw)
    )
    scene = Scene([picture((90, 60)), picture((90, 60))], GridBackbone(), features)
    items = (
        Box(3, 4, 40, 50),
        Point(((10, 20),)),
        Box(20, 10, 80, 30),
        WholeImage(),
        Box(1, 1, 9, 9),
        Box(50, 20, 89, 59),
    )
    image = (1, 0, 0, 1, 1, 0)
    encoder = PatchPool(PatchPoolConfig(weighting=weighting))
    together = encoder.encode(scene, Regions(items, image)).vectors()
    for row, (item, index) in enumerate(zip(items, image, strict=True)):
        assert torch.equal(encoder.encode(scene, Regions((item,), (index,))).vectors()[0], together[row])
