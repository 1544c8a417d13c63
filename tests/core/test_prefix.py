"""What a model reads before a text: padding moves, and what is said of a position moves with it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.language.prefix import Prefix

masks = st.lists(st.lists(st.booleans(), min_size=5, max_size=5).filter(any), min_size=1, max_size=4)


def of(mask: list[list[bool]]) -> Prefix:
    """Every number says its own row and place."""
    valid = torch.tensor(mask)
    numbers = torch.arange(valid.numel()).view(*valid.shape, 1)
    return Prefix(numbers.float(), valid, {"places": numbers * 10, "deep": numbers.view(*valid.shape, 1, 1).float()})


def told(prefix: Prefix) -> list[list[tuple[float, int, float]]]:
    """What the positions that are no padding say, row by row."""
    places, deep = prefix.beside["places"], prefix.beside["deep"]
    return [
        [
            (float(prefix.embeddings[row, at, 0]), int(places[row, at, 0]), float(deep[row, at, 0, 0]))
            for at in prefix.valid[row].nonzero().flatten().tolist()
        ]
        for row in range(len(prefix))
    ]


@given(mask=masks, left=st.booleans())
def test_padding_moves_to_one_end_and_nothing_else_changes(mask, left):
    prefix = of(mask)
    moved = prefix.compacted(left=left)
    assert told(moved) == told(prefix)
    lengths = [sum(row) for row in mask]
    assert moved.valid.shape[1] == max(lengths)
    ordered = [[left ^ (at < length) for at in range(max(lengths))] for length in lengths]
    wanted = [[at >= max(lengths) - length for at in range(max(lengths))] for length in lengths] if left else ordered
    assert moved.valid.tolist() == wanted


@given(mask=masks)
def test_words_before_and_behind_say_nothing_of_places(mask):
    prefix, words = of(mask), torch.full((len(mask), 2, 1), -1.0)
    inside = torch.tensor([[True, False]] * len(mask))
    found = told(prefix.preceded_by(words).followed_by(words, inside).compacted())
    assert found == [[(-1.0, 0, 0.0)] * 2 + row + [(-1.0, 0, 0.0)] for row in told(prefix)]


def test_rows_keep_what_is_said_of_them():
    prefix = of([[True, False, True, True, False], [True] * 5, [False, True, False, False, False]])
    assert told(prefix.rows(torch.tensor([2, 0]))) == [told(prefix)[2], told(prefix)[0]]
