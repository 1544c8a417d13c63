"""Attention maps as pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.errors import FeatureError
from regionkit.core.frames import Frame
from regionkit.plugins.regionvlm.attention_picture import attention_picture

param = pytest.param
GREY = Image.new("RGB", (80, 40), (100, 100, 100))


def one_hot(row: int, column: int) -> torch.Tensor:
    weights = torch.zeros(4, 4)
    weights[row, column] = 0.5
    return weights


def test_the_strongest_patch_has_the_strongest_colour_and_far_ones_none():
    frame = Frame.squash((80, 40), (32, 32), (4, 4))
    drawn = np.asarray(attention_picture(GREY, one_hot(0, 3), frame, "#ff0000"))
    assert drawn.shape == (40, 80, 3)
    assert drawn[2, 77].tolist() == [216, 25, 25]  # three quarters red
    assert (drawn[25:, :40] == 100).all()


def test_a_map_lies_where_the_crop_was():
    frame = Frame.resize_crop((80, 40), 32, 32, (4, 4))  # columns 20 to 60 of the image
    drawn = np.asarray(attention_picture(GREY, torch.full((4, 4), 1 / 16), frame))
    coloured = (drawn != 100).any(2)
    assert coloured[:, 20:60].all()
    assert not coloured[:, :20].any()
    assert not coloured[:, 60:].any()


def test_an_empty_map_leaves_the_picture_as_it_is():
    frame = Frame.squash((80, 40), (32, 32), (4, 4))
    assert np.array_equal(np.asarray(attention_picture(GREY, torch.zeros(4, 4), frame)), np.asarray(GREY))


@pytest.mark.parametrize(
    "weights",
    [
        param(torch.zeros(2, 4), id="another-grid"),
        param(torch.full((4, 4), torch.nan), id="nan"),
        param(-torch.ones(4, 4), id="negative"),
    ],
)
def test_what_is_no_map_of_the_grid_is_refused(weights):
    with pytest.raises(FeatureError, match="an attention map of 4 x 4 finite weights is expected"):
        attention_picture(GREY, weights, Frame.squash((80, 40), (32, 32), (4, 4)))
