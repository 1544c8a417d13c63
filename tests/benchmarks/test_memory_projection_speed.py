"""Projection onto a bank of text embeddings, beside the release."""

from __future__ import annotations

import pytest
import released_procedure as released
import torch
from full_size import memory
from side_by_side import Goal, Size, Table, counted, digits, interleaved
from this_machine import PeakMemory, measures_memory
from torch import Tensor

from regionkit.core.features import RegionTokens

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
PLACE = 3


def queries(bank: Tensor, count: int) -> Tensor:
    """Draw vectors (count, d), in turn near a row of the bank and in no direction of it."""
    draw = torch.Generator().manual_seed(11)
    found = torch.randn(count, bank.shape[1], generator=draw)
    near = bank[torch.randint(len(bank), (count,), generator=draw)]
    found[::2] = near[::2] + 0.01 * found[::2]
    return found


@torch.inference_mode()
def test_projection_onto_the_bank(table: Table, size: Size, bank: Tensor, onednn_helps: bool):
    bridge = memory(bank)
    worst = 0.0
    note = "" if onednn_helps else "(through oneDNN, which gives nothing here: two products are nearly all of our time)"
    for count in size.queries:
        vectors = queries(bank, count)
        tokens = RegionTokens.single(vectors, "random[768]")
        timings = interleaved(
            {"release": lambda: released.project(vectors, bank), "ours": lambda: bridge.bridge(tokens).vectors()},  # noqa: B023
            {"release": 1 if count > 50 else 3, "ours": 3},
        )
        worst = max(worst, float((timings.results["release"] - timings.results["ours"]).abs().max()))
        table.add(
            PLACE,
            f"memory projection, {size.bank:,} x 768, fp32, {counted(count, 'region')}",
            f"the release: {timings.said('release')}",
            timings.said("ours"),
            timings.ratio("release", "ours"),
            Goal(4, note=note) if count == 50 else None,
            at_goal_size=size.full,
        )
    assert worst < 5e-6
    figure = f"memory projection, largest error of a coordinate, {size.queries[-1]} regions near and far"
    table.add(PLACE, figure, "the release", f"{worst:.1e}", worst, Goal(5e-6, "at most", ""), at_goal_size=size.full)


@torch.inference_mode()
def test_memory_that_a_projection_takes(table: Table, size: Size, bank: Tensor):
    count, goal = size.queries[-1], Goal(64, "at most", " MB")
    figure = f"memory projection, growth of the peak, {size.bank:,} x 768, {counted(count, 'region')}"
    if not measures_memory():
        table.not_measured(PLACE, figure, "there is no /proc/self/clear_refs here", goal)
    tokens = RegionTokens.single(queries(bank, count), "random[768]")
    bridge = memory(bank)
    bridge.bridge(RegionTokens.single(queries(bank, 1), "random[768]"))  # what a first call loads
    with PeakMemory() as ours:
        bridge.bridge(tokens)
    with PeakMemory() as theirs:
        released.project(tokens.vectors(), bank)
    table.add(
        PLACE,
        figure,
        f"the release: {digits(theirs.megabytes)} MB",
        f"{digits(ours.megabytes)} MB",
        ours.megabytes,
        goal,
        at_goal_size=size.full,
    )
