"""What checks are written with: demands that end in one sentence, and comparisons of whatever parts give."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regionkit.core.features import RegionTokens, RegionViews

#: Largest difference that batching may make, relative to the largest value.
TOLERANCE = 1e-5
#: Largest distance between an answer in bfloat16 and in float32, relative to the length of the latter.
HALF_TOLERANCE = 0.2
#: The same between two devices.
DEVICE_TOLERANCE = 1e-3

Inputs = RegionTokens | RegionViews
_E = TypeVar("_E", bound=Exception)


class Skip(Exception):
    """A check has nothing to say of this component; the message says why."""


def demand(condition: bool, message: str) -> None:
    """Raise AssertionError with the sentence unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def shape(tensor: Tensor) -> tuple[int, ...]:
    """Return a shape as messages write it."""
    return tuple(tensor.shape)


def same(one: Tensor, other: Tensor, message: str, tolerance: float = TOLERANCE) -> None:
    """Demand that two tensors differ by rounding at most; a tolerance of 0 asks for equal bits."""
    demand(one.shape == other.shape, f"{message}: {shape(one)} against {shape(other)}")
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    if one.numel():
        gap = float((one - other).abs().max())
        limit = tolerance * max(1.0, float(one.abs().max()))
        demand(gap <= limit, f"{message}: by up to {gap:.3g}")  # NaN fails too


def near(one: Tensor, other: Tensor, message: str, tolerance: float) -> None:
    """Demand that two tensors lie close together as vectors: their distance over the length of the first."""
    demand(one.shape == other.shape, f"{message}: {shape(one)} against {shape(other)}")
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    distance = float((one - other).norm() / one.norm().clamp(min=1e-3))
    demand(distance <= tolerance, f"{message}: {distance:.1%} apart, {tolerance:.0%} is allowed")


def close(one: float, other: float, message: str) -> None:
    """Demand that two numbers are equal but for rounding."""
    demand(math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9), f"{message}: {one} against {other}")


def must_raise(expected: type[_E], call: Callable[[], object], message: str) -> _E:
    """Demand that a call raises the standard error, and return it; another error is told apart from none."""
    try:
        call()
    except expected as error:
        return error
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise AssertionError(
            f"{message}: {type(error).__name__} was raised and not {expected.__name__}: {first}"
        ) from error
    raise AssertionError(message)


def pick(tokens: RegionTokens, rows: Sequence[int]) -> RegionTokens:
    """Return some regions of a batch of tokens."""
    index = torch.tensor(list(rows), dtype=torch.long, device=tokens.tokens.device)
    return RegionTokens(tokens.tokens[index], tokens.mask[index], tokens.space)


def rows_of(encoded: Inputs, rows: Sequence[int]) -> Inputs:
    """Return some regions of a batch of tokens or pictures."""
    if isinstance(encoded, RegionViews):
        return RegionViews(tuple(encoded.pictures[row] for row in rows))
    return pick(encoded, rows)


def same_encoded(one: Inputs, other: Inputs, tolerance: float, message: str) -> None:
    """Demand that two batches of encoded regions say the same."""
    demand(type(one) is type(other), message)
    if isinstance(one, RegionViews) and isinstance(other, RegionViews):
        pairs = zip(one.pictures, other.pictures, strict=True)
        demand(all(a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairs), message)
    elif isinstance(one, RegionTokens) and isinstance(other, RegionTokens):
        demand(one.space == other.space, message)
        # Padding is no result: a lone region may be padded to another length than among others.
        same(one.tokens[one.mask], other.tokens[other.mask], message, tolerance)


def well_formed(encoded: Inputs, count: int, dim: int) -> None:
    """Demand that encoded regions are as many, as wide and as finite as they have to be."""
    kinds = (RegionTokens, RegionViews)
    demand(isinstance(encoded, kinds), f"the result is a {type(encoded).__name__}, not RegionTokens or RegionViews")
    demand(len(encoded) == count, f"{len(encoded)} results for {count} regions")
    if isinstance(encoded, RegionViews):
        demand(all(isinstance(view, Image.Image) for view in encoded.pictures), "a view is no picture")
        return
    tokens, mask = encoded.tokens, encoded.mask
    demand(tokens.ndim == 3 and tokens.is_floating_point(), f"tokens are {tokens.dtype} {shape(tokens)}, not (r, t, d)")
    demand(mask.dtype == torch.bool and mask.shape == tokens.shape[:2], f"mask is {mask.dtype} {shape(mask)}")
    demand(tokens.shape[2] == dim, f"tokens have width {tokens.shape[2]}, their space is {encoded.space}")
    demand(bool(mask.any(1).all()), "a region has no token")
    demand(bool(torch.isfinite(tokens).all()), "a token is NaN or infinite")


def pieces(value: Any) -> Iterator[bytes]:
    """Cut any value that parts give into bytes that are equal where, and only where, the values are."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        yield f"tensor {value.dtype} {shape(value)}".encode()
        yield value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Image.Image):
        yield f"picture {value.mode} {value.size}".encode()
        yield value.tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__.encode()
        for field in dataclasses.fields(value):
            yield from pieces(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key, item in value.items():
            yield from pieces(key)
            yield from pieces(item)
    elif isinstance(value, (list, tuple)):
        yield f"sequence {len(value)}".encode()
        for item in value:
            yield from pieces(item)
    elif isinstance(value, (set, frozenset)):
        yield from pieces(sorted(map(repr, value)))
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield type(value).__name__.encode()
        yield from pieces(vars(value))
    else:
        yield repr(value).encode()


def digest(value: Any) -> str:
    """Return a hash of any value that parts give."""
    result = hashlib.sha256()
    for piece in pieces(value):
        result.update(len(piece).to_bytes(8, "little"))
        result.update(piece)
    return result.hexdigest()
