"""Regions on the patch grid: rules by hand, properties of all of them, and the released code's numbers."""

import tracemalloc

import numpy as np
import pytest
from golden_files import golden_file
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.errors import RegionError
from regionkit.core.frames import Frame
from regionkit.core.geometry import Rules, bounding_box, box_spans, patch_parts, patch_weights, region_mask
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Trace, WholeImage

GOLDEN = np.load(golden_file("aggregation.npz"))
FRAME = Frame.squash((40, 40), (40, 40), (4, 4))  # patches of 10 pixels, no scaling: everything can be done by hand
REFERENCE = Rules("reference")


def block(rows, columns, grid=(4, 4), value=1.0):
    weights = np.zeros(grid)
    weights[slice(*rows), slice(*columns)] = value
    return weights


@pytest.mark.parametrize(
    ("box", "rule", "expected"),
    [
        pytest.param(Box(10, 10, 20, 20), "intersect", block((1, 2), (1, 2)), id="intersect-exactly-one-patch"),
        pytest.param(Box(9, 10, 21, 20), "intersect", block((1, 2), (0, 3)), id="intersect-touches-neighbours"),
        pytest.param(Box(12, 12, 13, 13), "intersect", block((1, 2), (1, 2)), id="intersect-within-one"),
        pytest.param(Box(-50, -5, 15, 4), "intersect", block((0, 1), (0, 2)), id="intersect-clipped"),
        pytest.param(Box(-50, -50, 90, 90), "intersect", block((0, 4), (0, 4)), id="intersect-around-all"),
        pytest.param(
            Box(5, 10, 20, 15), "coverage", np.array([[0] * 4, [0.25, 0.5, 0, 0], [0] * 4, [0] * 4]), id="coverage"
        ),
        pytest.param(Box(12, 12, 13, 13), "coverage", block((1, 2), (1, 2), value=0.01), id="coverage-within-one"),
        # floor(9 / 10) = 0, and 0 + floor(12 / 10) = 1: the third column, touched by a pixel, is lost
        pytest.param(Box(9, 10, 21, 20), "reference", block((1, 3), (0, 2)), id="reference-loses-a-column"),
        pytest.param(Box(12, 12, 13, 13), "reference", block((1, 2), (1, 2)), id="reference-within-one"),
        pytest.param(Box(0, 0, 40, 40), "reference", block((0, 4), (0, 4)), id="reference-all"),
        pytest.param(Box(39.5, 39.5, 60, 60), "reference", block((3, 4), (3, 4)), id="reference-last-patch-not-nan"),
        pytest.param(Box(-20, -5, 15, 4), "reference", block((0, 1), (0, 2)), id="reference-negative-not-nan"),
    ],
)
def test_box_rules(box, rule, expected):
    assert patch_weights(box, FRAME, Rules(box_rule=rule)) == pytest.approx(expected)


def test_eq_1_counts_every_occurrence():
    boxes = BoxSet((Box(0, 0, 20, 10), Box(0, 0, 10, 10), Box(0, 0, 10, 10)))
    assert patch_weights(boxes, FRAME)[0].tolist() == [3, 1, 0, 0]
    assert patch_weights(boxes, FRAME, Rules(set_weighting="per_box"))[0].tolist() == [2.5, 0.5, 0, 0]
    assert patch_parts(boxes, FRAME).shape == (3, 4, 4)


def test_mask_rules():
    bitmap = np.zeros((40, 40), dtype=bool)
    bitmap[5:20, 9:15] = True
    area = np.zeros((4, 4))
    area[0, :2], area[1, :2] = (0.05, 0.25), (0.1, 0.5)
    assert patch_weights(Mask(bitmap), FRAME, Rules(mask_rule="area")) == pytest.approx(area)
    assert np.array_equal(patch_weights(Mask(bitmap), FRAME), block((0, 2), (0, 2)))


def test_trace_counts_duplicates_and_drops_what_lies_outside():
    trace = Trace(((5, 5), (5, 5), (40, 40), (15, 5), (-1, 5), (5, 41)))
    expected = np.zeros((4, 4))
    expected[0, 0], expected[0, 1], expected[3, 3] = 2, 1, 1  # the far edge belongs to the last patch
    assert np.array_equal(patch_weights(trace, FRAME), expected)


def test_patch_region_on_its_own_grid_and_on_another():
    assert np.array_equal(patch_weights(Patch(2, 3, 4, 4), FRAME), block((2, 3), (3, 4)))
    assert np.array_equal(patch_weights(Patch(0, 0, 1, 1), FRAME), block((2, 3), (2, 3)))
    assert np.array_equal(patch_weights(Patch(7, 0, 8, 8), FRAME), block((3, 4), (0, 1)))


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(Box(0, 10, 20, 20), id="box"),
        pytest.param(Point.at(3, 15), id="point"),
        pytest.param(Trace(((3, 15), (4, 16))), id="trace"),
        pytest.param(Mask(np.pad(np.ones((10, 20), dtype=bool), ((10, 20), (0, 60)))), id="mask"),
    ],
)
@pytest.mark.parametrize("rule", ["intersect", "coverage", "reference"])
@pytest.mark.parametrize("mask_rule", ["any", "area"])
def test_what_the_crop_cut_away_takes_its_nearest_patches(region, rule, mask_rule):
    frame = Frame.resize_crop((80, 40), 40, 40, (4, 4))  # x from 20 to 60 is left
    weights = patch_weights(region, frame, Rules(box_rule=rule, mask_rule=mask_rule))
    rows, columns = weights.nonzero()
    assert (rows[0], columns[0]) == (1, 0)
    assert weights.sum() > 0
    if rule != "reference":
        assert set(columns) == {0}


def test_padded_frame_keeps_its_rim_empty():
    frame = Frame.resize_crop((40, 40), 40, 60, (6, 6))  # padded by 10 pixels, one patch, on each side
    for rules in (Rules("intersect"), Rules("coverage")):
        assert np.array_equal(patch_weights(Box(0, 0, 40, 40), frame, rules), block((1, 5), (1, 5), (6, 6)))
    assert np.array_equal(patch_weights(Mask(np.ones((40, 40), dtype=bool)), frame), block((1, 5), (1, 5), (6, 6)))


@pytest.mark.parametrize(("side", "patch"), [(518, 14), (224, 16), (224, 32), (640, 16)])
def test_reference_boxes_lose_no_patch_to_rounding(side, patch):
    grid = side // patch
    for width in (185, 333, 370, 480, 612, 740):
        frame = Frame.squash((width, width), (side, side), (grid, grid))
        boxes = np.array([(start, 0, end, width) for start in range(0, width, 7) for end in range(start + 1, width)])
        _, _, left, right = box_spans(boxes.astype(np.float64), frame, "reference").T
        starts, extents = boxes[:, 0], boxes[:, 2] - boxes[:, 0]
        first = starts * side // (width * patch)  # in whole numbers, where nothing is rounded
        assert np.array_equal(left, first)
        assert np.array_equal(right, np.minimum(first + extents * side // (width * patch) + 1, grid))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        pytest.param(
            Box(50, 0, 60, 10),
            "box 50,0,60,10 lies outside its image of 40 x 40 pixels\n"
            "  give x1,y1,x2,y2 in pixels of the original image, between 0,0 and 40,40",
            id="box",
        ),
        pytest.param(Box(40, 0, 60, 10), "box 40,0,60,10 lies outside", id="box-that-touches-the-edge"),
        pytest.param(BoxSet((Box(0, 0, 9, 9), Box(0, -9, 9, 0))), "box 0,-9,9,0 lies outside", id="one-of-a-set"),
        pytest.param(
            Trace(((50, 50), (-1, 0))),
            "none of the 2 points of a trace lies inside its image of 40 x 40 pixels\n"
            "  give x,y in pixels of the original image, between 0,0 and 40,40; "
            "Trace.from_normalised takes values in 0..1",
            id="trace",
        ),
        pytest.param(
            Point(((5, 5), (41, 5))),
            "point 41,5 lies outside its image of 40 x 40 pixels\n"
            "  give x,y in pixels of the original image, between 0,0 and 40,40",
            id="point",
        ),
        pytest.param(
            Mask(np.ones((4, 5), dtype=bool)),
            "a mask of 5 x 4 pixels does not fit its image of 40 x 40 pixels\n"
            "  masks are given at the size of the original image: resize it with nearest neighbour",
            id="mask",
        ),
        pytest.param(
            MaskTrack((Mask(np.ones((40, 40), dtype=bool)),)),
            "a mask-track region has no place in a single image",
            id="track",
        ),
    ],
)
@pytest.mark.parametrize("rule", ["intersect", "coverage", "reference"])
def test_errors_say_what_to_give(region, message, rule):
    for ask in (
        lambda: patch_weights(region, FRAME, Rules(box_rule=rule)),
        lambda: bounding_box(region, (40, 40)),
        lambda: region_mask(region, (40, 40)),
    ):
        with pytest.raises(RegionError) as caught:
            ask()
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("region", "box"),
    [
        pytest.param(Box(-5, 2.5, 10, 90), (0, 2.5, 10, 40), id="box-clipped"),
        pytest.param(BoxSet((Box(1, 2, 3, 4), Box(30, 0, 50, 3))), (1, 0, 40, 4), id="set"),
        pytest.param(Point.at(3.7, 40), (3, 39, 4, 40), id="point-is-a-pixel"),
        pytest.param(Trace(((3, 5), (8.5, 2), (99, 99))), (3, 2, 9, 6), id="trace-without-outsiders"),
        pytest.param(Mask(np.pad(np.ones((2, 3), dtype=bool), ((5, 33), (7, 30)))), (7, 5, 10, 7), id="mask"),
        pytest.param(Patch(1, 0, 4, 2), (0, 10, 20, 20), id="patch"),
        pytest.param(WholeImage(), (0, 0, 40, 40), id="image"),
    ],
)
def test_bounding_box_and_pixels(region, box):
    assert bounding_box(region, (40, 40)).corners == box
    inside = region_mask(region, (40, 40))
    rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
    around = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert around == (int(box[0]), int(box[1]), box[2], box[3])


def test_region_mask_of_points_holds_their_pixels_only():
    assert region_mask(Trace(((3, 5), (8.5, 2), (3.2, 5.9))), (40, 40)).sum() == 2
    bitmap = np.eye(40, dtype=bool)
    copy = region_mask(Mask(bitmap), (40, 40))
    assert np.array_equal(copy, bitmap)
    assert copy is not bitmap


# --- properties -------------------------------------------------------------------------------------------------------

SIDES = st.integers(8, 300)
GRIDS = st.integers(1, 9)
UNIT = st.floats(0, 1, allow_nan=False)


@st.composite
def frames(draw):
    size, grid = (draw(SIDES), draw(SIDES)), draw(GRIDS)
    side = grid * draw(st.sampled_from([4, 7, 14]))
    if draw(st.booleans()):
        return Frame.squash(size, (side, side), (grid, grid))
    return Frame.resize_crop(size, side, side, (grid, grid), compat=draw(st.sampled_from(["paper", "reference"])))


@st.composite
def boxes(draw, frame):
    """Boxes that touch the image: a corner inside, any size, down to slivers."""
    width, height = frame.image_size
    x, y = draw(st.floats(0, width * 0.999)), draw(st.floats(0, height * 0.999))
    w, h = (draw(st.sampled_from([1e-6, 0.3, 5.0, 77.7, 1e4])) for _ in range(2))
    return Box(x - w / 2 * draw(UNIT), y - h / 2 * draw(UNIT), x + w, y + h)


@st.composite
def regions(draw, frame):
    width, height = frame.image_size
    points = st.tuples(st.floats(0, width), st.floats(0, height))
    kind = draw(st.sampled_from(["point", "box", "box-set", "mask", "trace", "patch", "image"]))
    match kind:
        case "point":
            return Point(tuple(draw(st.lists(points, min_size=1, max_size=3))))
        case "box":
            return draw(boxes(frame))
        case "box-set":
            return BoxSet(tuple(draw(st.lists(boxes(frame), min_size=1, max_size=4))))
        case "mask":
            bitmap = np.zeros((height, width), dtype=bool)
            for x, y in draw(st.lists(points, min_size=1, max_size=4)):
                bitmap[min(int(y), height - 1), min(int(x), width - 1)] = True
            return Mask(bitmap)
        case "trace":
            return Trace((*draw(st.lists(points, min_size=1, max_size=6)), (-3.0, 1e6)))
        case "patch":
            rows, columns = draw(GRIDS), draw(GRIDS)
            return Patch(draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1)), rows, columns)
    return WholeImage()


ALL_RULES = st.builds(
    Rules,
    st.sampled_from(["intersect", "coverage", "reference"]),
    st.sampled_from(["per_patch", "per_box"]),
    st.sampled_from(["any", "area"]),
)


@given(st.data(), frames(), ALL_RULES)
@settings(max_examples=100, deadline=None)
def test_any_region_that_touches_its_image_has_finite_positive_weights(data, frame, rules):
    region = data.draw(regions(frame))
    weights = patch_weights(region, frame, rules)
    assert weights.shape == frame.grid
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum() > 0
    box = bounding_box(region, frame.image_size)
    assert box.x1 >= 0
    assert box.y1 >= 0
    assert box.x2 <= frame.image_size[0]
    assert box.y2 <= frame.image_size[1]
    assert region_mask(region, frame.image_size).any()


@given(st.data(), frames(), ALL_RULES)
@settings(max_examples=60, deadline=None)
def test_order_of_boxes_and_points_does_not_matter(data, frame, rules):
    some = data.draw(st.lists(boxes(frame), min_size=2, max_size=5))
    turned = data.draw(st.permutations(some))
    one, other = (patch_weights(BoxSet(tuple(each)), frame, rules) for each in (some, turned))
    assert one == pytest.approx(other)
    points = [(box.x2 - box.x1, box.y2 - box.y1) for box in some] + [(0.0, 0.0)]
    assert np.array_equal(patch_weights(Trace(tuple(points)), frame), patch_weights(Trace(tuple(points[::-1])), frame))


@given(st.data(), frames())
@settings(max_examples=60, deadline=None)
def test_coverage_never_leaves_what_intersect_touches(data, frame):
    box = data.draw(boxes(frame))
    touched = patch_weights(box, frame, Rules("intersect")) > 0
    covered = patch_weights(box, frame, Rules("coverage"))
    assert not covered[~touched].any()
    assert (covered <= 1 + 1e-9).all()


@given(SIDES, SIDES, GRIDS, st.data())
@settings(max_examples=100, deadline=None)
def test_a_box_around_one_patch_is_that_patch(width, height, grid, data):
    frame = Frame.squash((width, height), (grid * 14, grid * 14), (grid, grid))
    row, column = data.draw(st.integers(0, grid - 1)), data.draw(st.integers(0, grid - 1))
    patch = Patch(row, column, grid, grid)
    exact = block((row, row + 1), (column, column + 1), (grid, grid))
    box = bounding_box(patch, (width, height))
    assert np.array_equal(patch_weights(patch, frame), exact)
    assert np.array_equal(patch_weights(box, frame), exact)
    assert patch_weights(box, frame, Rules("coverage")) == pytest.approx(exact)


@given(st.data(), st.integers(8, 200), GRIDS, ALL_RULES)
@settings(max_examples=60, deadline=None)
def test_squash_and_crop_agree_on_square_images(data, side, grid, rules):
    squash = Frame.squash((side, side), (grid * 14, grid * 14), (grid, grid))
    crop = Frame.resize_crop((side, side), grid * 14, grid * 14, (grid, grid))
    region = data.draw(regions(squash))
    assert np.array_equal(patch_weights(region, squash, rules), patch_weights(region, crop, rules))


@given(st.data(), frames())
@settings(max_examples=60, deadline=None)
def test_area_of_a_box_shaped_mask_is_its_coverage(data, frame):
    width, height = frame.image_size
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    bitmap = np.zeros((height, width), dtype=bool)
    bitmap[y1:y2, x1:x2] = True
    box = Box(x1, y1, x2, y2)
    area = patch_weights(Mask(bitmap), frame, Rules(mask_rule="area"))
    covered = patch_weights(box, frame, Rules("coverage"))
    assert area == pytest.approx(covered, abs=1e-9)
    if covered.max() > 1e-6:
        assert np.array_equal(patch_weights(Mask(bitmap), frame) > 0, covered > 0)


# --- the released code ------------------------------------------------------------------------------------------------


def test_released_patch_slices_of_real_boxes():
    rows = zip(GOLDEN["real_rows_id_w_h_x1y1x2y2"], GOLDEN["real_patch_slices_y0y1x0x1"], strict=True)
    differs = 0
    for (_, width, height, *corners), (y0, y1, x0, x1) in rows:
        frame = Frame.squash((int(width), int(height)), (518, 518), (37, 37))
        expected = block((y0, y1), (x0, x1), (37, 37))
        assert np.array_equal(patch_weights(Box(*corners), frame, REFERENCE), expected)
        differs += not np.array_equal(patch_weights(Box(*corners), frame), expected)
    # The two rules disagree on half of all boxes, which is why both exist.
    assert differs > 0.375 * len(GOLDEN["real_rows_id_w_h_x1y1x2y2"])


@pytest.mark.parametrize("grid", [7, 14, 32, 37, 40])
@pytest.mark.parametrize("trace", [0, 1])
def test_released_trace_grids(grid, trace):
    points = GOLDEN[f"trace_points_{trace}"]
    frame = Frame.squash((1024, 1024), (grid * 14, grid * 14), (grid, grid))
    weights = patch_weights(Trace.from_normalised(points.tolist(), (1024, 1024)), frame)
    assert np.array_equal(weights, GOLDEN[f"trace_grid_n{grid}"][trace])


@pytest.mark.parametrize("grid", [7, 14, 37])
def test_points_on_patch_edges_fall_as_in_the_released_code_at_any_image_size(grid):
    """int(x / (1 / G)) of x normalised to the image: a detour over the frame's pixels would lose a patch here."""
    width = 640
    frame = Frame.squash((width, width), (grid * 14, grid * 14), (grid, grid))
    for edge in range(grid):
        x = edge / grid * width
        expected = int((x / width) / (1 / grid))
        weights = patch_weights(Trace(((x, 0.0),)), frame)
        assert weights[0].argmax() == expected


def test_a_mask_on_a_large_picture_is_cheap():
    """Of a picture of 48 million pixels only the rows and columns of the mask are looked at closely."""
    bitmap = np.zeros((6000, 8000), dtype=bool)
    bitmap[3000:3100, 2000:2200] = True
    frame = Frame.squash((8000, 6000), (518, 518), (37, 37))
    tracemalloc.start()
    weights = patch_weights(Mask(bitmap), frame, Rules(mask_rule="area"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(weights.sum() * (8000 / 37) * (6000 / 37), 100 * 200)
    assert peak < 10_000_000, "a full picture of float64 would be 384 MB"


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31), st.integers(1, 9))
def test_shares_of_a_mask_are_its_pixels_cut_by_the_patches(width, height, seed, cells):
    """Held against a mask that is enlarged until every patch edge lies on a pixel edge, and counted."""
    bitmap = np.random.default_rng(seed).random((height, width)) < 0.2
    bitmap[seed % height, seed % width] = True
    frame = Frame.squash((width, height), (cells * 4, cells * 4), (cells, cells))
    enlarged = bitmap.repeat(cells, 0).repeat(cells, 1)
    counted = enlarged.reshape(cells, height, cells, width).sum((1, 3)) / (height * width)
    np.testing.assert_allclose(patch_weights(Mask(bitmap), frame, Rules(mask_rule="area")), counted, atol=1e-12)


@pytest.mark.parametrize("side", [224, 336, 378, 448])
def test_points_on_the_right_and_bottom_edge_count_after_a_crop(side):
    for length in range(side, 926):
        for size, edge in (((length, length + 100), (length, 40.0)), ((length + 100, length), (length / 2, length))):
            frame = Frame.resize_crop(size, side, side, (14, 14))
            middle = (size[0] / 2, size[1] / 2)
            edge = edge if size[0] > size[1] else (float(length), size[1] / 2)
            assert patch_weights(Trace((edge, middle)), frame).sum() == 2, size
