"""Trials on this machine: in this process, or in worker processes that are watched."""

from __future__ import annotations

import time

from regionkit.core.launching import Launcher, Work, beating
from regionkit.plugins.ablation.launching.configs import LocalConfig
from regionkit.plugins.ablation.launching.pool import Limits, Pool

#: Seconds between two looks at what others have done.
PAUSE = 0.25


class Local(Launcher):
    """Runs work in this process or in others of this machine.

    Work that is done here cannot be stopped from outside, so that limits need a worker process.
    """

    def __init__(self, config: LocalConfig) -> None:
        self.config = config

    def launch(self, work: Work, device: str = "auto") -> None:
        """Run until no item remains. Processes end with this one, also when it is killed.

        Raises:
            RunFailed: The run stopped before its end, or no worker can start.
        """
        config = self.config
        limits = Limits(config.time_limit, config.memory_limit)
        devices = devices_of(device)
        count = (len(devices) if devices[0].startswith("cuda") else 1) if config.workers == "auto" else config.workers
        if not count and limits.any:
            work.tell("time and memory of trials are limited, so they run in a worker process: launcher.workers is 1")
            count = 1
        with beating(work, lambda: ["main"], config.lease):
            if not count:
                run_here(work, devices, share=config.share_device)
                return
            if devices[0] != "cpu" and not config.share_device and count > len(devices):
                work.tell(
                    f"{count} workers are more than the {len(devices)} devices here, so {len(devices)} start; "
                    "launcher.share_device=true lets them share"
                )
                count = len(devices)
            Pool(work, count, devices, limits, share=config.share_device).run()


def run_here(work: Work, devices: list[str], *, share: bool = False) -> None:
    """Do items in this process, one after the other."""
    owner, group = "main", ""
    device = _claim(work, owner, devices, share)
    if device is None:
        return
    worker = work.worker(device=device)
    try:
        while True:
            item = work.take(owner, group)
            if item is not None:
                group = item.group
                result = worker.run(item.id) if item.parts is None else worker.run(item.id, item.parts)
                work.finish(owner, item, result)
            elif work.remaining():
                time.sleep(PAUSE)  # others have them, and may yet lose them
            else:
                break
    finally:
        worker.close()
        work.leave(owner)


def _claim(work: Work, owner: str, devices: list[str], share: bool) -> str | None:
    """Wait for a device; None where all items have ended before there is one."""
    said = False
    while True:
        for device in devices:
            if share or work.claim(owner, device):
                return device
        if not said:
            work.tell(f"{' and '.join(devices)} belong to other workers of this run, so this process waits for theirs")
            said = True
        if not work.remaining():
            return None
        time.sleep(PAUSE)


def devices_of(name: str) -> list[str]:
    """Return the devices that a name stands for: all CUDA devices for ``auto`` where there are any.

    Raises:
        RegionkitError: There is no such device here.
    """
    import torch

    from regionkit.registry.assembly import pick_device

    picked = pick_device(name)
    if picked.type != "cuda":
        return [str(picked)]
    if name == "auto":
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [f"cuda:{picked.index or 0}"]


def device_key(device: str) -> str:
    """Return what tells a device from all others of its machine, in every process.

    What one process calls ``cuda:0`` may be another GPU to the next, as each task of Slurm sees its own alone.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    found = getattr(torch.cuda.get_device_properties(int(index or 0)), "uuid", None)
    return f"cuda {found}" if found else device
