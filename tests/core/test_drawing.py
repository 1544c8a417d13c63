from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regionkit.core.drawing import draw_captions
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Trace, WholeImage

BITMAP = np.zeros((60, 80), dtype=bool)
BITMAP[20:40, 30:60] = True

REGIONS = [
    pytest.param(Point.at(40, 30), id="point"),
    pytest.param(Box(-5, 10, 90, 50), id="box-leaving-the-picture"),
    pytest.param(BoxSet((Box(1, 1, 9, 9), Box(20, 20, 40, 40))), id="box-set"),
    pytest.param(Mask(BITMAP), id="mask"),
    pytest.param(Trace(((5, 5), (30, 20), (70, 50))), id="trace"),
    pytest.param(Patch(1, 2, 3, 4), id="patch"),
    pytest.param(WholeImage(), id="image"),
]


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_leaves_a_mark(region):
    image = Image.new("RGB", (80, 60), "white")
    plain = draw_captions(image, [], [])
    drawn = draw_captions(image, [region], ["a caption"])
    assert drawn.size == plain.size == (480 + 360, 360)
    left = (slice(None), slice(0, 480))
    assert (np.asarray(plain)[left] != np.asarray(drawn)[left]).any()


def test_long_captions_are_wrapped_and_the_sheet_grows():
    image = Image.new("RGB", (480, 100))
    drawn = draw_captions(image, [WholeImage()] * 5, ["a very long caption about nothing at all " * 4] * 5)
    assert drawn.height > 300
    assert (np.asarray(drawn)[:, -8:] == 255).all(), "text runs into the margin"


@pytest.mark.parametrize(
    ("size", "drawn"), [((4000, 2000), (1600, 800)), ((4000, 1), (1600, 1)), ((600, 800), (600, 800))]
)
def test_large_pictures_are_reduced_so_that_captions_can_be_read(size, drawn):
    image = Image.new("RGB", size, "white")
    sheet = draw_captions(image, [Box(0, 0, size[0] / 2, size[1])], ["a caption"])
    assert sheet.width == drawn[0] + 360
    assert sheet.height >= drawn[1]
    pixels = np.asarray(sheet)[: drawn[1], : drawn[0]]
    marked = np.flatnonzero((pixels != 255).any((0, 2)))
    assert abs(int(marked[-1]) - drawn[0] / 2) <= 3, "the box is drawn in another scale than the picture"
