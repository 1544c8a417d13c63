"""Overlap of chosen candidates with targets: mIoU and oIoU, from pixels, boxes and what a data set states."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import Box, Mask, Point, WholeImage
from regionkit.core.testing import check_metric, example_referring
from regionkit.plugins.caption_metrics.regions.referring import ReferringIou
from regionkit.registry.assembly import build


def mask(rows: slice, columns: slice, size: tuple[int, int] = (6, 8)) -> Mask:
    bitmap = np.zeros(size, dtype=np.bool_)
    bitmap[rows, columns] = True
    return Mask(bitmap)


def referring(region, *candidates, **info) -> Sample:
    return Sample("s1", "i1", region, ("the dog",), info, candidates)


def judged(*pairs: tuple[Sample, str]):
    metric = ReferringIou()
    metric.update([sample for sample, _ in pairs], [answer for _, answer in pairs])
    return metric.compute()


def test_every_expression_counts_with_the_overlap_of_what_was_chosen():
    metric, samples = ReferringIou(), example_referring(3)
    metric.update(samples, ["0", "0", "1"])
    score = metric.compute()
    assert score.per_sample == (1.0, 0.0, 0.1)
    assert score.value == pytest.approx(1.1 / 3)


def test_masks_are_compared_pixel_by_pixel_and_large_ones_count_more_overall():
    target, half, apart = mask(slice(0, 4), slice(0, 4)), mask(slice(0, 4), slice(2, 6)), mask(slice(5, 6), slice(7, 8))
    # 8 of 24 pixels; 16 of 16; 0 of 2
    score = judged(
        (referring(target, half, target), "0"), (referring(target, half, target), "1"), (referring(apart, half), "0")
    )
    assert score.per_sample == pytest.approx((8 / 24, 1.0, 0.0))
    assert score.value == score.parts[""].value == pytest.approx((8 / 24 + 1) / 3)
    assert score.parts["overall"].value == pytest.approx(24 / (24 + 16 + 17))
    assert score.parts["overall"].statistics.tolist() == [[8, 24], [16, 16], [0, 17]]
    assert score.signature == "referring-iou|average=expressions|choice=argmax of log-likelihood|n=3"
    assert score.parts["overall"].signature.startswith("referring-iou-overall|average=pixels|")


def test_what_a_data_set_states_of_masks_is_not_needed_and_not_believed():
    target = mask(slice(0, 2), slice(0, 2))
    assert judged((referring(target, target, overlaps=[0.5]), "0")).value == 1.0


def test_boxes_have_exact_areas_and_a_box_against_a_mask_is_its_pixels():
    quarter = referring(Box(0, 0, 1, 1), Box(0.5, 0.5, 1.5, 1.5))
    against_mask = referring(mask(slice(0, 2), slice(0, 2)), Box(0, 0, 2, 1))
    score = judged((quarter, "0"), (against_mask, "0"))
    assert score.per_sample == pytest.approx((0.25 / 1.75, 0.5))
    assert score.parts["overall"].value == pytest.approx(2.25 / 5.75)


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_boxes_of_whole_pixels_are_worth_their_masks(corners):
    pairs, twins = [], []
    for x, y, u, v in corners:
        boxes = [Box(x, y, x + 2, y + 1), Box(u, v, u + 1, v + 3)]
        masks = [mask(slice(int(b.y1), int(b.y2)), slice(int(b.x1), int(b.x2)), (8, 8)) for b in boxes]
        pairs.append((referring(boxes[0], boxes[1]), "0"))
        twins.append((referring(masks[0], masks[1]), "0"))
    of_boxes, of_masks = judged(*pairs), judged(*twins)
    assert of_boxes.per_sample == pytest.approx(of_masks.per_sample)
    assert of_boxes.parts["overall"].value == pytest.approx(of_masks.parts["overall"].value)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("3", id="beyond"),
        pytest.param("-1", id="negative"),
        pytest.param("a red dog", id="a-caption"),
        pytest.param("1" * 5000, id="more-digits-than-python-reads"),
    ],
)
def test_what_is_no_position_is_refused(answer):
    with pytest.raises(DataError, match=r"referring-iou: the answer .* to sample '0' is no number below 3"):
        ReferringIou().update(example_referring(1), [answer])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        pytest.param(
            referring(Box(0, 0, 2, 2), Point.at(1, 1)),
            "sample 's1' compares regions of kinds 'point' and 'box'",
            id="no-area",
        ),
        pytest.param(referring(Box(0, 0, 2, 2), WholeImage()), "regions of kinds 'image' and 'box'", id="no-size"),
        pytest.param(
            referring(mask(slice(0, 1), slice(0, 1), (4, 4)), mask(slice(0, 1), slice(0, 1), (5, 4))),
            "referring-iou: sample 's1': ",
            id="masks-of-two-sizes",
        ),
    ],
)
def test_regions_that_cannot_be_compared_are_named(sample, message):
    with pytest.raises(DataError, match=message):
        judged((sample, "0"))


def test_in_the_mini_world_pixels_give_the_overlaps_that_it_states():
    samples = build("dataset", "mini").samples("ris", "test", 0, 12)
    assert len(samples) >= 3
    for sample in samples:
        for position, overlap in enumerate(sample.info["overlaps"]):
            assert judged((sample, str(position))).value == pytest.approx(overlap, abs=1e-12)


def test_conforms():
    check_metric(ReferringIou, example_referring())
    target, other = mask(slice(0, 4), slice(0, 4)), mask(slice(2, 6), slice(2, 8))
    samples = [
        dataclasses.replace(referring((target, other)[at % 2], target, other), id=str(at), image_id=str(at))
        for at in range(4)
    ]
    check_metric(ReferringIou, samples)
