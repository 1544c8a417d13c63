"""The training losses are the formulas that they claim to be."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from regionkit.plugins.mini.objectives import contrast, parts_of_phrases, phrases_to_pictures, pick, unit


def test_pick_is_cross_entropy_with_one_right_answer() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    answers = torch.tensor([0, 3, 6, 1, 3])
    right = torch.nn.functional.one_hot(answers, 7).bool()
    torch.testing.assert_close(pick(logits, right), cross_entropy(logits, answers))


def test_pick_counts_all_right_answers() -> None:
    right = torch.tensor([[True, True, False]])
    assert pick(torch.zeros(1, 3), right).item() == pytest.approx(math.log(3 / 2))


def test_texts_without_picture_are_wrong_answers_only() -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    right = torch.tensor([[True, False, False], [False, True, False]])
    assert contrast(logits, right).item() < 0.01
    logits[:, 2] = 9.0
    assert contrast(logits, right).item() == pytest.approx(0.5 * math.log(2), abs=0.01)


def test_phrases_find_their_picture_by_one_patch() -> None:
    directions = torch.eye(8)
    patches = directions[7].expand(2, 16, 8).clone()
    patches[0, 5], patches[1, 11] = directions[0], directions[1]
    right = torch.tensor([[True, False], [False, True]])
    found = phrases_to_pictures(patches, directions[:2], right, torch.tensor(30.0))
    swapped = phrases_to_pictures(patches, directions[:2], ~right, torch.tensor(30.0))
    assert found.item() < 0.01 < swapped.item()


def test_parts_are_region_rim_and_click() -> None:
    patches = torch.zeros(1, 4, 4, 2)
    patches[..., 1] = 1.0
    patches[0, 1, 1:3] = torch.tensor([3.0, 0.0])
    region, grown, one = parts_of_phrases(patches, torch.tensor([[1.0, 0.0]]), torch.tensor([0.99]))
    torch.testing.assert_close(region, torch.tensor([[3.0, 0.0]]))
    torch.testing.assert_close(grown, torch.tensor([[0.5, 10 / 12]]))
    torch.testing.assert_close(one, torch.tensor([[3.0, 0.0]]))


@pytest.mark.parametrize("lot", [0.0, 0.5, 0.999999])
def test_parts_are_finite_before_anything_is_learned(lot: float) -> None:
    random = torch.Generator().manual_seed(3)
    patches = torch.randn(6, 12, 12, 16, generator=random)
    phrases = unit(torch.randn(6, 16, generator=random))
    # Every cosine is negative here: the best patch still makes a region.
    patches = patches - 20 * phrases[:, None, None]
    assert torch.isfinite(parts_of_phrases(patches, phrases, torch.full((6,), lot))).all()
