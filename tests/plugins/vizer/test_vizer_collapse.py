"""The collapse alarm: what it calls collapsed, and what it does not."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from regionkit.plugins.vizer.collapse import alignment_of


def vectors(rows: int = 64, width: int = 12, shared: float = 0.0, seed: int = 0) -> torch.Tensor:
    values = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    values[:, 0] += shared
    return values


def test_an_aligned_mapper_finds_its_own_picture():
    targets = vectors()
    found = alignment_of(targets + 0.1 * vectors(seed=1), targets)
    assert found.recall == 1.0
    assert found.loss < 0.05
    assert not found.collapsed
    assert "collapsed" not in found.figures()


def test_a_constant_mapper_is_collapsed_although_its_loss_is_tiny():
    targets = vectors(shared=30.0)
    found = alignment_of(targets.mean(0).expand(64, -1), targets)
    assert found.loss < 0.1
    assert found.pairwise > 0.8
    assert found.spread < 1e-5
    assert found.recall == pytest.approx(1 / 64)
    assert found.collapsed
    assert found.figures()["collapsed"] == 1.0


def test_vectors_that_differ_but_find_nothing_are_collapsed_where_the_loss_is_small():
    targets = vectors(shared=6.0)
    mapped = targets.roll(1, 0)
    found = alignment_of(mapped, targets)
    assert found.spread == pytest.approx(found.target_spread)
    assert found.loss < 0.5
    assert found.collapsed


def test_an_untrained_mapper_is_not_called_collapsed():
    found = alignment_of(vectors(seed=5), vectors())
    assert found.loss > 0.5
    assert not found.collapsed


def test_equal_targets_count_as_one_so_that_several_regions_of_a_picture_do_not_fool_it():
    targets = vectors(8).repeat_interleave(8, 0)
    constant = alignment_of(vectors(1).expand(64, -1), targets)
    assert constant.chance == pytest.approx(1 / 8)
    assert constant.recall == pytest.approx(1 / 8)
    perfect = alignment_of(targets, targets)
    assert perfect.recall == 1.0
    assert not perfect.collapsed


def test_one_picture_alone_cannot_tell():
    assert not alignment_of(vectors(1).expand(4, -1), vectors(1).expand(4, -1)).collapsed
    assert alignment_of(vectors(0), vectors(0)).count == 0


def test_pairwise_and_spread_are_what_their_names_say():
    targets = vectors(5)
    unit = normalize(targets, dim=-1)
    found = alignment_of(targets, targets)
    table = unit @ unit.T
    assert found.pairwise == pytest.approx(float((table.sum() - 5) / 20), abs=1e-6)
    assert found.spread == pytest.approx(float((unit - unit.mean(0)).square().sum(1).mean()), abs=1e-6)
