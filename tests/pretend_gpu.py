"""Tensors that say they are on a GPU and compute on the processor, and that count how often the host waits for them.

Code that asks whether it runs on a processor takes the other way. What is counted is what makes a host wait: reading a
value, asking how many there are, copying to the processor. Speed, memory, CUDA's own kernels, and code that asks for
CUDA by name are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

#: The one device beside the processor that torch knows without a driver.
GPU = torch.device("meta")
#: Operators whose result, or the shape of whose result, the host has to see.
_READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim")
_MAKERS = (torch.zeros, torch.ones, torch.full, torch.empty, torch.arange, torch.tensor, torch.as_tensor, torch.eye)


class Pretended(Tensor):
    """A tensor of the pretended GPU, around one of the processor."""

    reads: ClassVar[list[str]] = []
    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretended:
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=GPU
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"Pretended({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Pretended, lambda one: one.inner, (args, dict(kwargs or {})))
        name = func.overloadpacket._qualified_op_name
        # An index of True and False says by itself how many rows there are.
        masked = name == "aten::index" and any(one is not None and one.dtype == torch.bool for one in args[1])
        if name in _READS or masked:
            cls.reads.append(name)
        if kwargs.get("device") is not None:
            if name == "aten::_to_copy" and torch.device(kwargs["device"]).type == "cpu":
                cls.reads.append("a copy to the processor")
                return func(*args, **kwargs)
            kwargs["device"] = torch.device("cpu")
        return tree_map_only(Tensor, Pretended, func(*args, **kwargs))


class _Driver(TorchFunctionMode):
    """Makes tensors on the pretended GPU where torch itself would look for one."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _MAKERS and _is_gpu(kwargs.get("device")):
            return Pretended(func(*args, **{**kwargs, "device": "cpu"}))
        if func is Tensor.tolist and isinstance(args[0], Pretended):
            Pretended.reads.append("tolist")
            return args[0].inner.tolist()
        if func is Tensor.to and not isinstance(args[0], Pretended):
            rest = [one for one in args[1:] if not _is_gpu(one)]
            if len(rest) < len(args) - 1 or _is_gpu(kwargs.get("device")):
                kwargs.pop("device", None)
                return on_gpu(args[0].to(*rest, **kwargs))
        return func(*args, **kwargs)


def _is_gpu(device: object) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == GPU.type


def on_gpu(tensor: Tensor) -> Tensor:
    """Return a tensor of the pretended GPU with the values of one of the processor."""
    return Pretended(tensor.detach().clone())


def move(module: nn.Module) -> None:
    """Move the weights of a module to the pretended GPU."""
    for one in module.modules():
        for stored in (one._parameters, one._buffers):
            stored.update({name: on_gpu(value) for name, value in stored.items() if value is not None})  # type: ignore


def values(tensor: Tensor) -> Tensor:
    """Return the values of a tensor of the pretended GPU, uncounted."""
    return tensor.inner if isinstance(tensor, Pretended) else tensor


@contextmanager
def pretended_gpu() -> Iterator[Mapping[str, list[str]]]:
    """Let the code below take place on the pretended GPU; ``["reads"]`` says what the host has waited for."""
    Pretended.reads = []
    with _Driver(), patch.object(torch, "autocast", lambda *_, **__: nullcontext()):
        yield {"reads": Pretended.reads}
