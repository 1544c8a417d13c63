"""Frames: what resize and crop do to coordinates, against hand-made cases and the released code."""

import numpy as np
import pytest
from golden_files import golden_file

from regionkit.core.frames import Frame, crop_corner, resized
from regionkit.core.testing import GridBackbone, picture

GOLDEN = np.load(golden_file("aggregation.npz"))


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [
        pytest.param((640, 480), 518, (690, 518), id="landscape"),  # 690.67 is cut, not rounded
        pytest.param((480, 640), 518, (518, 690), id="portrait"),
        pytest.param((100, 100), 518, (518, 518), id="square"),
        pytest.param((1000, 3), 6, (2000, 6), id="strip"),
    ],
)
def test_resized_cuts_the_longer_side(size, shorter, expected):
    assert resized(size, shorter) == expected


@pytest.mark.parametrize(
    ("scaled", "corner"),
    [
        pytest.param((690, 518), (86, 0), id="even-rest"),
        pytest.param((521, 518), (2, 0), id="half-goes-to-even-up"),  # 1.5 -> 2
        pytest.param((523, 518), (2, 0), id="half-goes-to-even-down"),  # 2.5 -> 2
        pytest.param((517, 500), (0, -9), id="padded"),
    ],
)
def test_crop_corner_is_torchvisions(scaled, corner):
    assert crop_corner(scaled, (518, 518)) == corner


def test_squash_maps_corners_to_corners():
    frame = Frame.squash((640, 480), (518, 518), (37, 37))
    assert frame.to_frame(640, 480) == pytest.approx((518, 518))
    assert frame.to_grid(320, 120) == pytest.approx((18.5, 9.25))
    assert frame.patch_size == (14, 14)
    assert np.array_equal(frame.to_unit(np.array([[320.0, 480.0]])), [[0.5, 1.0]])


def test_resize_crop_cuts_the_sides_off():
    frame = Frame.resize_crop((200, 100), 50, 50, (5, 5))
    assert frame.offset == (25.0, 0.0)
    assert frame.to_frame(50, 0) == (0.0, 0.0)
    assert frame.to_grid(150, 100) == (5.0, 5.0)
    assert np.array_equal(
        frame.to_unit(np.array([[50.0, 0.0], [100.0, 50.0], [0.0, 0.0]])), [[0, 0], [0.5, 0.5], [-0.5, 0]]
    )


def test_a_squash_and_a_crop_of_a_square_are_one():
    squash, crop = Frame.squash((64, 64), (32, 32), (4, 4)), Frame.resize_crop((64, 64), 32, 32, (4, 4))
    assert squash == crop


@pytest.mark.parametrize("row", range(0, 80, 8))
def test_released_crop_adjustment(row):
    """``adjust_bbox_for_transform``: float ratio, corner rounded down; then x, y, w, h are clamped."""
    _, width, height, x1, y1, x2, y2 = GOLDEN["real_rows_id_w_h_x1y1x2y2"][row]
    frame = Frame.resize_crop((int(width), int(height)), 518, 518, (37, 37), compat="reference")
    x, y = (min(max(value, 0), 517) for value in frame.to_frame(x1, y1))
    w, h = min((x2 - x1) * frame.scale[0], 518 - x), min((y2 - y1) * frame.scale[1], 518 - y)
    assert (x, y, w, h) == pytest.approx(GOLDEN["real_adj_crop_518"][row], abs=1e-6)


def test_both_readings_of_a_crop_agree_to_two_pixels():
    gaps = []
    for width in range(300, 700, 7):
        ours = Frame.resize_crop((width, 333), 518, 518, (37, 37))
        theirs = Frame.resize_crop((width, 333), 518, 518, (37, 37), compat="reference")
        for x in (0, width // 2, width):
            gaps.append(np.abs(np.subtract(ours.to_frame(x, 100), theirs.to_frame(x, 100))).max())
    assert 0.4 < max(gaps) < 2  # a pixel of the corner, and one that is lost where the size is cut to whole pixels


def test_the_frame_tells_where_a_pixel_went():
    """A coloured dot in the original is found in the preprocessed picture where the frame says."""
    image = picture((120, 60), seed=3)
    for fit in ("squash", "crop"):
        backbone = GridBackbone((6, 6), patch=10, fit=fit)
        image.paste((255, 0, 255), (58, 28, 64, 34))
        pixels, (frame,) = backbone.preprocess([image])
        x, y = frame.to_frame(61, 31)
        assert pixels[0, :, int(y), int(x)].tolist() == pytest.approx([1, 0, 1], abs=0.15), fit
