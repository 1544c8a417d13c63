"""What tied confidences do to dense captioning."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from plain_dense import image, judge_by_letters, plain_dense

from regionkit.plugins.caption_metrics.regions.dense_precision import evaluate


def tied_images():
    """Five detections of two confidences in two images; two come to one box with captions of different worth."""
    first = image("p", [(0, 0, 4, 4), (0, 0, 4, 5), (8, 8, 9, 9)], [0.5] * 3, "abc", [(0, 0, 4, 4)], [["d"]])
    second = image("q", [(0, 0, 2, 2), (5, 5, 7, 7)], [0.5, 0.9], "ef", [(0, 0, 2, 2), (5, 5, 7, 7)], [["g"], ["a"]])
    return [first, second]


def test_the_expected_value_is_the_mean_over_all_orders():
    images = tied_images()
    keys = [(*key, 4) for key in itertools.permutations(range(4))]  # the fifth detection is surer than the four
    within = [(*key, 3, 4) for key in itertools.permutations(range(3))]
    both = [plain_dense(images, judge_by_letters, taking, ranking) for taking in within for ranking in keys]
    same = [plain_dense(images, judge_by_letters, key, key) for key in keys]
    ties = evaluate(images, judge_by_letters, tie_orders=1000).ties
    assert ties.share == 4 / 5
    assert ties.sorted.exact
    assert ties.broken.exact
    assert (ties.sorted.orders, ties.broken.orders) == (48, 24)
    assert ties.sorted.mean == pytest.approx(np.mean(both), abs=1e-12)
    assert ties.sorted.deviation == pytest.approx(np.std(both), abs=1e-12)
    assert ties.broken.mean == pytest.approx(np.mean(same), abs=1e-12)
    assert ties.sorted.deviation > 0
    assert ties.broken.mean != pytest.approx(ties.sorted.mean, abs=1e-6)
    drawn = evaluate(images, judge_by_letters, tie_orders=40).ties
    assert (drawn.sorted.exact, drawn.sorted.orders, drawn.broken.exact) == (False, 40, True)
    assert drawn.sorted.mean == pytest.approx(ties.sorted.mean, abs=4 * ties.sorted.deviation / 40**0.5)
    assert drawn == evaluate(images, judge_by_letters, tie_orders=40).ties


def test_the_expected_value_of_more_orders_than_can_be_tried_is_an_estimate():
    """Nine equal boxes for one thing, the first with a right caption: each takes the box one time of nine."""
    count, box = 9, (0, 0, 4, 4)
    images = [image("p", [box] * count, [0.5] * count, ["right"] + ["wrong"] * 8, [box], [["right"]])]
    result = evaluate(images, lambda said, _: np.array([float(one == "right") for one in said]), tie_orders=300)
    ties = result.ties
    assert result.value == 1
    assert (ties.share, ties.sorted.orders, ties.broken.orders) == (1, 300, 300)
    assert (ties.sorted.exact, ties.broken.exact) == (False, False)
    # Sorted twice, the place in the ranking has nothing to do with it; with noise, who takes the box is ranked first.
    assert ties.sorted.mean == pytest.approx((1 / np.arange(1, 10)).mean() / 9, abs=0.02)
    assert ties.broken.mean == pytest.approx(1 / 9, abs=0.04)
