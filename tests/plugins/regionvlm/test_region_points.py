"""Regions of every kind as points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import RegionError
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Trace, WholeImage
from regionkit.plugins.regionvlm.points import PointRule, dilated, evenly_spaced, region_points, sample

param = pytest.param
SIZE = (64, 48)
PINNED = [[8, 29], [24, 34], [42, 29], [41, 31]]


def mask_of(*pixels: tuple[int, int], size: tuple[int, int] = SIZE) -> Mask:
    bitmap = np.zeros((size[1], size[0]), dtype=np.bool_)
    for x, y in pixels:
        bitmap[y, x] = True
    return Mask(bitmap)


def pixels_of(points: np.ndarray) -> set[tuple[int, int]]:
    return {(round(x * SIZE[0]), round(y * SIZE[1])) for x, y in points.tolist()}


def training(seed: int = 0):
    torch.manual_seed(seed)
    return lambda count: torch.randint(2**62, (count,)).tolist()


# ---------------------------------------------------------------- traces and clicks


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [
        param(20, 10, [0, 2, 4, 6, 8, 10, 12, 14, 16, 19], id="half-of-them"),
        param(10, 10, list(range(10)), id="as-many"),
        param(3, 10, [0, 0, 0, 0, 0, 1, 1, 1, 1, 2], id="repeated"),
        param(1, 4, [0, 0, 0, 0], id="one-repeated"),
        param(7, 1, [3], id="the-middle"),
        param(10_000, 2, [0, 9_999], id="the-ends"),
    ],
)
def test_evenly_spaced_indices_are_those_of_the_released_rule(count, wanted, expected):
    assert evenly_spaced(count, wanted) == expected


def test_a_trace_keeps_its_order_and_its_ends():
    trace = Trace(tuple((float(63 - step), 5.0) for step in range(40)))
    points = region_points(trace, SIZE, PointRule(5))
    assert np.allclose(points[:, 0] * 64, [63, 54, 44, 34, 24])


def test_a_short_trace_says_some_points_twice():
    points = region_points(Trace(((8.0, 12.0), (16.0, 24.0))), SIZE, PointRule(4))
    assert points.tolist() == [[0.125, 0.25]] * 3 + [[0.25, 0.5]]


def test_points_of_a_trace_outside_its_image_do_not_count():
    straying = Trace(((-5.0, 3.0), (8.0, 12.0), (70.0, 4.0), (16.0, 24.0), (3.0, 48.1)))
    inside = Trace(((8.0, 12.0), (16.0, 24.0)))
    assert np.array_equal(region_points(straying, SIZE), region_points(inside, SIZE))


def test_clicks_are_taken_as_they_are_and_the_edge_is_1():
    clicks = Point(((32.0, 12.0), (64.0, 48.0), (0.0, 0.0)))
    assert region_points(clicks, SIZE).tolist() == [[0.5, 0.25], [1.0, 1.0], [0.0, 0.0]]


def test_of_10000_clicks_k_evenly_spaced_ones_are_taken():
    clicks = Point(tuple((step % 64 + 0.5, step % 48 + 0.5) for step in range(10_000)))
    points = region_points(clicks, SIZE, PointRule(10))
    chosen = [clicks.points[index] for index in evenly_spaced(10_000, 10)]
    assert np.allclose(points * SIZE, chosen)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        param(Point(((5.0, 5.0), (65.0, 5.0))), "point 65,5 lies outside its image of 64 x 48 pixels", id="click"),
        param(Trace(((-1.0, 5.0), (99.0, 5.0))), "none of the 2 points of a trace lies inside", id="trace"),
        param(Box(70, 0, 80, 9), "box 70,0,80,9 lies outside its image", id="box"),
        param(mask_of((0, 0), size=(10, 10)), "a mask of 10 x 10 pixels does not fit its image", id="mask"),
        param(MaskTrack((mask_of((0, 0)),)), "a mask-track region has no place in a single image", id="clip"),
    ],
)
def test_what_lies_outside_is_refused(region, words):
    with pytest.raises(RegionError, match=words):
        region_points(region, SIZE)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        param(lambda: Point(()), "a point region holds no point", id="no-point"),
        param(lambda: Trace(()), "a trace holds no point", id="no-trace"),
        param(lambda: Point(((float("nan"), 1.0),)), "coordinate that is not a finite number", id="nan"),
        param(lambda: Trace(((1.0, float("inf")),)), "coordinate that is not a finite number", id="infinite"),
        param(lambda: Mask(np.zeros((4, 4), dtype=np.bool_)), "a mask covers no pixel", id="empty-mask"),
    ],
)
def test_regions_of_nothing_cannot_be_made(make, words):
    with pytest.raises(RegionError, match=words):
        make()


# ---------------------------------------------------------------- areas


def test_pixels_are_distinct_and_lie_inside():
    box = Box(10, 20, 30, 40)
    points = region_points(box, SIZE, PointRule(50))
    assert len(pixels_of(points)) == 50
    assert all(10 <= x < 30 and 20 <= y < 40 for x, y in pixels_of(points))


def test_fewer_pixels_are_fewer_points_and_a_pixel_is_its_upper_left_corner():
    pixels = {(3, 4), (5, 6), (7, 7)}
    points = region_points(mask_of(*pixels), SIZE, PointRule(10))
    assert len(points) == 3
    assert pixels_of(points) == pixels
    assert points.max() < 1


def test_equal_pixels_have_equal_points_whatever_the_region_is_called():
    bitmap = np.zeros((48, 64), dtype=np.bool_)
    bitmap[12:24, 16:32] = True
    regions = [
        Mask(bitmap),
        Box(16, 12, 32, 24),
        BoxSet((Box(16, 12, 24, 24), Box(24, 12, 32, 24))),
        Patch(1, 1, 4, 4),
    ]
    first, *others = [region_points(region, SIZE) for region in regions]
    assert all(np.array_equal(first, other) for other in others)


def test_another_seed_draws_others():
    box = Box(0, 0, 64, 48)
    assert not np.array_equal(region_points(box, SIZE), region_points(box, SIZE, PointRule(seed=1)))


def test_the_draw_is_the_same_on_every_machine():
    points = region_points(Box(0, 0, 64, 48), SIZE, PointRule(4))
    assert (points * SIZE).round().astype(int).tolist() == PINNED


def test_a_whole_image_has_no_points_and_a_box_around_it_has():
    assert region_points(WholeImage(), SIZE).shape == (0, 2)
    assert region_points(Box(0, 0, 64, 48), SIZE).shape == (10, 2)


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        param(0, {(5, 5)}, id="none"),
        param(1, {(5, 5)}, id="one"),
        param(3, {(x, y) for x in (4, 5, 6) for y in (4, 5, 6)}, id="three"),
        param(2, {(x, y) for x in (5, 6) for y in (5, 6)}, id="even"),
    ],
)
def test_masks_are_dilated_by_a_square_kernel_before_points_are_drawn(side, expected):
    points = region_points(mask_of((5, 5)), SIZE, PointRule(100, dilate=side))
    assert pixels_of(points) == expected


def test_dilation_stops_at_the_border_and_leaves_boxes_alone():
    corner = np.zeros((4, 5), dtype=np.bool_)
    corner[0, 4] = True
    assert np.argwhere(dilated(corner, 3)).tolist() == [[0, 3], [0, 4], [1, 3], [1, 4]]
    assert dilated(corner, 15).all()
    assert len(region_points(Box(5, 5, 6, 6), SIZE, PointRule(100, dilate=9))) == 1


@pytest.mark.parametrize("order", [param("scan", id="scan"), param("random", id="random")])
def test_orders_change_the_order_and_nothing_else(order):
    trace = Trace(tuple((float(60 - 3 * step), float(40 - step)) for step in range(10)))
    given_order, other = region_points(trace, SIZE), region_points(trace, SIZE, PointRule(order=order))
    assert not np.array_equal(given_order, other)
    assert sorted(given_order.tolist()) == sorted(other.tolist())
    if order == "scan":
        assert (np.diff(other[:, 1]) >= 0).all()


# ---------------------------------------------------------------- training


def test_training_draws_some_points_of_a_trace_in_their_order():
    trace = Trace(tuple((float(step), 5.0) for step in range(60)))
    first = region_points(trace, SIZE, numbers=training(0))
    again = region_points(trace, SIZE, numbers=training(0))
    other = region_points(trace, SIZE, numbers=training(1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (np.diff(first[:, 0]) > 0).all()


def test_training_draws_pixels_anew_and_keeps_few_clicks():
    box, clicks = Box(0, 0, 64, 48), Point(((1.0, 2.0), (9.0, 3.0)))
    numbers = training()
    assert not np.array_equal(region_points(box, SIZE, numbers=numbers), region_points(box, SIZE, numbers=numbers))
    assert np.array_equal(region_points(clicks, SIZE, numbers=numbers), region_points(clicks, SIZE))


@given(st.integers(1, 40), st.data())
def test_a_sample_holds_no_index_twice(count, data):
    wanted = data.draw(st.integers(1, count))
    numbers = data.draw(st.lists(st.integers(0, 2**62), min_size=wanted, max_size=wanted))
    drawn = sample(count, wanted, lambda _: numbers)
    assert len(set(drawn)) == wanted
    assert set(drawn) <= set(range(count))


def test_every_index_is_drawn_as_often_as_another():
    numbers = training()
    counts = np.bincount([index for _ in range(3000) for index in sample(6, 2, numbers)], minlength=6)
    assert abs(counts / 1000 - 1).max() < 0.12
