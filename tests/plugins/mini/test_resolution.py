"""Mini backbones at other sizes than the one that they were trained at."""

from __future__ import annotations

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import RegionkitError
from regionkit.plugins.mini.backbones import MiniBackbone, _place_on
from regionkit.plugins.mini.config import NETWORKS, PATCH, TRAINED_SIDE, MiniBackboneConfig, MiniContrastConfig
from regionkit.plugins.mini.layout import SIDE
from regionkit.plugins.mini.recipe import MiniContrast
from regionkit.plugins.mini.scene import make_scene
from regionkit.registry.assembly import build

NAMES = [pytest.param(name, id=name) for name in NETWORKS]


def backbone(name: str, **options: object) -> MiniBackbone:
    made = build("backbone", {"name": name, **options})
    assert isinstance(made, MiniBackbone)
    return made


@pytest.fixture(scope="module")
def images():
    return [make_scene("test", 0, index).image for index in range(3)]


def test_the_size_of_training_is_one_number():
    assert TRAINED_SIDE == SIDE
    assert all(network.grid * PATCH == SIDE for network in NETWORKS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_picture_has_more_patches_and_the_same_class_token_and_attention(name, images):
    with torch.no_grad():
        features = backbone(name, resolution=192).encode(images)
        small = backbone(name).encode(images)
    assert features.patches.shape == (3, 24, 24, 128)
    assert features.frames[0].size == (192, 192)
    assert (features.cls is None) == (small.cls is None)
    assert (features.attention is None) == (small.attention is None)
    if features.attention is not None:
        assert features.attention.shape == (3, 24, 24)
        torch.testing.assert_close(features.attention.sum((1, 2)), torch.ones(3))


def test_a_grid_of_the_same_size_is_left_as_it_is(images):
    with torch.no_grad():
        one = backbone("mini-dense", resolution=SIDE).encode(images)
        other = backbone("mini-dense").encode(images)
    assert torch.equal(one.patches, other.patches)
    assert torch.equal(one.cls, other.cls)


@pytest.mark.parametrize("side", [48, 104, 256])
def test_places_are_resampled_and_the_class_token_has_none(side):
    trained, other = backbone("mini-vit").network, backbone("mini-vit", resolution=side).network
    assert other.place.shape == (1 + (side // PATCH) ** 2, 96)
    assert torch.equal(other.place[0], trained.place[0])
    assert other.config.grid == side // PATCH
    # Smooth from edge to edge: the mean over all patches stays near.
    assert torch.nn.functional.cosine_similarity(other.place[1:].mean(0), trained.place[1:].mean(0), dim=0) > 0.98


def test_constant_places_stay_constant():
    made = MiniBackbone.__subclasses__()[0](MiniBackboneConfig(weights="none", resolution=160))
    with torch.no_grad():
        made.network.place.fill_(0.5)
    _place_on(made.network, 20)
    torch.testing.assert_close(made.network.place, torch.full((401, 96), 0.5))


def test_blocks_run_on_the_larger_grid(images):
    made = backbone("mini-vit", resolution=192)
    with torch.no_grad():
        pixels, _ = made.preprocess(images)
        tokens = made.embed(pixels)
        for block in made.blocks:
            tokens = block(tokens)
        left = made.network.leave(tokens)
        torch.testing.assert_close(left.patches, made.encode(images).patches, rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [0, 8, 100, -96])
def test_other_sizes_are_refused(side):
    with pytest.raises(
        ValueError, match=rf"resolution: {side} must be a multiple of 8, a patch, from 16 on; the weights"
    ):
        MiniBackboneConfig(resolution=side)


def test_a_size_that_would_fill_the_memory_is_refused():
    MiniBackboneConfig(resolution=8192)
    with pytest.raises(ValueError, match="resolution: 20000 is more than 8192"):
        MiniBackboneConfig(resolution=20000)


def test_nothing_is_trained_at_another_size():
    class_of = {one.name: one for one in MiniBackbone.__subclasses__()}
    made = class_of["mini-clip"].build(MiniBackboneConfig(weights="none", resolution=192), BuildContext())
    with pytest.raises(
        RegionkitError, match=r"backbone.resolution: 192 is no size to train at, mini-contrast paints 96"
    ):
        MiniContrast(MiniContrastConfig(texts=4), made, 0)
