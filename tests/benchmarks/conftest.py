"""Options and fixtures of the benchmarks, and the Markdown that a run ends in.

The options are known where this folder is named: ``pytest tests/benchmarks -m benchmark --benchmark-size full``.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from side_by_side import SIZES, Size, Table
from this_machine import described, load

from regionkit.core.compute import Probe, probe
from regionkit.core.files import write_text

_INTRODUCTION = """\
# Benchmarks

This file is what one run of

    {command}

printed. Each row times two ways of doing the same thing side by side, in turn, in that one run, with random weights
{sizes}.

A ratio is that of medians; in brackets stand the slowest round of one side against the fastest of the other, and the
reverse. Results are compared before times are: equal tokens, or the error that the row names. Times are CPU seconds of
one thread unless the row says wall time. What is not met is printed as not met.

- Machine: {machine}
- Load (2: two processes want to run): {before} when the run began, {after} when it ended {minutes:.0f} minutes later

"""


@dataclass(slots=True)
class Run:
    """One run: its table, the machine, and when it began."""

    table: Table
    began: float
    onednn: Probe | None = None
    machine: str = ""
    before: str = ""


RUN = pytest.StashKey[Run]()
#: The run of this process, for the one hook that is not told its configuration.
_RUNS: list[Run] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmarks of regionkit")
    group.addoption("--benchmark-size", choices=sorted(SIZES), default="quick", help="full: the sizes of the goals")
    group.addoption(
        "--benchmark-release-boxes",
        type=int,
        default=48,
        metavar="N",
        help="so many of 400 boxes are captioned by the release's procedure, and its time is scaled; 400 for all",
    )
    group.addoption("--benchmark-report", type=Path, metavar="FILE.md", help="write the table to this file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = Run(Table(SIZES[config.getoption("--benchmark-size", "quick")]), time.perf_counter())
    _RUNS[:] = [config.stash[RUN]]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and _RUNS and Path(report.fspath).parent.name == Path(__file__).parent.name:
        _RUNS[0].table.failed.append(f"`{report.nodeid}`")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[RUN]
    if not run.machine:  # no benchmark was chosen
        return
    text = _INTRODUCTION.format(
        command=shlex.join(["pytest", *config.invocation_params.args]),
        sizes="at full size"
        if run.table.size.full
        else "and smaller sizes than the goals speak of where a row says so",
        machine=run.machine,
        before=run.before,
        after=load(),
        minutes=(time.perf_counter() - run.began) / 60,
    )
    text += run.table.markdown() + "\n"
    terminalreporter.write("\n" + text)
    target = config.getoption("--benchmark-report", None)
    if target is not None:
        write_text(target, text)


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """Name the machine, and probe it, before anything is measured on it."""
    run = request.config.stash[RUN]
    run.onednn = probe()  # what pipelines go by, too
    run.machine, run.before = described(run.onednn), load()
    return run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def table(one_thread: None, run: Run) -> Table:
    return run.table


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return request.config.stash[RUN].table.size


@pytest.fixture
def onednn_helps(run: Run) -> bool:
    """Whether goals are those for a CPU on which oneDNN is faster than torch's own products and as exact."""
    return run.onednn is not None and run.onednn.helps


@pytest.fixture(scope="session")
def bank(size: Size) -> torch.Tensor:
    """Unit rows (n, 768) of a made-up bank: 2000 clusters in a cone, as text embeddings lie."""
    dim, clusters, at_once = 768, 2000, 10_000
    draw = torch.Generator().manual_seed(7)
    centres = 0.8 * torch.randn(dim, generator=draw) + torch.randn(clusters, dim, generator=draw)
    found = torch.empty(size.bank, dim)
    for start in range(0, size.bank, at_once):  # in pieces: nothing beside the bank itself takes much memory
        part = found[start : start + at_once]
        part.normal_(generator=draw)
        part.mul_(0.7).add_(centres[torch.arange(start, start + len(part)) % clusters])
        part.div_(part.norm(dim=1, keepdim=True))
    return found
