"""``launcher: ray``: how many workers there are, and on what devices."""

from __future__ import annotations

import os

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Launcher, Work
from regionkit.plugins.ray.cluster import Cluster, connected, import_ray
from regionkit.plugins.ray.configs import RayConfig
from regionkit.plugins.ray.crew import Crew, Place


class RayLauncher(Launcher):
    """Runs work on the workers of a Ray cluster; this process hands it out and keeps what comes back."""

    def __init__(self, config: RayConfig) -> None:
        self.config = config

    def launch(self, work: Work, device: str = "auto") -> None:
        """Run until no item remains. Workers, and a cluster that was started here, are gone afterwards.

        Args:
            work: What there is to do.
            device: ``auto`` for GPUs where the cluster has some, ``cuda`` or ``cpu``. Which of its GPUs a worker has
                is up to the cluster.

        Raises:
            MissingExtra: Ray is not installed.
            RunFailed: There is no such cluster, a worker cannot do this run, or the run is to stop.
        """
        import_ray()
        _check_device(device)
        if not work.remaining():
            return
        config = self.config
        room = max(1, _cpus_here() // config.cpus_per_worker) if config.workers == "auto" else config.workers
        with connected(config, room) as cluster:
            place = _place(config, cluster, device)
            workers = _fitting(place, cluster) if config.workers == "auto" else config.workers
            shared = work.split(config.shard) if workers > 1 and config.shard else work
            if shared is work:
                workers = min(workers, work.remaining())
            _tell(work, place, cluster, workers)
            crew = Crew(shared, cluster, place, config)
            try:
                crew.run(workers)
            finally:
                crew.dismiss()


def _check_device(device: str) -> None:
    """Refuse a device that a cluster cannot give.

    Raises:
        RunFailed: It is one.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise RunFailed(
            f"launcher 'ray' cannot give every worker the device '{device}'",
            "say --device cuda for a GPU each, which the cluster chooses, or --device cpu",
        )


def _place(config: RayConfig, cluster: Cluster, device: str) -> Place:
    """Return what a worker is given.

    Raises:
        RunFailed: No cluster without GPUs can give it.
    """
    if device == "cuda" and not cluster.gpus:
        raise RunFailed("launcher 'ray' has no GPU in its cluster", "say --device cpu, or add a machine that has one")
    on_gpu = device == "cuda" or (device == "auto" and cluster.gpus > 0)
    return Place("cuda" if on_gpu else "cpu", config.cpus_per_worker, config.gpus_per_worker if on_gpu else 0.0)


def _fitting(place: Place, cluster: Cluster) -> int:
    """Return how many workers the cluster has room for: one a GPU, or one a CPU."""
    room = cluster.gpus / place.gpus if place.gpus else cluster.cpus / place.cpus
    return max(1, int(room))


def _tell(work: Work, place: Place, cluster: Cluster, workers: int) -> None:
    machines = "1 machine" if cluster.machines == 1 else f"{cluster.machines} machines"
    each = f"{place.cpus} CPU" + (f" and {place.gpus:g} GPU" if place.gpus else "")
    work.tell(f"ray: {workers} {'worker' if workers == 1 else 'workers'} on {machines}, {each} each")
    lacking = workers * place.cpus > cluster.cpus or workers * place.gpus > cluster.gpus
    if lacking:
        has = f"{cluster.cpus} CPU" + (f" and {cluster.gpus} GPU" if place.gpus else "")
        work.tell(f"ray: the cluster has {has}, too little for all of them now; those that find no place wait")


def _cpus_here() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
