"""An ablation that is killed at any moment loses no finished trial and doubles none."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

import pytest
from ablation_fakes import write
from click.testing import CliRunner
from worker_fakes import Fork

from regionkit.plugins.ablation import commands

TEXT = """\
data: [box@t-colours, point@t-colours]
metrics: [cider-d, noun-f1]
grid:
  region_encoder: [t-pool, {name: t-pool, flip: true}]
  bridge: [none, {name: t-shift, amount: [0.0, 0.1, 0.2, 0.3, 0.4]}]
seeds: [0, 1]
"""


def finished(database: Path) -> dict[str, float]:
    """Return finished trial -> the time that it took, which no second run would repeat."""
    if not database.exists():
        return {}
    query = "SELECT id, seconds FROM trials JOIN timings ON trial = id WHERE stage = 'trial' AND status = 'done'"
    with sqlite3.connect(database, timeout=60) as connection:
        made = connection.execute("PRAGMA user_version").fetchone()[0]
        rows = connection.execute(query).fetchall() if made else []
    connection.close()
    return dict(rows)


def tables(database: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(database) as connection:
        names = ("trials", "scores", "samples", "sample_scores")
        content = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in names}
    connection.close()
    return content


def kill_after(arguments: list[str], database: Path, trials: int, delay: float) -> None:
    """Start a run and kill it a moment after so many trials are stored."""
    process = Fork(lambda: CliRunner().invoke(commands.ablate, arguments).exit_code, database.parent.parent / "log")
    try:
        end = time.monotonic() + 60
        while len(finished(database)) < trials:
            assert process.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(delay)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "kills", [pytest.param((12,), id="once"), pytest.param((1, 12, 30), id="three-times", marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tmp_path, monkeypatch, kills):
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "fixed")
    # Each decoding takes a while, so that kills hit trials under way; sleeping does not change what comes out.
    file = write(tmp_path, TEXT + "include: []\n")
    slow = ["--set", "base.decoder.slow=0.005"]
    arguments = [str(file), "--out", str(tmp_path / "killed"), *slow]
    database = tmp_path / "killed" / "results.sqlite"
    moments = random.Random(2)
    seen: dict[str, float] = {}
    for trials in kills:
        kill_after(arguments, database, trials, moments.uniform(0, 0.1))
        kept = finished(database)
        assert seen.items() <= kept.items(), "a finished trial was lost or run again"
        seen = kept
    assert len(seen) < 48
    resumed = CliRunner().invoke(commands.ablate, arguments)
    assert resumed.exit_code == 0, resumed.output
    assert f"{48 - len(seen)} trials ran, {len(seen)} were done before" in resumed.stdout
    assert seen.items() <= finished(database).items()

    whole = CliRunner().invoke(commands.ablate, [str(file), "--out", str(tmp_path / "whole"), *slow])
    assert whole.exit_code == 0, whole.output
    assert tables(database) == tables(tmp_path / "whole" / "results.sqlite")
    for name in ("results.csv", "results.md"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
