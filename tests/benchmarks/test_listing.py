"""Cost of ``toolkit list-components``, side by side with the imports that any such command needs."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark

FLOOR = "import pluggy, click; from importlib.metadata import entry_points; entry_points()"
LISTING = "import sys; from regionkit.registry.cli import main; sys.exit(main(['list-components']))"
ROUNDS = 12


def cpu_seconds(code: str) -> float:
    """CPU time, user and system, of a fresh interpreter that runs this code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_listing_costs_at_most_twice_its_imports():
    for code in (FLOOR, LISTING):  # compiled files and disk cache
        cpu_seconds(code)
    pairs = [(cpu_seconds(FLOOR), cpu_seconds(LISTING)) for _ in range(ROUNDS)]
    floor, listing = (min(times) for times in zip(*pairs, strict=True))
    print(f"\nlist-components {listing:.3f} s CPU, its imports {floor:.3f} s: ratio {listing / floor:.2f}")
    assert listing <= 2 * floor
