"""Ending in order when a scheduler such as Slurm says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

#: Exit status of a command that SIGTERM ended, as shells have it.
TERMINATED = 143
#: What is said when a run is stopped whose folder keeps what has ended.
GOES_ON = "stopped; the same command goes on where it stopped"


@contextmanager
def ending_on_sigterm(said: str = "") -> Iterator[None]:
    """Turn SIGTERM into SystemExit, which ends a run as Ctrl-C does: leases are given back, workers end.

    Args:
        said: Printed when either has ended it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as ended:
        if said and (isinstance(ended, KeyboardInterrupt) or ended.code == TERMINATED):
            click.echo(said, err=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
