import numpy as np
import pytest
import torch

from regionkit.core.features import Scene
from regionkit.core.regions import Box, Regions, WholeImage
from regionkit.core.testing import GridBackbone, check_region_encoder, picture
from regionkit_border.configs import BorderConfig
from regionkit_border.encoder import Border, rim


@pytest.mark.parametrize("width", [1, 2, 10])
def test_it_conforms(width):
    check_region_encoder(Border(BorderConfig(width)))


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        pytest.param(1, ["11111", "10001", "10001", "10001", "11111"], id="one"),
        pytest.param(2, ["11111", "11111", "11011", "11111", "11111"], id="two"),
        pytest.param(3, ["11111"] * 5, id="all"),
    ],
)
def test_rim_of_the_whole_picture_lies_at_its_edge(width, kept):
    found = rim(np.ones((5, 5)), width)
    assert ["".join(str(int(value)) for value in row) for row in found] == kept


def test_rim_keeps_the_weights_of_a_region_inside_the_picture():
    weights = np.zeros((6, 6))
    weights[1:5, 1:5] = 0.5
    found = rim(weights, 1)
    assert found.sum() == 6.0  # twelve patches around four
    assert (found[2:4, 2:4] == 0).all()


def test_whole_picture_is_the_mean_of_the_patches_at_its_edge():
    image, backbone = picture((64, 48)), GridBackbone()
    found = Border().encode(Scene([image], backbone), Regions.of([[WholeImage()]])).vectors()[0]
    patches = backbone.encode([image]).patches[0]
    edge = torch.ones(4, 4, dtype=torch.bool)
    edge[1:3, 1:3] = False
    torch.testing.assert_close(found, patches[edge].mean(0))


def test_a_box_of_one_patch_gives_that_patch():
    image, backbone = picture((64, 48)), GridBackbone()
    found = Border().encode(Scene([image], backbone), Regions.of([[Box(16, 12, 32, 24)]]))
    torch.testing.assert_close(found.vectors()[0], backbone.encode([image]).patches[0, 1, 1])


def test_a_rim_without_width_is_refused():
    with pytest.raises(ValueError, match="width: 0 must be 1 or more"):
        BorderConfig(0)
