"""How many pictures or regions go through a model together: what a user says, else as many as a GPU has room for.

What one of them takes cannot be told from a model's options, so it is measured: a first, small batch runs, torch says
how much memory it took at most, and the next one is as large as what is free allows. On a CPU, where large batches are
no faster, the sizes stay those of the options. Where a batch does not fit after all, whoever asked for it halves it
(:mod:`regionkit.core.out_of_memory`), and the next measured batch is smaller as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from regionkit.core.contracts import iter_batches

if TYPE_CHECKING:
    import torch

#: Share of the free memory that a batch is planned to take: the rest is for what fragments, and for workspaces.
SHARE = 0.6
#: Most items of a first batch, of which nothing is known yet.
FIRST = 16
#: A batch is at most so many times as large as the largest that was measured: a small one may not tell all.
GROWTH = 8


class DeviceMemory(Protocol):
    """Reads the memory of a device; all figures are bytes."""

    def free(self) -> int:
        """Return what may still be taken."""

    def begin(self) -> None:
        """Begin to watch what is taken."""

    def taken(self) -> int:
        """Return the most that was taken at once, beyond what was taken at :meth:`begin`."""


class CudaMemory:
    """Memory of a CUDA device, as its driver and torch's allocator count it; reading it waits for no kernel."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0

    def free(self) -> int:
        """Return what the driver has left, and what torch holds without using it."""
        import torch

        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0]) + held

    def begin(self) -> None:
        """Forget the peak."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)
        self._before = torch.cuda.memory_allocated(self.device)

    def taken(self) -> int:
        """Return the peak since :meth:`begin`."""
        import torch

        return torch.cuda.max_memory_allocated(self.device) - self._before


def memory_of(device: torch.device | str) -> DeviceMemory | None:
    """Return what reads a device's memory; None where batches are not sized by it."""
    import torch

    device = torch.device(device)
    return CudaMemory(device) if device.type == "cuda" else None


#: How memory is read; tests put a device of their own here.
_reader: Callable[[torch.device | str], DeviceMemory | None] = memory_of


@dataclass(frozen=True, slots=True)
class _Measured:
    """A batch of so many items took so many bytes for each."""

    items: int
    each: float


_KNOWN: WeakKeyDictionary[object, dict[Hashable, _Measured]] = WeakKeyDictionary()


def named(options: Any, option: str) -> int | None:
    """Return a size that a user named: one that is not the default of a dataclass of options, else None."""
    value: int = getattr(options, option)
    default = next(field.default for field in fields(options) if field.name == option)
    return None if value == default else value


def batches_that_fit(
    owner: object,
    count: int,
    size: int | None,
    *,
    default: int,
    device: torch.device | str,
    key: Hashable = None,
) -> Iterator[slice]:
    """Cut ``range(count)`` into slices whose items fit into memory together.

    What the caller does with a slice before it takes the next one is measured, also where that fails.

    Args:
        owner: The model; what was measured is remembered with it.
        count: Items.
        size: How many the user wants at once; None where none was named.
        default: How many there are at once where none was named and memory is not measured, as on a CPU.
        device: Where the model computes.
        key: What else the memory of an item depends on, such as the length of captions.
    """
    memory = _reader(device) if size is None else None
    if memory is None:
        yield from iter_batches(count, default if size is None else size)
        return
    known = _KNOWN.setdefault(owner, {})
    start = 0
    while start < count:
        free, before = memory.free(), known.get(key)
        fit = min(_fitting(before, free, default), count - start)
        memory.begin()
        try:
            yield slice(start, start + fit)
        except GeneratorExit:
            # It failed, perhaps for lack of memory: of the one large request that was refused the peak says nothing.
            known[key] = _Measured(fit, max(memory.taken(), free) / fit)
            raise
        # In a batch much smaller than the last one, such as a rest, what all items share weighs too much.
        if before is None or 2 * fit >= before.items:
            known[key] = _Measured(fit, memory.taken() / fit)
        start += fit


def _fitting(measured: _Measured | None, free: int, default: int) -> int:
    """Return how many items to take at once, 1 or more."""
    if measured is None:
        return max(1, min(default, FIRST))
    grown = GROWTH * measured.items
    room = grown if measured.each <= 0 else int(SHARE * free / measured.each)
    return max(1, min(room, grown))
