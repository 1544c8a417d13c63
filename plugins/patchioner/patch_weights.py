"""Weights of regions over patches, most of them zero, and the sums of patches by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from regionkit.core.contracts import iter_batches

#: Regions of one picture that a GPU pools in one product. Always so many, empty ones if need be: products of one shape
#: add up each row in one order, so that a region's vector does not depend on how many others are asked for.
_ROWS = 80


@dataclass(frozen=True)
class PatchWeights:
    """What patches weigh in each of r regions, row by row; what is left out weighs nothing.

    Attributes:
        counts: (r,) patches that each region lists.
        places: (n,) their places in a picture, row * columns + column, in rising order within a region.
        values: (n,) their weights.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of_maps(cls, maps: Sequence[NDArray[np.float64]]) -> Self:
        """Read r maps (h, w)."""
        flat = np.stack([one.ravel() for one in maps])
        rows, places = np.nonzero(flat)
        return cls(np.bincount(rows, minlength=len(flat)), places, flat[rows, places])

    @classmethod
    def of_spans(cls, spans: NDArray[np.int64], columns: int) -> Self:
        """List the patches of k rectangles, each patch with the same share.

        Args:
            spans: (k, 4) first row and one past the last, first column and one past the last; none is empty.
            columns: Patches in a row of the picture.
        """
        top, bottom, left, right = spans.T
        wide = right - left
        counts = (bottom - top) * wide
        box = np.repeat(np.arange(len(spans)), counts)
        within = np.arange(len(box)) - np.repeat(counts.cumsum() - counts, counts)
        down = within // wide[box]
        places = (top * columns + left)[box] + down * columns + (within - down * wide[box])
        return cls(counts, places, (1 / counts)[box])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the regions of all parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        counts, places, values = ([getattr(part, name) for part in parts] for name in ("counts", "places", "values"))
        return cls(np.concatenate(counts), np.concatenate(places), np.concatenate(values))

    def taken(self, order: NDArray[np.int64]) -> Self:
        """Return the regions in another order, each by its place in this one."""
        if (order == np.arange(len(order))).all():
            return self
        counts = self.counts[order]
        found = np.repeat(self.starts()[order] - (counts.cumsum() - counts), counts) + np.arange(len(self.places))
        return type(self)(counts, self.places[found], self.values[found])

    def shaped(self, factors: NDArray[np.float64]) -> Self:
        """Multiply the weights by factors (n,), and bring each region back to a sum of 1.

        A region in which nothing is left keeps its weights. Every region lists a patch.
        """
        values = self.values * factors
        sums = np.add.reduceat(values, self.starts())
        rows = self.rows()
        unseen = sums == 0
        values /= np.where(unseen, 1, sums)[rows]
        return replace(self, values=np.where(unseen[rows], self.values, values) if unseen.any() else values)

    def starts(self) -> NDArray[np.int64]:
        """Return (r,): where the patches of each region begin."""
        starts: NDArray[np.int64] = self.counts.cumsum() - self.counts
        return starts

    def rows(self) -> NDArray[np.int64]:
        """Return (n,): the region of each patch listed."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def maps(self, grid: tuple[int, int]) -> NDArray[np.float64]:
        """Return (r, h, w): the weight of every patch."""
        found = np.zeros((len(self.counts), grid[0] * grid[1]))
        found[self.rows(), self.places] = self.values
        return found.reshape(-1, *grid)


def pooled(weights: PatchWeights, image: NDArray[np.int64], patches: Tensor) -> Tensor:
    """Return (r, d) in float32: for each region the sum of its picture's patches by their weights.

    Args:
        weights: Of r regions.
        image: (r,) the picture of each.
        patches: (b, h, w, d).

    A processor reads the patches that are listed and no others: three times as fast as one dense product for boxes of a
    tenth of the picture (docs/benchmarks.md). For a GPU, which is better at products, the weights are spread out there.
    """
    if patches.device.type == "cpu":
        return _listed(weights, image, patches)
    return _spread(weights, image, patches)


def _listed(weights: PatchWeights, image: NDArray[np.int64], patches: Tensor) -> Tensor:
    """Add up each region's patches one after the other, so that no region depends on another."""
    size = patches.shape[1] * patches.shape[2]
    places = weights.places + np.repeat(image * size, weights.counts) if len(patches) > 1 else weights.places
    with torch.autocast("cpu", enabled=False):
        return embedding_bag(
            torch.from_numpy(places),
            patches.flatten(0, 2).float(),
            torch.from_numpy(weights.starts()),
            per_sample_weights=torch.from_numpy(weights.values.astype(np.float32)),
            mode="sum",
        )


def _spread(weights: PatchWeights, image: NDArray[np.int64], patches: Tensor) -> Tensor:
    """Multiply dense weights with each picture's patches; nothing comes back from the device."""
    device, size = patches.device, patches.shape[1] * patches.shape[2]

    def sent(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    order = np.argsort(image, kind="stable")
    matrix = torch.zeros(len(image), size, device=device)
    matrix[sent(order.argsort()[weights.rows()]), sent(weights.places)] = sent(weights.values.astype(np.float32))
    sums, start = [], 0
    with torch.autocast(device.type, enabled=False):
        for index, count in zip(*np.unique(image, return_counts=True), strict=True):
            seen = patches[int(index)].flatten(0, 1).float()
            for part in iter_batches(int(count), _ROWS):
                tile = matrix[start + part.start : start + part.stop]
                sums.append((pad(tile, (0, 0, 0, _ROWS - len(tile))) @ seen)[: len(tile)])
            start += int(count)
    return torch.cat(sums)[sent(order.argsort())]
