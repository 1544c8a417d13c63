"""Orders that are computed: every number stands at one place, and they look shuffled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.data.permutation import Permutation


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 3000), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 100))
def test_every_number_stands_at_one_place(count: int, seed: int, epoch: int) -> None:
    found = Permutation(count, seed, "order", epoch).at(range(count))
    assert np.array_equal(np.sort(found), np.arange(count))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 2**62), seed=st.integers(0, 1000), data=st.data())
def test_numbers_of_any_order_lie_in_it_and_differ(count: int, seed: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, count - 1), max_size=20, unique=True))
    found = Permutation(count, seed).at(np.array(places, dtype=np.int64))
    assert all(0 <= number < count for number in found.tolist())
    assert len(set(found.tolist())) == len(places)


def test_a_place_says_the_same_whatever_is_asked_beside_it() -> None:
    order = Permutation(5_000_000, 3, "order", 2)
    whole = order.at(range(1000, 1064))
    assert [int(order.at(range(place, place + 1))[0]) for place in range(1000, 1064)] == whole.tolist()


def test_orders_are_the_same_on_every_machine() -> None:
    assert Permutation(5_000_000, 0, "x").at(range(3)).tolist() == [856987, 1635154, 2030354]


def test_an_order_looks_shuffled() -> None:
    count = 20_000
    found = Permutation(count, 1, "order", 0).at(range(count)).astype(float)
    other = Permutation(count, 1, "order", 1).at(range(count)).astype(float)
    places = np.arange(count)
    # Correlations of independent orders have a deviation of 0.007 here.
    for first, second in ((found, places), (found[1:], found[:-1]), (found, other)):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    # Numbers of a stretch of places are spread over the whole: no hundredth of the range is left out or crowded.
    spread = np.bincount((found[:5000] // (count / 100)).astype(int), minlength=100)
    assert spread.min() >= 20
    assert spread.max() <= 90


def test_seeds_and_purposes_give_other_orders() -> None:
    orders = [Permutation(500, *key).at(range(500)).tolist() for key in ((0,), (1,), (0, "limit"), (0, "order", 1))]
    assert len(set(map(tuple, orders))) == 4


def test_places_beyond_the_end_are_refused() -> None:
    with pytest.raises(IndexError, match="an order of 4 numbers has places 0 to 3"):
        Permutation(4, 0).at(range(5))
    with pytest.raises(ValueError, match="an order of -1 numbers"):
        Permutation(-1, 0)
