"""Masks grown and shrunk by a disc, against the definition, and by a square."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from regionkit.core import morphology
from regionkit.core.morphology import dilated, grown, shrunk

BITMAPS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))
RADII = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 500.0]), st.floats(0, 20))


def near(bitmap, radius):
    """Every pixel at most ``radius`` from a True one, by looking at all pairs."""
    rows, columns = np.indices(bitmap.shape)
    found = np.zeros_like(bitmap)
    for row, column in np.argwhere(bitmap):
        found |= (rows - row) ** 2 + (columns - column) ** 2 <= radius * radius
    return found


@given(BITMAPS, RADII)
def test_a_mask_grows_by_all_that_a_disc_reaches(bitmap, radius):
    assert np.array_equal(grown(bitmap, radius), near(bitmap, radius))


@given(BITMAPS, RADII)
def test_a_mask_loses_all_that_a_disc_reaches_from_outside(bitmap, radius):
    reach = int(min(radius, 20)) + 1
    outside = np.pad(~bitmap, reach, constant_values=True)
    expected = ~near(outside, radius)[reach:-reach, reach:-reach] if radius < 20 else np.zeros_like(bitmap)
    found = shrunk(bitmap, radius)
    if expected.any() or not bitmap.any():
        assert np.array_equal(found, expected)
    else:
        assert found.sum() == 1
        assert bitmap[found].all()


@given(BITMAPS, RADII)
def test_far_reaches_are_as_exact_as_near_ones(bitmap, radius):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(morphology, "_FAR", 0)
        far = grown(bitmap, radius), shrunk(bitmap, radius)
    assert np.array_equal(far, (grown(bitmap, radius), shrunk(bitmap, radius)))


def test_a_far_reach_over_a_large_mask():
    bitmap = np.zeros((200, 150), dtype=np.bool_)
    bitmap[100, 30] = bitmap[20:23, 140] = True
    assert np.array_equal(grown(bitmap, 70.5), near(bitmap, 70.5))
    bitmap[:] = True
    rows, columns = np.nonzero(shrunk(bitmap, 70))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (70, 129, 70, 79)


@settings(max_examples=50)
@given(BITMAPS, RADII, RADII)
def test_a_larger_disc_leaves_a_part_of_what_a_smaller_one_leaves(bitmap, first, second):
    small, large = sorted((first, second))
    assert not (shrunk(bitmap, large) & ~shrunk(bitmap, small)).any()
    assert not (grown(bitmap, small) & ~grown(bitmap, large)).any()


@pytest.mark.parametrize("change", [pytest.param(grown, id="grown"), pytest.param(shrunk, id="shrunk")])
def test_what_comes_back_is_a_bitmap_of_its_own(change):
    bitmap = np.ones((4, 4), dtype=np.bool_)
    change(bitmap, 0.5)[:] = False
    assert bitmap.all()


def test_the_deepest_pixel_stays():
    bitmap = np.zeros((9, 12), dtype=np.bool_)
    bitmap[2:7, 3:8] = True
    bitmap[4, 8:] = True
    assert np.argwhere(shrunk(bitmap, 40)).tolist() == [[4, 5]]


@pytest.mark.parametrize(
    ("side", "expected"),
    [pytest.param(1, [2, 2], id="one"), pytest.param(2, [2, 3], id="even"), pytest.param(3, [1, 3], id="odd")],
)
def test_a_square_of_pixels(side, expected):
    bitmap = np.zeros((5, 5), dtype=np.bool_)
    bitmap[2, 2] = True
    rows, columns = np.nonzero(dilated(bitmap, side))
    assert [rows.min(), rows.max()] == [columns.min(), columns.max()] == expected
