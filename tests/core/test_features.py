"""What flows between parts: batches of features, tokens, options."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import Features, GenerateOptions, RegionTokens, Scene
from regionkit.core.testing import GridBackbone, picture


@pytest.fixture
def features():
    return GridBackbone().encode([picture((64, 48), seed) for seed in range(3)])


def test_a_batch_is_cut_into_its_images_and_joined_again(features):
    ones = list(islice(features, 10))  # iterating ends, because __getitem__ knows where
    assert [len(one) for one in ones] == [1, 1, 1]
    joined = Features.cat(ones)
    assert joined.frames == features.frames
    for name in ("patches", "cls", "attention"):
        assert torch.equal(getattr(joined, name), getattr(features, name))
    assert torch.equal(features[-1].patches, features.patches[2:])
    with pytest.raises(IndexError):
        features[3]


@pytest.mark.parametrize("name", ["patches", "cls", "attention"])
def test_features_that_are_not_finite_name_the_image(features, name):
    getattr(features, name)[1, 0] = torch.inf
    with pytest.raises(FeatureError, match=f"it produced NaN or infinite {name} for image 1 of its batch"):
        features.check_finite("it")


def test_a_scene_runs_its_backbone_once_and_only_when_asked():
    backbone = GridBackbone()
    scene = Scene([picture()], backbone)
    assert backbone.forwards == 0
    assert scene.features is scene.features
    assert backbone.forwards == 1
    assert Scene([picture()], backbone, scene.features).features is scene.features
    assert backbone.forwards == 1


def test_several_tokens_are_no_vector():
    tokens = RegionTokens(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), "a[4]")
    with pytest.raises(FeatureError, match="reads one token a region and got 3\n  choose a region encoder that pools"):
        tokens.vectors()
    tokens.tokens[1, 2, 0] = torch.nan
    with pytest.raises(FeatureError, match="it produced NaN or infinite values for region 1"):
        tokens.check_finite("it")


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": -1}, {"max_tokens": 0}])
def test_options_that_would_write_nothing_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(RegionkitError, match=f"{name}: {value} must be 1 or more"):
        GenerateOptions(**options)
