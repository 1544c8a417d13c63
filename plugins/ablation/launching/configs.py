"""Options of the launcher ``local``, torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LocalConfig:
    """Where trials run on this machine, and what a trial may take.

    Attributes:
        workers: Worker processes, at most one a CUDA device; 0 runs trials in this process, ``auto`` starts a worker a
            CUDA device, or one without any.
        time_limit: Seconds that a trial may take, the time to load its models included; null for any.
        memory_limit: MiB of main memory that a worker may hold; null for any.
        retries: How often a trial is tried again after its worker died.
        share_device: Whether several workers may use one device.
        lease: Seconds without a sign of life after which others, on other machines, take what this run was at. Longer
            than any library holds up all threads of Python.
        journal: How SQLite writes; ``auto`` asks the file system, ``delete`` is for folders that machines share.
    """

    workers: int | Literal["auto"] = 0
    time_limit: float | None = None
    memory_limit: int | None = None
    retries: int = 1
    share_device: bool = False
    lease: float = 60.0
    journal: Literal["auto", "wal", "delete"] = "auto"

    def __post_init__(self) -> None:
        if self.workers != "auto" and not 0 <= self.workers <= 512:
            raise ValueError(f"workers: {self.workers} must be from 0 to 512, or auto")
        if self.time_limit is not None and not 0 < self.time_limit < math.inf:
            raise ValueError("time_limit: write a number of seconds above 0, or null")
        if self.memory_limit is not None and self.memory_limit < 1:
            raise ValueError("memory_limit: write a number of MiB from 1 on, or null")
        if self.retries < 0:
            raise ValueError("retries must be 0 or more")
        if not 1 <= self.lease <= 86_400:
            raise ValueError("lease must be from 1 to 86400 seconds")
