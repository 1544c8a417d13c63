"""Options of the launcher. No torch, no numpy, no Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RayConfig:
    """Where trials run in a Ray cluster, and what a trial may take.

    Attributes:
        address: ``auto`` for the cluster that this machine belongs to, ``HOST:PORT`` of a cluster's head, or ``local``
            to start a cluster on this machine that ends with the run.
        workers: Workers; ``auto`` is one a GPU where the cluster has some, and otherwise one a CPU.
        cpus_per_worker: CPUs that each is counted with.
        gpus_per_worker: GPUs of each, where a run uses them; with 0.5 two workers share one.
        max_restarts: How often in a row a worker that died is replaced with nothing done in between.
        shard: Data sets with more pictures are cut into shares of about so many, whole batches each, which workers do
            together; 0 for never.
        start_timeout: Seconds to wait for a place in the cluster when no worker has one.
        time_limit: Seconds that a trial, or a share of one, may take, the time to load its models included; null for
            any.
        retries: How often a trial or a share is tried again after its worker died.
        lease: Seconds without a sign of life after which others, on other machines, take what this run was at.
        journal: How SQLite writes; ``auto`` asks the file system, ``delete`` is for folders that machines share.
    """

    address: str = "auto"
    workers: int | Literal["auto"] = "auto"
    cpus_per_worker: int = 1
    gpus_per_worker: float = 1.0
    max_restarts: int = 3
    shard: int = 2048
    start_timeout: float = 600.0
    time_limit: float | None = None
    retries: int = 1
    lease: float = 60.0
    journal: Literal["auto", "wal", "delete"] = "auto"

    def __post_init__(self) -> None:
        if self.address.startswith("ray://"):
            raise ValueError("address: no Ray client; run on a machine of the cluster, with address: auto")
        host, _, port = self.address.rpartition(":")
        if self.address not in ("auto", "local") and not (host and port.isdecimal()):
            raise ValueError(f"address: '{self.address}' is not auto, local or HOST:PORT")
        if self.workers != "auto" and not 1 <= self.workers <= 4096:
            raise ValueError(f"workers: {self.workers} must be from 1 to 4096, or auto")
        if self.cpus_per_worker < 1:
            raise ValueError("cpus_per_worker must be 1 or more")
        if not 0 < self.gpus_per_worker < math.inf or (self.gpus_per_worker > 1 and self.gpus_per_worker % 1):
            raise ValueError("gpus_per_worker: write a part of one GPU, such as 0.5, or a whole number")
        if self.max_restarts < 0 or self.shard < 0 or self.retries < 0:
            raise ValueError("max_restarts, shard and retries must be 0 or more")
        if not 0 < self.start_timeout < math.inf:
            raise ValueError("start_timeout: write a number of seconds above 0")
        if self.time_limit is not None and not 0 < self.time_limit < math.inf:
            raise ValueError("time_limit: write a number of seconds above 0, or null")
        if not 1 <= self.lease <= 86_400:
            raise ValueError("lease must be from 1 to 86400 seconds")
