"""Sheets of attention maps: patches are coloured where the frame says that they lie in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regionkit.core.drawing import MOST_PANELS, draw_attention
from regionkit.core.errors import DataError
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Trace, WholeImage

SIDE, GAP, MARGIN = 360, 8, 16
BITMAP = np.zeros((60, 80), dtype=bool)
BITMAP[20:40, 30:60] = True
DARK, LIGHT = (13, 8, 60), (252, 228, 130)


def sheet_of(image, frame, weights, region=None, words=("", "")):
    region = region or Point.at(0, 0)
    drawn = draw_attention(image, [region], np.array([weights], dtype=np.float32), frame, [words[0]], [words[1]])
    return np.asarray(drawn).astype(int)


def warmth(pixels):
    """Light heat is red over blue, dark heat blue over red."""
    return pixels[..., 0] - pixels[..., 2]


def test_a_patch_is_coloured_where_a_squash_puts_it():
    image = Image.new("RGB", (72, 72), "grey")
    sheet = sheet_of(image, Frame.squash(image.size, (6, 6), (2, 3)), [[0, 0, 1], [0, 0, 0]], Box(0, 0, 1, 1))
    heat = sheet[MARGIN : MARGIN + SIDE, MARGIN + SIDE + GAP : MARGIN + 2 * SIDE + GAP]
    light = warmth(heat) > 0
    assert light[20:180, 242:358].all(), "the patch of row 0, column 2 covers the upper right sixth"
    light[:180, 238:] = False
    assert not light[20:, 20:].any(), "another patch is coloured"


def test_what_a_crop_cut_away_is_nearly_black():
    image = Image.new("RGB", (144, 72), "white")
    frame = Frame.resize_crop(image.size, 8, 8, (2, 2))
    sheet = sheet_of(image, frame, [[0.25, 0.25], [0.25, 0.25]], Point.at(72, 36))
    top = MARGIN + SIDE // 2 + GAP  # wide pictures stand one above the other
    heat = sheet[top : top + SIDE // 2, MARGIN : MARGIN + SIDE]
    assert (heat[:, :88] < 60).all()
    assert (heat[:, 272:] < 60).all()
    assert (warmth(heat)[:, 92:170] > 50).all()


def test_padding_of_a_small_picture_is_outside_the_sheet():
    """A crop larger than the picture pads it: patches of the padding have no place, those inside keep theirs."""
    image = Image.new("RGB", (40, 40), "grey")
    frame = Frame.resize_crop(image.size, 4, 8, (4, 4))
    assert frame.cells()[0, 0].tolist() == [-20, -20, 0, 0]
    weights = np.zeros((4, 4))
    weights[1, 1] = 1
    heat = sheet_of(image, frame, weights)[MARGIN : MARGIN + SIDE, MARGIN + SIDE + GAP :][:, :SIDE]
    assert (warmth(heat)[20:178, 20:178] > 0).all()
    assert (warmth(heat)[182:, 182:] < 0).all()


def test_colours_run_from_none_to_the_largest_weight_of_the_map():
    image = Image.new("RGB", (40, 40), "black")
    frame = Frame.squash(image.size, (4, 4), (1, 2))
    weak, strong = (sheet_of(image, frame, [[0, value]], Point.at(20, 20)) for value in (0.001, 1.0))
    assert (weak == strong).all(), "the scale is that of the map"
    assert strong[MARGIN + 300, MARGIN + SIDE + GAP + 300].tolist() == [round(0.8 * band) for band in LIGHT]
    assert strong[MARGIN + 300, MARGIN + SIDE + GAP + 20].tolist() == [round(0.45 * band) for band in DARK]
    assert np.isfinite(sheet_of(image, frame, [[0, 0]])).all()


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(Point.at(40, 30), id="point"),
        pytest.param(Box(-5, 10, 90, 50), id="box-leaving-the-picture"),
        pytest.param(BoxSet((Box(1, 1, 9, 9), Box(20, 20, 40, 40))), id="box-set"),
        pytest.param(Mask(BITMAP), id="mask"),
        pytest.param(Mask(np.ones((60, 80), dtype=bool)), id="full-mask"),
        pytest.param(Trace(((5, 5), (30, 20), (70, 50))), id="trace"),
        pytest.param(Patch(1, 2, 3, 4), id="patch"),
        pytest.param(WholeImage(), id="image"),
    ],
)
def test_a_region_leaves_its_mark_on_both_pictures(region):
    image = Image.new("RGB", (80, 60), "grey")
    sheet = sheet_of(image, Frame.squash(image.size, (8, 6), (6, 8)), np.zeros((6, 8)), region)
    high = 270
    seen = sheet[MARGIN : MARGIN + high, MARGIN : MARGIN + SIDE]
    heat = sheet[MARGIN : MARGIN + high, MARGIN + SIDE + GAP : MARGIN + 2 * SIDE + GAP]
    assert (seen != 128).any()
    assert (heat > 240).all(-1).any(), "the outline over the heat is white"
    if region.kind == "mask":
        assert (heat > 240).all(-1).mean() < 0.05, "the heat inside a mask is not covered"


def test_panels_grow_in_rows_with_their_words_below():
    image = Image.new("RGB", (50, 50))
    frame = Frame.squash(image.size, (4, 4), (2, 2))
    sizes = {}
    for count in (0, 1, 4, 12, MOST_PANELS):
        maps = np.full((count, 2, 2), 0.25, dtype=np.float32)
        words = ["a caption that has to be wrapped because it is longer than the panel is wide " * 2] * count
        sizes[count] = draw_attention(image, [WholeImage()] * count, maps, frame, words, ["a note"] * count).size
    panel = 2 * SIDE + GAP + MARGIN
    assert [(size[0] - MARGIN) / panel for count, size in sizes.items() if count] == [1, 2, 3, 3]
    assert sizes[1][1] > SIDE + 2 * MARGIN + 3 * 24
    assert sizes[MOST_PANELS][1] > 5 * sizes[12][1] - 200


def test_more_regions_than_can_be_looked_at_are_refused():
    count = MOST_PANELS + 1
    frame = Frame.squash((8, 8), (4, 4), (2, 2))
    with pytest.raises(DataError, match="61 regions are too many for one sheet, which shows up to 60"):
        draw_attention(
            Image.new("RGB", (8, 8)), [WholeImage()] * count, np.ones((count, 2, 2)), frame, [""] * count, [""] * count
        )


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(Frame.squash((50, 31), (96, 64), (4, 6)), id="squash"),
        pytest.param(Frame.resize_crop((50, 31), 96, 96, (6, 6)), id="crop"),
        pytest.param(Frame.resize_crop((31, 50), 32, 96, (6, 6)), id="padded"),
    ],
)
def test_cells_are_where_to_grid_says(frame):
    cells = frame.cells()
    assert cells.shape == (*frame.grid, 4)
    for row in range(frame.grid[0]):
        for column in range(frame.grid[1]):
            x1, y1, x2, y2 = cells[row, column]
            assert frame.to_grid(x1, y1) == pytest.approx((column, row))
            assert frame.to_grid(x2, y2) == pytest.approx((column + 1, row + 1))
