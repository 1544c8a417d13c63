"""The machine that figures come from."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from side_by_side import digits, interleaved

#: From this gain on, goals are those for a CPU on which oneDNN helps.
_GAIN = 1.3
#: Errors of products in fp32 are below this, those of bf16 far above.
_LIKE_FP32 = 2e-6
#: Kilobytes are on these lines of /proc/self/status: what is resident, and the most that was.
_RESIDENT, _PEAK = "VmRSS:", "VmHWM:"


@dataclass(frozen=True, slots=True)
class OneDnn:
    """What the oneDNN route of fp32 products gives.

    Attributes:
        gain: Times faster than torch's own.
        error: Largest error of a product's element, as a share of the largest element.
    """

    gain: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether it is faster, and still as exact as fp32."""
        return self.gain >= _GAIN and self.error <= _LIKE_FP32


def probe_onednn() -> OneDnn | None:
    """Compare a product of a ViT-B layer through both routes; None where torch has no such setting."""
    settings = getattr(torch.backends.mkldnn, "matmul", None)
    if settings is None or not torch.backends.mkldnn.is_available():
        return None
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randn(1374, 768, generator=draw), torch.randn(768, 3072, generator=draw)
    before = settings.fp32_precision

    def product(setting: str) -> torch.Tensor:
        settings.fp32_precision = setting
        try:
            for _ in range(5):
                found = left @ right
        finally:
            settings.fp32_precision = before
        return found

    timings = interleaved({"own": lambda: product(before), "onednn": lambda: product("bf16")}, 7)
    exact = left.double() @ right.double()
    error = float((timings.results["onednn"] - exact).abs().max() / exact.abs().max())
    return OneDnn(timings.middle("own") / timings.middle("onednn"), error)


def described(onednn: OneDnn | None) -> str:
    """Name CPU, cores, memory, versions, threads, the oneDNN route and the GPU."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    route = "no oneDNN setting in this torch"
    if onednn is not None:
        exactness = "fp32-like" if onednn.error <= _LIKE_FP32 else "not fp32-like"
        route = (
            f"oneDNN route of fp32 products {digits(onednn.gain)}x torch's own, "
            f"error {onednn.error:.1e} ({exactness}): {'helps' if onednn.helps else 'does not help'}"
        )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {memory:.0f} GiB; {gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; {torch.get_num_threads()} thread; {route}"
    )


def load() -> str:
    """Return how many processes want to run, averaged over a minute, and the time."""
    clock = time.strftime("%Y-%m-%d %H:%M")
    return f"{os.getloadavg()[0]:.1f} at {clock}" if hasattr(os, "getloadavg") else f"unknown at {clock}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.machine())
    special = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")]
    return f"{name} ({', '.join(flag for flag in special if flag in facts.get('flags', '').split())})"


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
