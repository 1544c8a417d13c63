"""Connects to a Ray cluster, or starts one that ends with the run."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from regionkit.core.errors import MissingExtra, RunFailed
from regionkit.plugins.ray.configs import RayConfig

#: Bytes of shared memory of a cluster that we start: results are captions, which are small.
_OBJECT_STORE = 128 << 20
#: Longest folder of temporary files below which the names of Ray's sockets, 107 characters at most, still fit.
_LONGEST_FOLDER = 24
#: Processes without which a cluster does nothing.
_VITAL = ("raylet", "gcs_server")
#: Seconds in which what is left of a cluster may still write to its folder.
_AFTERMATH = 10.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        ray: The package.
        cpus: CPUs of all machines.
        gpus: GPUs of all machines.
        machines: Number of machines.
        node: Ray's handle of the processes of a cluster that was started here; None for one that others run.
    """

    ray: Any
    cpus: int
    gpus: int
    machines: int
    node: Any = None

    def death(self) -> str:
        """Say of what a cluster that was started here has died; nothing while it lives, or where others run it.

        Its processes are looked at: without them Ray's own calls wait for a minute, and then end this process.
        """
        if self.node is None:
            return ""
        for name, process in self.node.dead_processes():
            if name in _VITAL:
                code = process.returncode
                how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
                return f"its process '{name}' {how}"
        return ""


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
    # Ray prints to standard output, which is for results.
    with redirect_stdout(cast(TextIO, _Ours())), _variables({"RAY_USAGE_STATS_ENABLED": "0"}):
        ending = signal.getsignal(signal.SIGTERM)
        try:
            _connect(ray, config, workers, folder)
            if threading.current_thread() is threading.main_thread() and ending is not None:
                signal.signal(signal.SIGTERM, ending)  # Ray's own handler ends the process before anything is tidied
            yield _cluster(ray, None if folder is None else ray._private.worker._global_node)
        finally:
            orphans = [] if folder is None else _below_raylet(ray._private.worker._global_node)
            try:
                with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # what Ray has not said yet
                    ray.shutdown()
            finally:
                _end(orphans)
                if folder is not None:
                    _remove(folder)


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


def _cluster(ray: Any, node: Any = None) -> Cluster:
    resources: Mapping[str, float] = ray.cluster_resources()
    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    return Cluster(ray, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), machines, node)


def _temporary() -> Path:
    """Make a folder for the files of a cluster; the names of its sockets are long, so it lies high up."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="rk-ray-", dir=usual if len(usual) <= _LONGEST_FOLDER else "/tmp"))


def _below_raylet(node: Any) -> list[tuple[int, str]]:
    """Return number and start time of the processes that a raylet started; without a head it does not end them."""
    raylets = {info.process.pid for info in node.all_processes.get("raylet", ())} if node is not None else set()
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")] if raylets else []
    found = [(number, *_parent_and_start(number)) for number in numbers]
    return [(number, start) for number, parent, start in found if parent in raylets]


def _parent_and_start(process: int) -> tuple[int, str]:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0, ""
    return int(fields[1]), fields[19]


def _end(processes: list[tuple[int, str]]) -> None:
    """End processes that still are the ones that they were."""
    for number, start in processes:
        if _parent_and_start(number)[1] == start != "":
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove a folder to which processes that are about to end may still write."""
    end = time.monotonic() + _AFTERMATH
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > end:
            return
        time.sleep(0.05)


class _Ours:
    """Standard error, without what Ray's threads print about deaths: pages of logs, and the crew tells of them."""

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else sys.stderr.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


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
