"""Regions that mean harm, and every region there is: a weight for each patch or a sentence, never NaN, never slow."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core import region_io
from regionkit.core.errors import RegionError, RegionkitError
from regionkit.core.frames import Frame
from regionkit.core.geometry import Rules, patch_weights
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Trace, WholeImage

HUGE = 10**400


@pytest.mark.parametrize(
    ("record", "message"),
    [
        pytest.param({"box": [math.nan, 0, 1, 1]}, "not a finite number", id="nan"),
        pytest.param({"box": [0, 0, math.inf, 1]}, "not a finite number", id="inf"),
        pytest.param({"box": [0, 0, HUGE, 1]}, "int too large", id="huge"),
        pytest.param({"box": [5, 5, 1, 1]}, "box 5,5,1,1 has no area", id="inverted"),
        pytest.param({"box": ["1", "2", "3", "4"]}, '"1" is not a number', id="texts"),
        pytest.param({"box": [False, False, True, True]}, "false is not a number", id="truth"),
        pytest.param({"box": None}, "unexpected value", id="null"),
        pytest.param({"point": "12"}, '"1" is not a number', id="point-text"),
        pytest.param({"points": [[[1, 2]]]}, "unexpected value", id="nested-point"),
        pytest.param({"trace": [[1, 2], [1, 2, 3]]}, "every point of a trace is x,y, or", id="mixed"),
        pytest.param({"trace": ["ab", "cd"]}, '"a" is not a number', id="trace-text"),
        pytest.param({"trace": [[HUGE, 1]]}, "int too large", id="trace-huge"),
        pytest.param({"patch": [math.inf, 0, 1, 1]}, "not whole numbers", id="patch-inf"),
        pytest.param({"patch": [math.nan, 0, 1, 1]}, "not whole numbers", id="patch-nan"),
        pytest.param({"mask": 3}, "3 is no file name", id="mask-number"),
        pytest.param({"mask": {"size": [10**9, 10**9], "counts": [0, 10**18]}}, "is larger than any", id="rle-huge"),
        pytest.param({"mask": {"size": [2, 2], "counts": [-1, 5]}}, "run lengths add up to 4", id="rle-negative"),
        pytest.param({"mask": {"size": [-2, -2], "counts": [0, 4]}}, "its size -2 x -2", id="rle-negative-size"),
        pytest.param({"mask": {"size": [math.inf, 2], "counts": [4]}}, "unreadable: cannot convert", id="rle-inf"),
        pytest.param({"mask": {"size": [2, 2], "counts": [HUGE, 4 - HUGE]}}, "run lengths", id="rle-huge-runs"),
        pytest.param({"mask": {"size": [2, 2], "counts": "o" * 10**6}}, "does not end", id="rle-endless"),
        pytest.param({"mask": {"size": [2, 2], "counts": "\ud800"}}, "unexpected character", id="rle-surrogate"),
        pytest.param({"mask": {"size": [0, 0], "counts": []}}, "covers no pixel", id="rle-empty"),
        pytest.param({"whole": 1}, "unexpected value", id="whole"),
        pytest.param({"box": json.loads("[" * 900 + "]" * 900)}, "is not a number", id="deep"),
    ],
)
def test_records_that_cannot_be(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    start = time.process_time()
    with pytest.raises(RegionError, match=message):
        region_io.read_record(record, tmp_path)
    assert time.process_time() - start < 1


@pytest.mark.timeout(30)
def test_files_of_regions(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "digits.json").write_text('{"size": [2, 2], "counts": [' + "1" * 5000 + "]}")
    os.mkfifo(tmp_path / "pipe.json")
    for name, message in [
        ("deep.json", "not JSON: maximum recursion"),
        ("digits.json", "not JSON: Exceeds the limit"),
        ("pipe.json", "is a pipe or a device"),
        ("a" * 5000, "File name too long"),
        ("a\0b.json", "null byte"),
    ]:
        with pytest.raises(RegionkitError, match=message):
            region_io.read_record({"mask": name}, tmp_path)
    with pytest.raises(RegionError, match="maximum recursion"):
        region_io.parse_trace(str(tmp_path / "deep.json"))
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf1,2\r\n\r\n3,4\r\n")
    assert region_io.parse_trace(str(tmp_path / "mark.txt")) == Trace(((1, 2), (3, 4)))


@pytest.mark.slow
def test_a_trace_of_a_million_points_is_read_and_pooled() -> None:
    trace = region_io.read_record({"trace": [[n % 100, n % 90] for n in range(1_000_000)]}, Path())
    frame = Frame.squash((100, 90), (224, 224), (14, 14))
    assert patch_weights(trace, frame).sum() == 1_000_000


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    size = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    grid = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if draw(st.booleans()):
        return Frame.squash(size, (draw(st.integers(1, 600)), draw(st.integers(1, 600))), grid)
    resize = draw(st.integers(1, 600))
    return Frame.resize_crop(
        size, resize, draw(st.integers(1, resize)), grid, draw(st.sampled_from(("paper", "reference")))
    )


@st.composite
def inside(draw: st.DrawFn, width: int, height: int) -> Any:
    """Draw a region that lies in the image at least in part."""
    x, y = st.floats(0, width), st.floats(0, height)
    far = st.floats(-1e308, 1e308)

    def box() -> Box:
        x1, y1 = (draw(st.floats(-1e308, side, exclude_max=True)) for side in (width, height))
        x2 = draw(st.floats(max(x1, 0.0), 1e308, exclude_min=True))
        return Box(x1, y1, x2, draw(st.floats(max(y1, 0.0), 1e308, exclude_min=True)))

    match draw(st.sampled_from(("box", "boxes", "point", "trace", "patch", "mask", "whole"))):
        case "box":
            return box()
        case "boxes":
            return BoxSet(tuple(box() for _ in range(draw(st.integers(1, 4)))))
        case "point":
            return Point(tuple(draw(st.lists(st.tuples(x, y), min_size=1, max_size=3))))
        case "trace":
            return Trace((draw(st.tuples(x, y)), *draw(st.lists(st.tuples(far, far), max_size=4))))
        case "patch":
            rows, columns = draw(st.integers(1, 10**6)), draw(st.integers(1, 10**6))
            return Patch(draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1)), rows, columns)
        case "mask":
            bitmap = np.zeros((height, width), dtype=bool)
            top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
            bitmap[top : top + draw(st.integers(1, 9)), left : left + draw(st.integers(1, 9))] = True
            return Mask(bitmap)
    return WholeImage()


RULES = st.builds(
    Rules,
    st.sampled_from(("intersect", "coverage", "reference")),
    st.sampled_from(("per_patch", "per_box")),
    st.sampled_from(("any", "area")),
)


@given(frames(), RULES, st.data())
def test_any_region_in_any_image_weighs_something_on_any_grid(frame: Frame, rules: Rules, data: st.DataObject) -> None:
    region = data.draw(inside(*frame.image_size))
    weights = patch_weights(region, frame, rules)
    assert weights.shape == frame.grid
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum() > 0


@given(frames(), RULES, st.data())
def test_what_lies_outside_its_image_is_an_error(frame: Frame, rules: Rules, data: st.DataObject) -> None:
    width, height = frame.image_size
    beyond = st.floats(width, 1e300, exclude_min=True)
    x = data.draw(st.one_of(beyond, st.floats(-1e300, -1e-6)))
    region = data.draw(
        st.sampled_from(
            (
                Point.at(x, 0),
                Trace(((x, 0.0), (x, float(height)))),
                Box(x, 0, x + abs(x), 1) if x > 0 else Box(2 * x, 0, x, 1),
                Mask(np.ones((height + 1, width), dtype=bool)),
            )
        )
    )
    with pytest.raises(RegionError):
        patch_weights(region, frame, rules)
