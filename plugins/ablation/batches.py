"""Batches of pictures and of regions: what goes through a model together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from PIL import Image

from regionkit.core.blame import blamed
from regionkit.core.contracts import Backbone
from regionkit.core.features import RegionTokens, RegionViews

#: Pictures that go through the backbone together.
IMAGES_PER_BATCH = 32


def batches_of_one_grid(
    images: Iterator[tuple[str, Image.Image]], backbone: Backbone
) -> Iterator[list[tuple[str, Image.Image]]]:
    """Cut pictures into batches in which all have the same patch grid, so that their features stack."""

    def grid(pair: tuple[str, Image.Image]) -> tuple[int, int]:
        with blamed(backbone, "backbone"):
            return backbone.frame(pair[1].size).grid

    for _, same in groupby(images, key=grid):
        batch: list[tuple[str, Image.Image]] = []
        for pair in same:
            batch.append(pair)
            if len(batch) == IMAGES_PER_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def rows(inputs: RegionTokens | RegionViews, at: int) -> Any:
    """Return one region as a batch of one."""
    if isinstance(inputs, RegionViews):
        return RegionViews((inputs.pictures[at],))
    return replace(inputs, tokens=inputs.tokens[at : at + 1], mask=inputs.mask[at : at + 1])


def joined(
    batches: Sequence[tuple[tuple[int, ...], RegionTokens | RegionViews]],
) -> Iterator[tuple[tuple[int, ...], RegionTokens | RegionViews]]:
    """Join neighbouring batches of tokens of one shape: decoding many regions together is far cheaper.

    Pictures stay in their batches, since they are large.
    """

    def shape(batch: tuple[tuple[int, ...], RegionTokens | RegionViews]) -> Hashable:
        inputs = batch[1]
        return id(inputs) if isinstance(inputs, RegionViews) else inputs.tokens.shape[1:]

    for _, group in groupby(batches, key=shape):
        import torch

        same = list(group)
        positions = tuple(position for part, _ in same for position in part)
        tokens = [inputs for _, inputs in same if isinstance(inputs, RegionTokens)]
        if not tokens:
            yield same[0]
            continue
        joint = replace(
            tokens[0],
            tokens=torch.cat([part.tokens for part in tokens]),
            mask=torch.cat([part.mask for part in tokens]),
        )
        yield positions, joint
