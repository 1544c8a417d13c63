"""Running out of memory in a run: how batches shrink until they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.core.out_of_memory import free_memory, is_out_of_memory, single_region


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


def each_that_fits(
    rows: Sequence[int],
    do: Callable[[Sequence[int]], None],
    fail: Callable[[RegionkitError, int], None],
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
    full = False
    if size >= len(rows):
        try:
            return do(rows)
        except RegionkitError as error:
            if len(rows) == 1:
                return fail(error, rows[0])
            size = 1
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                return fail(RunFailed(single_region(error)), rows[0])
            full = True
    if full:
        free_memory()
        size = sizes.shrink("regions", key, len(rows))
    for start in range(0, len(rows), size):
        each_that_fits(rows[start : start + size], do, fail, sizes, key)
