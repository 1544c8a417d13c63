"""A small cluster that tests share: starting one takes seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from regionkit.plugins.ray import cluster as cluster_module
from regionkit.plugins.ray.cluster import connected
from regionkit.plugins.ray.configs import RayConfig


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of three CPUs, started as the launcher starts one; afterwards nothing of it is left."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    variables = {name for name in os.environ if name.startswith("RAY_")}
    made = []
    others = below(os.getpid())  # of other tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # actors import fakes from there
        make = cluster_module._temporary
        patch.setattr(cluster_module, "_temporary", lambda: made.append(make()) or made[-1])
        with connected(RayConfig(address="local"), 3):
            started = {one: words for one, words in below(os.getpid()).items() if one not in others}
            assert any("raylet" in words for words in started.values())
            yield
    assert gone(started), started
    assert not made[0].exists()
    assert {name for name in os.environ if name.startswith("RAY_")} == variables


def below(top: int) -> dict[int, str]:
    """Return the processes that another one started, and theirs: number -> command line."""
    parents, words = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has just ended
    found = {top}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: words[one] for one in found - {top} if one in words}


def gone(processes: Iterable[int], seconds: float = 20) -> bool:
    """Wait until some processes have ended; say whether they have."""
    end = time.monotonic() + seconds
    while any(_lives(one) for one in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
