"""``toolkit worker``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from regionkit.plugins.ablation.runner import Place


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--device", default="auto", show_default=True, help="auto is the first GPU that no other worker has.")
@click.option("--share-device", is_flag=True, help="Use a GPU that another worker of this run has.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Stay while others are at work: theirs may come back."
)
@click.option("--quiet", is_flag=True, help="Say nothing but what went wrong.")
@click.pass_context
def worker(context: click.Context, /, run: Path, device: str, share_device: bool, wait: bool, quiet: bool) -> None:
    """Join the run in the folder RUN: do trials that nobody has, until none remains.

    Start it as often as there are GPUs, in other shells, on other machines that see the folder, or as `srun toolkit
    worker RUN` in Slurm. It may come and go: what it had when it ended, others do again.

    Ends with status 1 if one of its trials failed or would be another one here, with 2 where RUN is no run, with 130
    after Ctrl-C and with 143 after SIGTERM.
    """
    from regionkit.core.results import DATABASE, ResultStore
    from regionkit.plugins.ablation.commands import progress_on
    from regionkit.plugins.ablation.run_folder import check_same, read_ablation
    from regionkit.plugins.ablation.runner import Place, Runner
    from regionkit.plugins.ablation.signals import GOES_ON, ending_on_sigterm
    from regionkit.plugins.ablation.words import counted
    from regionkit.plugins.ablation.workers import plan_recorded
    from regionkit.registry.schema import fill

    folder = run.absolute()
    recorded = read_ablation(folder)
    if os.path.isdir(recorded.place):  # relative paths of the file start where the run was started
        os.chdir(recorded.place)
    plan = plan_recorded(recorded)
    check_same(recorded.facts, plan, "this worker")
    launcher = fill("launcher", recorded.launcher) if recorded.launcher else None
    place = Place(folder, None, launcher, wait, share_device)
    with ending_on_sigterm(GOES_ON):
        chosen = choose_device(place, device)
        with ResultStore(folder / DATABASE, journal=place.journal) as store:
            summary = Runner(plan, store, progress_on(quiet=quiet), recorded.run_options(chosen), place).run()
    if not quiet:
        click.echo(f"{counted(summary.ran, 'trial')} ran here, {summary.failed_here} failed", err=True)
    context.exit(1 if summary.failed_here else 0)


def choose_device(place: Place, asked: str) -> str:
    """Return the device of a worker, the first that is free for ``auto``.

    Raises:
        RunFailed: Others have it.
        RegionkitError: It is not there.
    """
    from contextlib import closing

    from regionkit.core.errors import RunFailed
    from regionkit.plugins.ablation.launching.local import device_key, devices_of
    from regionkit.plugins.ablation.queue import QUEUE, Queue

    devices = devices_of(asked)
    if devices == ["cpu"] or place.share_device:
        return devices[0]
    with closing(Queue(place.folder / QUEUE, journal=place.journal)) as queue:
        queue.others()  # devices of the dead are free
        holders = {device: queue.holder(device_key(device)) for device in devices}
    for device, holder in holders.items():
        if holder is None:
            return device
    device, holder = next(iter(holders.items()))
    assert holder is not None
    which = f"{device} has" if len(devices) == 1 else f"{' and '.join(devices)} have"
    raise RunFailed(
        f"{which} a worker of this run already: {holder.about}",
        "choose another with --device, or let workers share one with --share-device",
    )
