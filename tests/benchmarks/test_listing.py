"""Cost of ``toolkit list-components``, side by side with the imports that any such command needs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from side_by_side import Goal, Table, interleaved

pytestmark = pytest.mark.benchmark

FLOOR = "import pluggy, click; from importlib.metadata import entry_points; entry_points()"
LISTING = "import sys; from regionkit.registry.cli import main; sys.exit(main(['list-components']))"
HEAVY = ("torch", "timm", "transformers", "numpy", "pydantic")


def cpu_seconds_of_processes() -> float:
    """CPU time, user and system, of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_listing_beside_the_imports_that_it_needs(table: Table, tmp_path: Path):
    # Compiled files of both sides are made in a first call, whatever this process was told about writing them.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    after = f"import atexit, sys\natexit.register(lambda: print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules))))\n"
    assert run(after + LISTING).rstrip().endswith("HEAVY []")
    run(FLOOR)
    sides = {"imports": lambda: run(FLOOR), "listing": lambda: run(LISTING)}
    timings = interleaved(sides, 12, cpu_seconds_of_processes)
    assert "patch-pool" in timings.results["listing"]
    table.add(
        8,
        f"`toolkit list-components`; {', '.join(HEAVY)} not imported",
        f"importing pluggy, click and the entry points: {timings.said('imports')}",
        timings.said("listing"),
        timings.ratio("listing", "imports"),
        Goal(2, "at most"),
    )
