"""Cutting a batch into shares, one for each of several processes: row after row in turn.

A batch is whatever a recipe makes of a step. Its rows are found by what it is made of, so that recipes need not say it:

- a tensor or array has its rows along the first dimension, a list has one an item, and so has a tuple of strings;
- any other tuple, a mapping and a dataclass hold parts, each of which is cut;
- numbers, strings and None belong to the whole batch and stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from regionkit.core.errors import RegionkitError


def rows_of(batch: Any, rank: int, count: int) -> Any:
    """Return rows ``rank::count`` of a batch, in the same form.

    Args:
        batch: Tensors, lists, tuples, mappings and dataclasses, as the module says.
        rank: Of the share, from 0.
        count: Shares. Together they hold every row once.

    Raises:
        RegionkitError: The batch holds something whose rows are not known, or parts with different numbers of rows.
    """
    _check(batch)
    return _cut(batch, slice(rank, None, count))


def count_rows(batch: Any) -> int:
    """Return the rows of a batch; raises as :func:`rows_of`."""
    return _check(batch)


def _check(batch: Any) -> int:
    counts = set(_counts(batch))
    if len(counts) != 1:
        found = f"has parts of {', '.join(map(str, sorted(counts)))} rows" if counts else "has no rows"
        raise RegionkitError(f"a batch {found}, so it cannot be shared out", "let the recipe say how: Recipe.share")
    return counts.pop()


def _counts(batch: Any) -> list[int]:
    if isinstance(batch, torch.Tensor | np.ndarray):
        return [len(batch)] if batch.ndim else []
    if _is_rows(batch):
        return [len(batch)]
    return [count for part in _parts(batch) for count in _counts(part)]


def _parts(batch: Any) -> list[Any]:
    if batch is None or isinstance(batch, str | bytes | int | float | torch.device | torch.dtype):
        return []
    if isinstance(batch, tuple):
        return list(batch)
    if isinstance(batch, Mapping):
        return list(batch.values())
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    raise RegionkitError(
        f"a batch holds a {type(batch).__name__}, whose rows are not known, so it cannot be shared out",
        "let the recipe say how: Recipe.share",
    )


def _cut(batch: Any, rows: slice) -> Any:
    if isinstance(batch, torch.Tensor | np.ndarray):
        return batch[rows] if batch.ndim else batch
    if _is_rows(batch):
        return batch[rows]
    parts = [_cut(part, rows) for part in _parts(batch)]
    if not parts:
        return batch
    if isinstance(batch, tuple):
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    if isinstance(batch, Mapping):
        return dict(zip(batch, parts, strict=True))
    return dataclasses.replace(batch, **dict(zip((f.name for f in dataclasses.fields(batch)), parts, strict=True)))


def _is_rows(batch: Any) -> bool:
    texts = isinstance(batch, tuple) and bool(batch) and all(isinstance(item, str) for item in batch)
    return isinstance(batch, list) or texts
