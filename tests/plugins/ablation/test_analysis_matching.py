"""Which rows of a grid with holes are compared: what a plain search finds, and soon enough for ten thousand of them."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from regionkit.plugins.ablation.analysis.matching import match


class Row:
    seeds = (0,)

    def __init__(self, **labels):
        self.labels = labels


def grid_of(random, shape, share):
    """Return about such a share of a grid's rows, some of them twice."""
    places = [place for place in product(*map(range, shape)) if random.random() < share]
    return [
        Row(**dict(zip("abc", map(str, place), strict=True))) for place in places for _ in range(random.integers(1, 3))
    ]


def compared(rows, axes, others):
    """Return how many rows are compared, and which labels, counting everything anew whenever a label is left out."""
    kept = [list(dict.fromkeys(row.labels[axis] for row in rows)) for axis in axes]
    held = {}
    for row in rows:
        setting = tuple(row.labels[other] for other in others)
        held.setdefault(setting, []).append(tuple(row.labels[axis] for axis in axes))
    best = (0, None)
    while all(len(labels) > 1 for labels in kept):
        wanted = set(product(*kept))
        whole = [levels for levels in held.values() if wanted <= set(levels)]
        size = sum(level in wanted for levels in whole for level in levels)
        if size > best[0]:
            best = (size, [list(labels) for labels in kept])
        if len(whole) == len(held):
            break
        shares = []
        for axis, labels in enumerate(kept):
            others_of = len(wanted) // len(labels)
            for at, label in enumerate(labels):
                number = sum(
                    len({one for one in levels if one in wanted and one[axis] == label}) for levels in held.values()
                )
                shares.append((number / others_of, -axis, -at))
        _, axis, at = min(shares)
        del kept[-axis][-at]
    return best


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize(
    ("axes", "others"),
    [
        pytest.param(["a"], ["b", "c"], id="one-axis"),
        pytest.param(["a", "b"], ["c"], id="two-axes"),
        pytest.param(["c", "a"], [], id="no-others"),
    ],
)
def test_it_compares_what_a_plain_search_does(axes, others, share):
    random = np.random.default_rng(int(share * 10))
    for _ in range(60):
        rows = grid_of(random, random.integers(2, 6, 3), share)
        size, labels = compared(rows, axes, others) if rows else (0, None)
        found = match(rows, axes, others)
        assert (None if found is None else list(found.levels)) == labels
        assert (0 if found is None else len(found.rows)) == size


def test_a_large_grid_with_holes_takes_no_time():
    """Hundreds of labels are left out one after the other: counting all rows for each took half a minute an axis."""
    rows = grid_of(np.random.default_rng(0), (300, 10, 2), 0.9)
    start = time.perf_counter()
    found = match(rows, ["a"], ["b", "c"]), match(rows, ["a", "b"], ["c"])
    assert time.perf_counter() - start < 5
    assert all(one is not None and len(one.rows) > 50 for one in found)
