"""Region types: conversions at the edge, run-length encodings, and what is refused with which words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import RegionError
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Regions, Trace, WholeImage

# Two columns of three pixels; the runs go down the columns: 1 off, 2 on, 1 off, 1 on, 1 off.
BITMAP = np.array([[0, 0], [1, 1], [1, 0]], dtype=bool)


def compress(runs: list[int]) -> str:
    """COCO's string form, written from its description: differences from the fourth run on, 5 bits a character."""
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            text += chr((code | (0x20 if more else 0)) + 48)
    return text


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([1, 2, 1, 1, 1], id="list"),
        pytest.param("121O0", id="string-by-hand"),  # 1, 2, 1, then 1 - 2 = -1 ("O" is 31 + 48), then 1 - 1 = 0
        pytest.param(compress([1, 2, 1, 1, 1]), id="string"),
        pytest.param(compress([1, 2, 1, 1, 1]).encode(), id="bytes"),
    ],
)
def test_rle_in_both_forms(counts):
    assert np.array_equal(Mask.from_rle({"size": [3, 2], "counts": counts}).bitmap, BITMAP)


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=12))
def test_rle_string_round_trip(runs):
    size = [sum(runs), 1]
    from_list = Mask.from_rle({"size": size, "counts": runs}).bitmap
    from_string = Mask.from_rle({"size": size, "counts": compress(runs)}).bitmap
    assert np.array_equal(from_list, from_string)
    assert from_list.sum() == sum(runs[1::2])


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        pytest.param({"size": [3, 2], "counts": [1, 2]}, "add up to 3, its size 3 x 2 needs 6", id="short"),
        pytest.param({"size": [3, 2], "counts": [7, -1]}, "add up to 6", id="negative"),
        pytest.param({"size": [3, 2], "counts": "12Q"}, "the string ends inside a number", id="cut"),
        pytest.param({"size": [3, 2], "counts": "1\x7f"}, "unexpected character", id="character"),
        pytest.param({"size": [3, 2]}, "run-length encoding is unreadable: 'counts'", id="no-counts"),
        pytest.param({"size": [3], "counts": [3]}, "unreadable", id="size"),
        pytest.param({"size": [3, 2], "counts": [6]}, "a mask covers no pixel", id="empty"),
    ],
)
def test_broken_rle(rle, words):
    with pytest.raises(RegionError) as caught:
        Mask.from_rle(rle)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: Box(5, 5, 5, 9), "box 5,5,5,9 has no area", id="flat-box"),
        pytest.param(lambda: Box(5, 5, 2, 9), "from x,y,width,height write x,y,x+width,y+height", id="turned-box"),
        pytest.param(
            lambda: Box(0, 0, float("nan"), 9), "a box has a coordinate that is not a finite number", id="nan-box"
        ),
        pytest.param(lambda: BoxSet(()), "a box set holds no box", id="no-box"),
        pytest.param(lambda: Point(()), "a point region holds no point", id="no-point"),
        pytest.param(lambda: Point.at(float("inf"), 0), "not a finite number", id="inf-point"),
        pytest.param(lambda: Trace(()), "a trace holds no point", id="no-trace"),
        pytest.param(lambda: Trace(((0, 0),), (0.0, 1.0)), "a trace has 1 points and 2 times", id="times"),
        pytest.param(lambda: Mask(np.zeros((2, 2), dtype=bool)), "a mask covers no pixel", id="no-pixel"),
        pytest.param(lambda: Mask(np.ones((2, 2))), "this one is float64 (2, 2)", id="mask-dtype"),
        pytest.param(lambda: Mask(np.ones((2, 2, 1), dtype=bool)), "Mask(array > 0)", id="mask-shape"),
        pytest.param(lambda: Patch(2, 0, 2, 2), "patch row 2, column 0 is not in a grid of 2 x 2", id="patch"),
        pytest.param(lambda: MaskTrack((None,)), "a mask track holds no mask", id="track"),
    ],
)
def test_refused_regions(make, words):
    with pytest.raises(RegionError) as caught:
        make()
    assert words in str(caught.value)


def test_conversions_at_the_edge():
    assert Box.from_xywh(1, 2, 3, 4) == Box(1.0, 2.0, 4.0, 6.0)
    assert Box.from_normalised((0.25, 0.5, 1, 1), (640, 480)) == Box(160, 240, 640, 480)
    assert Trace.from_normalised([(0.5, 0.25)], (640, 480), [0.1]) == Trace(((320.0, 120.0),), (0.1,))


def test_regions_keep_the_order_of_their_images():
    regions = Regions.of([[WholeImage()], [], [Point.at(1, 1), Box(0, 0, 1, 1)]])
    assert regions.image == (0, 2, 2)
    assert [region.kind for region in regions.items] == ["image", "point", "box"]
    with pytest.raises(RegionError, match="crop does not take a point region\n  it takes: box, image"):
        regions.require(("box", "image"), "crop")
