"""Running out of memory in a run: how batches shrink until they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from regionkit.core.blame import told
from regionkit.core.errors import ContractError, RegionkitError, RunFailed
from regionkit.core.out_of_memory import free_memory, is_out_of_memory, single_region

#: After errors with these words no model runs on that device any more, whatever it is given.
_DEVICE_LOST = ("CUDA error", "HIP error", "cuDNN error", "CUBLAS_STATUS")


@dataclass
class BatchSizes:
    """How many pictures, and how many regions, fit into memory together, as far as running out of it has taught.

    Attributes:
        tell: Told once for each limit that shrinks.
        notes: What was told since the last trial began.
    """

    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)
    _limits: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, what: str, key: str, default: int) -> int:
        """Return how many ``pictures`` or ``regions`` to give to the model of that key at once."""
        return min(self._limits.get((what, key), default), default)

    def known(self, what: str, key: str) -> str:
        """Return a note if the limit of a model was lowered earlier; empty otherwise."""
        limit = self._limits.get((what, key))
        return "" if limit is None else f"out of memory: {what} are handled {limit} at a time"

    def shrink(self, what: str, key: str, tried: int) -> int:
        """Halve a limit after ``tried`` were too many."""
        half = max(1, tried // 2)
        self._limits[what, key] = half
        note = f"out of memory with {tried} {what} at once: going on with {half} at a time"
        self.notes.append(note)
        self.tell(note)
        return half

    def note_together(self, count: int, fault: str) -> None:
        """Note that regions failed together and none of them alone: a fault that costs time, and no sample."""
        self.notes.append(f"{count} regions failed together and none of them alone, they ran one by one: {fault}")


def stops_all(error: Exception) -> bool:
    """Say whether an error is no matter of single samples: a part breaks its contract, or a GPU answers no more."""
    return isinstance(error, ContractError) or any(word in str(error) for word in _DEVICE_LOST)


def each_that_fits(
    rows: Sequence[int],
    do: Callable[[Sequence[int]], None],
    fail: Callable[[Exception, int], None],
    sizes: BatchSizes,
    key: str,
) -> None:
    """Do something with regions together; where that fails, with fewer of them, so that only the bad ones fail.

    Args:
        rows: The regions, by numbers of the caller's own.
        do: Does it with some of them.
        fail: Told of a region with which it cannot be done, not even alone.
        sizes: How many fit, as far as it is known.
        key: Of the model.
    """
    size = sizes.of("regions", key, len(rows))
    full, fault = False, ""
    if size >= len(rows):
        try:
            return do(rows)
        except Exception as error:  # a part of a stranger may raise anything
            full = is_out_of_memory(error)
            if not full and stops_all(error):
                raise
            if len(rows) == 1:
                return fail(RunFailed(single_region(error)) if full else error, rows[0])
            fault = "" if full or isinstance(error, RegionkitError) else told(error)
            size = 1
    if full:
        free_memory()
        size = sizes.shrink("regions", key, len(rows))
    failed: list[int] = []

    def failing(error: Exception, row: int) -> None:
        failed.append(row)
        fail(error, row)

    for start in range(0, len(rows), size):
        each_that_fits(rows[start : start + size], do, failing, sizes, key)
    if fault and not failed:
        sizes.note_together(len(rows), fault)
