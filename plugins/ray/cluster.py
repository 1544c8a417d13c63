"""Connects to a Ray cluster, or starts one that ends with the run."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.core.errors import MissingExtra, RunFailed
from regionkit.plugins.ray.configs import RayConfig

#: Bytes of shared memory of a cluster that we start: results are captions, which are small.
_OBJECT_STORE = 128 << 20
#: Longest folder of temporary files below which the names of Ray's sockets, 107 characters at most, still fit.
_LONGEST_FOLDER = 24


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        ray: The package.
        cpus: CPUs of all machines.
        gpus: GPUs of all machines.
        machines: Number of machines.
    """

    ray: Any
    cpus: int
    gpus: int
    machines: int


def import_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import ray  # the package itself: imports are absolute, so the folder of this plugin never stands in for it
        import ray.exceptions
    except ImportError as error:
        if error.name != "ray":
            raise
        raise MissingExtra("launcher 'ray'", "ray", "ray") from None
    return ray


@contextmanager
def connected(config: RayConfig, workers: int) -> Iterator[Cluster]:
    """Be connected to a cluster. One that was started here is gone afterwards, with all its processes and files.

    A connection that the process has already is used, and left as it is.

    Args:
        config: Where the cluster is.
        workers: Workers that a cluster started here has room for.

    Raises:
        MissingExtra: Ray is not installed.
        RunFailed: There is no such cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        if config.address == "local":
            raise RunFailed(
                "launcher 'ray' cannot start a cluster: this process is connected to one already",
                "write address: auto to use that one",
            )
        yield _cluster(ray)
        return
    folder = _temporary() if config.address == "local" else None
    # Ray prints what it thinks of a worker's death to standard output, which is for results.
    with redirect_stdout(sys.stderr), _variables({"RAY_USAGE_STATS_ENABLED": "0"}):
        ending = signal.getsignal(signal.SIGTERM)
        try:
            _connect(ray, config, workers, folder)
            if threading.current_thread() is threading.main_thread() and ending is not None:
                signal.signal(signal.SIGTERM, ending)  # Ray's own handler ends the process before anything is tidied
            yield _cluster(ray)
        finally:
            ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, config: RayConfig, workers: int, folder: Path | None) -> None:
    """Connect, or start a cluster whose files are in ``folder``.

    Raises:
        RunFailed: Neither is possible.
    """
    shared = {"log_to_driver": False, "logging_level": logging.ERROR}
    if folder is None:
        try:
            ray.init(address=config.address, **shared)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).strip().partition("\n")[0]
            where = "on this machine" if config.address == "auto" else f"at {config.address}"
            raise RunFailed(
                f"launcher 'ray' finds no Ray cluster {where}: {reason}",
                "start one with: ray start --head",
                "or let the run start its own on this machine, with address: local",
            ) from None
        return
    try:
        ray.init(
            address="local",
            num_cpus=workers * config.cpus_per_worker,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE,
            _temp_dir=str(folder),
            **shared,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunFailed(f"launcher 'ray' could not start a cluster on this machine: {reason}") from error


def _cluster(ray: Any) -> Cluster:
    resources: Mapping[str, float] = ray.cluster_resources()
    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    return Cluster(ray, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), machines)


def _temporary() -> Path:
    """Make a folder for the files of a cluster; the names of its sockets are long, so it lies high up."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="rk-ray-", dir=usual if len(usual) <= _LONGEST_FOLDER else "/tmp"))


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and leave all of Ray's as they were."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            if name not in before:
                del os.environ[name]
        os.environ.update(before)
