"""Cutting batches into shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import RegionkitError
from regionkit.core.features import RegionTokens
from regionkit.core.sharing import count_rows, rows_of


@dataclass(frozen=True)
class Batch:
    vectors: torch.Tensor
    texts: tuple[str, ...]
    step: int = 3


class Pair(NamedTuple):
    first: list[int]
    second: torch.Tensor


def test_parts_are_cut_alike() -> None:
    tokens = RegionTokens(torch.arange(10.0).reshape(5, 1, 2), torch.ones(5, 1, dtype=torch.bool), "grid/text[2]")
    batch = (tokens, list("abcde"), {"mask": np.arange(5), "scale": torch.tensor(2.0)}, 7, None)
    cut, texts, more, number, nothing = rows_of(batch, 1, 2)
    assert torch.equal(cut.tokens, tokens.tokens[1::2])
    assert (len(cut.mask), cut.space, texts) == (2, "grid/text[2]", ["b", "d"])
    assert more["mask"].tolist() == [1, 3]
    assert (float(more["scale"]), number, nothing) == (2.0, 7, None)


def test_dataclasses_and_named_tuples_keep_their_form() -> None:
    cut = rows_of(Batch(torch.arange(3), ("a", "b", "c")), 0, 2)
    assert (cut.vectors.tolist(), cut.texts, cut.step) == ([0, 2], ("a", "c"), 3)
    assert rows_of(Pair([1, 2], torch.zeros(2)), 1, 2).first == [2]


@given(count=st.integers(1, 20), shares=st.integers(1, 8))
def test_shares_hold_every_row_once(count: int, shares: int) -> None:
    batch = (torch.arange(count), [str(number) for number in range(count)])
    cut = [rows_of(batch, rank, shares) for rank in range(shares)]
    assert sorted(number for numbers, _ in cut for number in numbers.tolist()) == list(range(count))
    assert all([str(number) for number in numbers.tolist()] == texts for numbers, texts in cut)
    assert sum(count_rows(share) for share in cut) == count


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        pytest.param((torch.zeros(2), ["a"]), "a batch has parts of 1, 2 rows", id="unequal"),
        pytest.param(3, "a batch has no rows", id="number"),
        pytest.param((torch.zeros(1), object()), "a batch holds a object, whose rows are not", id="type"),
    ],
)
def test_what_cannot_be_shared_is_refused(batch: Any, message: str) -> None:
    with pytest.raises(RegionkitError, match=message) as caught:
        rows_of(batch, 0, 2)
    assert caught.value.hints == ("let the recipe say how: Recipe.share",)
