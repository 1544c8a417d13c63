"""What a plan of 10,000 trials takes in a process of its own: ``toolkit ablate FILE --plan --json``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from side_by_side import Goal, Table, in_seconds

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
PLACE = 10
TRIALS = 10_000

BASE = """\
version: 1
base: mini
limit: 20
metrics: [cider-d]
"""
#: Two ways to come to ten thousand: many pipelines, or many data sets and seeds of a thousand.
SHAPES = {
    "10,000 pipelines x 1 data set x 1 seed": ("data: [box@mini]\nseeds: [0]\n", 100),
    "1,000 pipelines x 2 data sets x 5 seeds": ("data: [box@mini, mask@mini]\nseeds: [0, 1, 2, 3, 4]\n", 10),
}
GRID = "grid:\n  region_encoder.variance: {variances}\n  bridge.temperature: {temperatures}\n"

_PROGRAM = """
import resource, sys
from regionkit.registry.cli import main
code = 0
try:
    code = main(["ablate", sys.argv[1], "--plan", "--json"])
except SystemExit as end:
    code = end.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
_IMPORT = "import resource, torch; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


@pytest.mark.parametrize("shape", [pytest.param(name, id=name.split()[0]) for name in SHAPES])
def test_a_dry_plan_of_10000_trials(table: Table, tmp_path: Path, shape: str):
    text, variances = SHAPES[shape]
    file, said = tmp_path / "large.yaml", tmp_path / "plan.json"
    file.write_text(
        BASE
        + text
        + GRID.format(
            variances=[round(0.5 + 0.01 * number, 3) for number in range(variances)],
            temperatures=[round(0.01 + 0.001 * number, 4) for number in range(100)],
        )
    )
    with said.open("w") as stream:
        # By way of a shell, which is small: a process inherits the peak of the one that starts it.
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", _PROGRAM, str(file)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, stdout=stream, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment, check=False
        )
    assert done.returncode == 0, done.stderr
    trials = json.loads(said.read_text())["trials"]
    assert len({trial.get("id", trial.get("trial")) for trial in trials}) == TRIALS
    seconds, kilobytes = (float(word) for word in done.stderr.split()[-2:])
    torch = subprocess.run(
        [*command[:4], sys.executable, "-c", _IMPORT], capture_output=True, text=True, env=environment, check=True
    )
    alone = float(torch.stdout) / 1024
    figure = f"dry plan of 10,000 trials ({shape}), a process of its own"
    table.add(PLACE, f"{figure}: CPU time", "", in_seconds(seconds), seconds, Goal(10, "at most", " s"))
    megabytes = kilobytes / 1024
    table.add(
        PLACE,
        f"{figure}: peak memory",
        f"importing torch alone: {alone:.0f} MB",
        f"{megabytes:.0f} MB",
        megabytes,
        Goal(500, "at most", " MB"),
    )
