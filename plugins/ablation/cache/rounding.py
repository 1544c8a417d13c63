"""Tensors as the cache keeps them in half precision, and as they come back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regionkit.plugins.ablation.cache.entries import Precision

#: Dtypes that half precision makes smaller. bfloat16 is as small already, and has a range that float16 has not.
_ROUNDED = (torch.float32, torch.float64)


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return tensors with those of float32 and float64 rounded to float16, all others as they are.

    Returns:
        None where a value is beyond float16 (65504) and would become infinite. Infinities and NaN stay what they are,
        and values below 6e-8 become 0.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found[name] = tensor.half() if tensor.dtype in _ROUNDED else tensor
        if tensor.dtype in _ROUNDED and bool((found[name].isinf() & ~tensor.isinf()).any()):
            return None
    return found


def rounded(tensors: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Return tensors as they come out of a cache of that precision, on their devices.

    In float32 they stay as they are. In float16 those of float32 and float64 are rounded, unless a value of any of them
    is beyond 65504: then all stay as they are.
    """
    half = halved(tensors) if precision == "float16" else None
    return dict(tensors) if half is None else widened(half, dtypes_before(tensors))


def widened(tensors: Mapping[str, Tensor], dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    """Return tensors in the dtypes that they had, by their names in torch; those without a name stay as they are.

    Raises:
        KeyError: There is no such tensor, or no such dtype.
    """
    known = {str(dtype).removeprefix("torch."): dtype for dtype in _ROUNDED}
    back = {name: tensors[name].to(known[dtype]) for name, dtype in dtypes.items()}
    return {**tensors, **back}


def dtypes_before(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of the dtypes that rounding changes, by tensor."""
    return {name: str(one.dtype).removeprefix("torch.") for name, one in tensors.items() if one.dtype in _ROUNDED}
