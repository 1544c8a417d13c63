"""The backbone that knows colours alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.features import Scene
from regionkit.core.regions import Box, Regions
from regionkit.plugins.baselines.colours import Colours
from regionkit.plugins.baselines.configs import ColoursConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool


def halves() -> Image.Image:
    """Red on the left, blue on the right, 40 x 20."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0], pixels[:, 20:, 2] = 255, 255
    return Image.fromarray(pixels)


def test_a_cell_is_its_mean_colour_and_brightness():
    features = Colours(ColoursConfig(grid=2)).encode([halves()])
    red, blue = torch.tensor([1.0, 0, 0, 1 / 3]), torch.tensor([0, 0, 1.0, 1 / 3])
    torch.testing.assert_close(features.patches[0], torch.stack([red, blue]).expand(2, 2, 4))
    single = Colours(ColoursConfig(grid=1)).encode([halves()]).patches[0, 0, 0]
    torch.testing.assert_close(single, (red + blue) / 2, atol=2 / 255, rtol=0)


def test_regions_are_pooled_where_they_are():
    backbone = Colours(ColoursConfig(grid=4))
    tokens = PatchPool().encode(Scene([halves()], backbone), Regions.of([[Box(0, 0, 20, 20), Box(20, 0, 40, 10)]]))
    torch.testing.assert_close(tokens.vectors()[:, [0, 2]], torch.eye(2))


def test_options_and_no_picture():
    assert Colours().encode([]).patches.shape == (0, 14, 14, 4)
    with pytest.raises(ValueError, match="grid: 0 must be 1 or more"):
        ColoursConfig(grid=0)
