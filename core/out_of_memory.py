"""Running out of memory: what counts as that, and giving back what a failed attempt left."""

from __future__ import annotations

import gc

#: How torch says on a CPU, and in older versions on a GPU, that there was no memory left.
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception means that there was not enough memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or what it is: Python's own MemoryError says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def single_region(error: BaseException) -> str:
    """Say why a sample has no answer where not even it alone fits."""
    return f"out of memory with a single region: {first_line(error)}"


def free_memory() -> None:
    """Give back what a failed attempt left; call it outside of ``except``, whose traceback holds tensors alive."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
