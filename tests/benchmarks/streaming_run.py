"""One run of ``toolkit train`` that notes what memory is resident as it goes, and may kill itself. Run as a program.

Usage: streaming_run.py RECIPE FOLDER REPORT [KILL_AT]
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from this_machine import resident

from regionkit.plugins.training.engine import Engine
from regionkit.plugins.training.recipe_file import plan_variants
from regionkit.plugins.training.runs import RunOptions, carry_out

#: Percent of the steps after which memory is looked at.
MARKS = (10, 25, 50, 75, 100)


class Watched:
    """Notes resident megabytes at the marks; kills this process when it is time."""

    def __init__(self, total: int, kill_at: int) -> None:
        self.marks = {max(1, total * mark // 100): mark for mark in MARKS}
        self.kill_at = kill_at
        self.megabytes: dict[int, float] = {}

    def update(self, done: int, loss: float, figures: Mapping[str, float]) -> None:
        if done == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if done in self.marks:
            self.megabytes[self.marks[done]] = resident()


def main(recipe: str, folder: str, report: str, kill_at: str = "-1") -> None:
    seen: list[Watched] = []
    started: list[int] = []

    @contextmanager
    def show(total: int, start: int) -> Iterator[Watched]:
        gc.collect()
        seen.append(Watched(total, int(kill_at)))
        started.append(start)
        yield seen[0]

    (plan,) = plan_variants(Path(recipe), folder=Path(folder))
    # The unbroken run keeps no checkpoint, so that nothing but the batches themselves can be what both have in common.
    options = RunOptions(checkpoint_steps=0 if kill_at == "-1" else 10, checkpoint_seconds=1e9)
    outcome = carry_out(plan, options, Engine.on("cpu"), show).outcome
    assert outcome is not None
    told = {"megabytes": seen[0].megabytes, "start": started[0], "tokens": outcome.tokens, "seconds": outcome.seconds}
    Path(report).write_text(json.dumps({**told, "rate": outcome.tokens_a_second, "steps": outcome.steps}))


if __name__ == "__main__":
    main(*sys.argv[1:])
