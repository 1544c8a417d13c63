"""The machine that figures come from."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import torch

from regionkit.core.compute import Probe, processor

#: Kilobytes are on these lines of /proc/self/status: what is resident, and the most that was.
_RESIDENT, _PEAK = "VmRSS:", "VmHWM:"


def described(onednn: Probe | None) -> str:
    """Name CPU, cores, memory, versions, threads, the oneDNN route and the GPU."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    route = "no oneDNN setting in this torch"
    if onednn is not None:
        route = f"oneDNN route of fp32 products {onednn}: {'helps' if onednn.helps else 'does not help'}"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; {torch.get_num_threads()} thread; {route}"
    )


def load() -> str:
    """Return how many processes want to run, averaged over a minute, and the time."""
    clock = time.strftime("%Y-%m-%d %H:%M")
    return f"{os.getloadavg()[0]:.1f} at {clock}" if hasattr(os, "getloadavg") else f"unknown at {clock}"


def measures_memory() -> bool:
    """Say whether :class:`PeakMemory` works here."""
    return os.access("/proc/self/clear_refs", os.W_OK)


class PeakMemory:
    """Megabytes by which this process grew at most inside a ``with`` block (Linux)."""

    megabytes: float

    def __enter__(self) -> PeakMemory:
        with suppress(OSError, AttributeError):  # not glibc: what was freed before may hide a little growth
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        self._before = _kilobytes(_RESIDENT)
        return self

    def __exit__(self, *_: object) -> None:
        self.megabytes = (_kilobytes(_PEAK) - self._before) / 1024


def _kilobytes(label: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(label))


def resident() -> float:
    """Return the megabytes of this process that are in memory (Linux)."""
    return _kilobytes(_RESIDENT) / 1024
