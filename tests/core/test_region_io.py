from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regionkit.core import region_io
from regionkit.core.errors import RegionError
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Trace, WholeImage

RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(Point(((1.0, 2.0), (3.5, 4.0))), id="points"),
        pytest.param(Box(1, 2, 3, 4.5), id="box"),
        pytest.param(BoxSet((Box(1, 2, 3, 4), Box(0, 0, 9, 9))), id="box-set"),
        pytest.param(Trace(((1.0, 2.0), (3.0, 4.0))), id="trace"),
        pytest.param(Trace(((1.0, 2.0), (3.0, 4.0)), (0.0, 0.5)), id="timed-trace"),
        pytest.param(Patch(1, 2, 3, 4), id="patch"),
        pytest.param(WholeImage(), id="image"),
    ],
)
def test_records_round_trip(region, tmp_path):
    record = json.loads(json.dumps(region_io.to_record(region)))
    assert region_io.read_record(record, tmp_path) == region


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_masks_round_trip(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    mask = Mask(np.array(bits).reshape(height, width))
    record = json.loads(json.dumps(region_io.to_record(mask)))
    np.testing.assert_array_equal(Mask.from_rle(record["mask"]).bitmap, mask.bitmap)


def test_mask_tracks_round_trip(tmp_path):
    track = MaskTrack((None, Mask(RING)))
    back = region_io.read_record(region_io.to_record(track), tmp_path)
    assert back.masks[0] is None
    np.testing.assert_array_equal(back.masks[1].bitmap, RING)


@pytest.mark.parametrize(
    ("read", "text", "region"),
    [
        pytest.param(region_io.parse_box, "1,2,3.5,4", Box(1, 2, 3.5, 4), id="box"),
        pytest.param(region_io.parse_box, "1, 2, 3, 4", Box(1, 2, 3, 4), id="box-spaces"),
        pytest.param(region_io.parse_box, "[1,2,3,4]", Box(1, 2, 3, 4), id="box-brackets"),
        pytest.param(region_io.parse_boxes, "1,2,3,4;5,6,7,8", BoxSet((Box(1, 2, 3, 4), Box(5, 6, 7, 8))), id="boxes"),
        pytest.param(region_io.parse_point, "5,6", Point.at(5, 6), id="point"),
        pytest.param(region_io.parse_point, "5,6 7,8", Point(((5, 6), (7, 8))), id="clicks"),
        pytest.param(region_io.parse_trace, "5,6 7,8", Trace(((5, 6), (7, 8))), id="trace"),
    ],
)
def test_command_line_values(read, text, region):
    assert read(text) == region


@pytest.mark.parametrize(
    ("content", "region"),
    [
        pytest.param("1,2\n3,4\n", Trace(((1, 2), (3, 4))), id="lines"),
        pytest.param("1,2,0\n3,4,0.5\n", Trace(((1, 2), (3, 4)), (0, 0.5)), id="timed-lines"),
        pytest.param("1, 2\n\n3, 4\n", Trace(((1, 2), (3, 4))), id="lines-with-spaces"),
        pytest.param("[[1, 2], [3, 4]]", Trace(((1, 2), (3, 4))), id="json"),
    ],
)
def test_trace_files(content, region, tmp_path):
    file = tmp_path / "trace.txt"
    file.write_text(content)
    assert region_io.parse_trace(str(file)) == region


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("[[]]", "every point of a trace is x,y, or every point is x,y,seconds", id="no-numbers"),
        pytest.param('[{"x": 1, "y": 2}]', "every point of a trace is x,y, or every", id="objects"),
        pytest.param("[1, 2]", "every point of a trace is x,y, or every", id="flat"),
        pytest.param("1\n2\n", "every point of a trace is x,y, or every point is x,y,seconds", id="one-number"),
        pytest.param("1,2\n3,4,5\n", "every point of a trace is x,y, or every", id="half-timed"),
        pytest.param("", "a trace holds no point", id="empty"),
        pytest.param("[]", "a trace holds no point", id="empty-json"),
        pytest.param("[[1, 2, NaN]]", "a trace has a time that is not a finite number", id="time"),
    ],
)
def test_trace_files_that_cannot_be_read(content, reason, tmp_path):
    file = tmp_path / "trace.txt"
    file.write_text(content)
    with pytest.raises(RegionError) as caught:
        region_io.parse_trace(str(file))
    assert reason in str(caught.value)


def test_a_trace_longer_than_a_file_name_can_be():
    points = tuple((float(x), 5.0) for x in range(2000))
    assert region_io.parse_trace(" ".join(f"{x:g},{y:g}" for x, y in points)) == Trace(points)


def test_box_files(tmp_path):
    file = tmp_path / "boxes.txt"
    file.write_text("1,2,3,4\n\n5,6,7,8\n")
    assert region_io.parse_boxes(str(file)) == BoxSet((Box(1, 2, 3, 4), Box(5, 6, 7, 8)))


@pytest.mark.parametrize("suffix", ["png", "json"])
def test_mask_files(tmp_path, suffix):
    file = tmp_path / f"mask.{suffix}"
    if suffix == "png":
        Image.fromarray(RING.astype(np.uint8) * 255).save(file)
    else:
        file.write_text(json.dumps(region_io.run_lengths(RING)))
    np.testing.assert_array_equal(region_io.parse_mask(str(file)).bitmap, RING)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        pytest.param(
            region_io.parse_box,
            "1,2,3",
            "--box 1,2,3: 4 numbers are needed, here are 3\n  write --box x1,y1,x2,y2",
            id="three-numbers",
        ),
        pytest.param(region_io.parse_box, "1,2,x,4", "--box 1,2,x,4: 'x' is not a number", id="letter"),
        pytest.param(
            region_io.parse_box,
            "5,5,5,9",
            "box 5,5,5,9 has no area\n  boxes are x1,y1,x2,y2 with x2 > x1 and y2 > y1\n"
            "  from x,y,width,height write x,y,x+width,y+height, in Python Box.from_xywh(x, y, width, height)",
            id="no-area",
        ),
        pytest.param(
            region_io.parse_box, "1,2,nan,4", "a box has a coordinate that is not a finite number", id="not-a-number"
        ),
        pytest.param(
            region_io.parse_point,
            "5",
            "--point 5: points are x,y\n  write --point 'x,y' or --point 'x,y x,y ...'",
            id="half-a-point",
        ),
        pytest.param(
            region_io.parse_boxes, ";", "a box set holds no box\n  give at least one box x1,y1,x2,y2", id="none"
        ),
        pytest.param(region_io.parse_trace, "nothere.txt", "nothere.txt: No such file or directory", id="no-file"),
    ],
)
def test_command_line_mistakes(read, text, message):
    with pytest.raises(RegionError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("record", "message"),
    [
        pytest.param([1, 2], 'a region is a JSON object such as {"box": [x1, y1, x2, y2]}, not [1, 2]', id="list"),
        pytest.param(
            {"bxo": [1, 2, 3, 4]},
            "a region has exactly one of the keys point, points, box, boxes, trace, mask, patch, whole, mask_track; "
            "this one has bxo\n  did you mean: box",
            id="typo",
        ),
        pytest.param(
            {"box": [1, 2, 3]},
            "region 'box' has an unexpected value: 4 numbers are needed, here are 3\n  write it as [x1, y1, x2, y2]",
            id="short-box",
        ),
        pytest.param(
            {"trace": [[1, 2], [1, 2, 3]]},
            "region 'trace' has an unexpected value: every point of a trace is x,y, or every point is x,y,seconds\n"
            "  write it as [[x, y], ...] or [[x, y, seconds], ...]",
            id="half-timed",
        ),
        pytest.param(
            {"patch": [0.5, 0, 4, 4]},
            "region 'patch' has an unexpected value: [0.5, 0, 4, 4] are not whole numbers\n"
            "  write it as [row, column, rows, columns]",
            id="half-a-patch",
        ),
        pytest.param(
            {"whole": False}, "region 'whole' has an unexpected value: false\n  write it as true", id="not-whole"
        ),
        pytest.param(
            {"mask": {"size": [2, 2], "counts": [1, 2]}},
            "a mask's run lengths add up to 3, its size 2 x 2 needs 4",
            id="short-mask",
        ),
    ],
)
def test_record_mistakes(record, message, tmp_path):
    with pytest.raises(RegionError) as caught:
        region_io.read_record(record, tmp_path)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("region", "small"),
    [
        pytest.param(Box(0.1, 0.2, 0.5, 0.6), True, id="box"),
        pytest.param(Box(0, 0, 2, 1), False, id="pixels"),
        pytest.param(Trace(((0.1, 0.2), (1.0, 1.0))), True, id="trace"),
        pytest.param(Point.at(0.5, 1.5), False, id="point"),
        pytest.param(WholeImage(), False, id="image"),
    ],
)
def test_coordinates_that_look_normalised(region, small):
    assert region_io.looks_normalised(region) is small
