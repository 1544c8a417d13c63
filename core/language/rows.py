"""Rows of a batch: padding, lengths, and one text a region."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.spec import Space


def compact(embeddings: Tensor, valid: Tensor, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Move padding to one end of each row; what is left keeps its order.

    Args:
        embeddings: (r, t, d).
        valid: (r, t) False at padding.
        left: Move it to the left end, and not to the right.

    Returns:
        The same, cut to the longest row.
    """
    if bool(valid.all()):
        return embeddings, valid
    order = packing(valid, left=left)
    return packed(embeddings, order), packed(valid, order)


def packing(valid: Tensor, *, left: bool) -> Tensor:
    """Return (r, longest): the places of each row (r, t) in the order in which its padding stands at one end."""
    order = (valid if left else ~valid).to(torch.uint8).argsort(dim=1, stable=True)
    longest = int(valid.sum(dim=1).max())
    return order[:, valid.shape[1] - longest :] if left else order[:, :longest]


def packed(values: Tensor, order: Tensor) -> Tensor:
    """Return values (r, t, ...) at places (r, s)."""
    places = order.view(*order.shape, *(1 for _ in values.shape[2:])).expand(*order.shape, *values.shape[2:])
    return values.gather(1, places)


def check_length(length: int, positions: int, what: str, who: str) -> None:
    """Check that a sequence fits a model.

    Raises:
        RegionkitError: It does not.
    """
    if length > positions:
        raise RegionkitError(
            f"{what} are {length} tokens together, {who} has {positions} positions",
            "shorten the text or the prompt, take a region encoder or bridge of fewer tokens, "
            "or train a decoder with more: --set decoder.positions=N",
        )


def inside(ids: Tensor, lengths: Tensor) -> Tensor:
    """Return (r, s), True on the first ``lengths`` (r,) of each row of ids (r, s)."""
    return torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)


def rows_of(tokens: RegionTokens, part: slice | Tensor) -> RegionTokens:
    """Return some regions of a batch, with all that is said of each."""
    named: dict[str, Any] = {one.name: getattr(tokens, one.name) for one in dataclasses.fields(tokens)}
    cut: dict[str, Any] = {name: one[part] for name, one in named.items() if isinstance(one, Tensor)}
    return dataclasses.replace(tokens, **cut)


def check_pairs(inputs: RegionTokens | RegionViews, texts: Sequence[str]) -> None:
    """Check that there is one text a region.

    Raises:
        ValueError: There is not.
    """
    if len(inputs) != len(texts):
        raise ValueError(f"{len(inputs)} regions and {len(texts)} texts: give one text a region")


def readable(inputs: RegionTokens | RegionViews, space: str, weight: Tensor, who: str) -> RegionTokens:
    """Return what a decoder reads on the device and in the type of its model, zeros where there is padding.

    Args:
        inputs: What reaches it.
        space: What it reads, ``name[dim]``.
        weight: A tensor of its model.
        who: Whose model it is, for messages: ``decoder 'NAME'``.

    Raises:
        FeatureError: Inputs are pictures, or vectors of another width.
    """
    if isinstance(inputs, RegionViews):
        raise FeatureError(
            f"{who} reads vectors and got pictures",
            "choose a region encoder that writes tokens, such as patch-pool or crop",
        )
    if inputs.tokens.shape[2] != Space.parse(space).dim:
        raise FeatureError(
            f"{who} reads {space} and got vectors of width {inputs.tokens.shape[2]} in {inputs.space}",
            "put a bridge before it that makes them as wide: toolkit compat shows which fit",
        )
    mask = inputs.mask.to(weight.device)
    tokens = inputs.tokens.to(device=weight.device, dtype=weight.dtype).masked_fill(~mask.unsqueeze(-1), 0.0)
    return RegionTokens(tokens, mask, inputs.space)


def no_loss(*parts: Tensor) -> Tensor:
    """Return a loss of 0 whose gradients are 0 on all parts of which gradients are wanted."""
    found = [part.flatten()[:0].sum() for part in parts if part.requires_grad]  # of no elements: not even NaN gets in
    return torch.stack([one.float() for one in found]).sum() if found else torch.zeros((), device=parts[0].device)
