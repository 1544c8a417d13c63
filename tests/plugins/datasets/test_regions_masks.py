"""Masks of polygons and run lengths: what comes out, and what no C code gets to see."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from regions_layouts import bitmap, rectangle

from regionkit.core.data.masks import bitmap_record, checked_size, mask_record, overlaps
from regionkit.core.data.records import Unusable
from regionkit.core.errors import MissingExtra, RegionError
from regionkit.core.region_io import run_lengths
from regionkit.core.regions import Mask

INSIDE = bitmap(5, 6, slice(1, 4), slice(2, 5))


def pixels(record: dict[str, Any]) -> np.ndarray:
    return Mask.from_rle(record["mask"]).bitmap


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param(rectangle(2, 1, 5, 4), id="polygon"),
        pytest.param([[2, 1, 4, 1, 4, 4, 2, 4], [3, 1, 5, 1, 5, 4, 3, 4]], id="polygons-are-joined"),
        pytest.param([[2, 1, 3, 1], *rectangle(2, 1, 5, 4)], id="a-line-of-two-points-is-no-box"),
        pytest.param(run_lengths(INSIDE), id="run-lengths"),
        pytest.param({"size": [5.0, 6], "counts": [float(run) for run in run_lengths(INSIDE)["counts"]]}, id="floats"),
        pytest.param(bitmap_record(INSIDE)["mask"], id="compressed"),
    ],
)
def test_every_form_comes_to_the_same_pixels(segmentation: Any) -> None:
    record = mask_record(segmentation, 5, 6)
    assert record["mask"]["size"] == [5, 6]
    assert isinstance(record["mask"]["counts"], str)
    assert np.array_equal(pixels(record), INSIDE)


def test_a_polygon_is_cut_off_at_the_border() -> None:
    assert np.array_equal(pixels(mask_record(rectangle(-3, -2, 2, 9), 5, 6)), bitmap(5, 6, slice(0, 5), slice(0, 2)))


def test_overlaps_are_ious() -> None:
    target = mask_record(rectangle(0, 0, 4, 4), 8, 8)
    others = [target, mask_record(rectangle(2, 0, 6, 4), 8, 8), mask_record(rectangle(4, 4, 8, 8), 8, 8)]
    assert overlaps(target, others) == pytest.approx([1, 1 / 3, 0])
    assert overlaps(target, []) == []


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        pytest.param([], "its segmentation is neither polygons nor run lengths", id="empty"),
        pytest.param("2 1 5 4", "its segmentation is neither polygons nor run lengths", id="text"),
        pytest.param([2, 1, 5, 1, 5, 4], "no list of x, y, x, y, ...", id="flat"),
        pytest.param([[1, 2, 3]], "no list of x, y, x, y, ...", id="odd"),
        pytest.param([[2, 1, 3, 3]], "fewer than three points", id="four-numbers-that-C-takes-for-a-box"),
        pytest.param([[2, 1, True, 1, 5, 4]], "has True where a coordinate", id="truth-value"),
        pytest.param([[2, 1, "5", 1, 5, 4]], "has '5' where a coordinate", id="word"),
        pytest.param([[2, 1, float("nan"), 1, 5, 4]], "has nan where a coordinate", id="nan"),
        pytest.param([[2, 1, 1e300, 1, 5, 4]], "a point at 1e+300, far outside", id="huge"),
        pytest.param(
            [[2, 1, 10**5000, 1, 5, 4]], "a number of more than 64 bits, far outside", id="thousands-of-digits"
        ),
        pytest.param(rectangle(7, 6, 8, 8), "covers no pixel", id="outside"),
        pytest.param(rectangle(1, 1, 1, 4), "covers no pixel", id="a-line"),
        pytest.param({"size": [6, 5], "counts": [0, 30]}, "has the size [6, 5], and its picture [5, 6]", id="turned"),
        pytest.param(
            {"size": [5, 7], "counts": [0, 35]}, "has the size [5, 7], and its picture [5, 6]", id="other-size"
        ),
        pytest.param({"size": [10**30, 6], "counts": [1]}, "which is no size", id="no-size"),
        pytest.param({"size": [5, 6], "counts": [0, 31]}, "add up to 31, its size 5 x 6 needs 30", id="too-long"),
        pytest.param({"size": [5, 6], "counts": [30]}, "covers no pixel", id="nothing"),
        pytest.param({"size": [5, 6], "counts": [-1, 31]}, "a run length of its mask is -1", id="negative"),
        pytest.param({"size": [5, 6], "counts": [0.5, 29.5]}, "a run length of its mask is 0.5", id="half"),
        pytest.param({"size": [5, 6], "counts": [10**5000]}, "is a number of more than 64 bits", id="huge-run"),
        pytest.param({"size": [5, 6], "counts": "zz\x00"}, "is unreadable: unexpected character", id="hostile-string"),
        pytest.param({"size": [5, 6], "counts": None}, "no list and no text", id="no-counts"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation: Any, reason: str) -> None:
    with pytest.raises((Unusable, RegionError)) as caught:
        mask_record(segmentation, 5, 6)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [
        pytest.param(0, 6, "height 0 and the width 6", id="nought"),
        pytest.param(5.5, 6, "height 5.5", id="broken"),
        pytest.param("5", 6, "height '5'", id="text"),
        pytest.param(None, 6, "height None", id="none"),
        pytest.param(10**9, 6, "height 1000000000", id="huge"),
        pytest.param(50_000, 50_000, "larger than any that can be opened", id="too-many-pixels"),
        pytest.param(float("nan"), 6, "height nan", id="nan"),
    ],
)
def test_sizes_that_no_picture_has(height: Any, width: Any, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        checked_size(height, width)
    assert reason in str(caught.value)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtra, match=r"pip install 'regionkit\[data\]'"):
        mask_record(rectangle(2, 1, 5, 4), 5, 6)
