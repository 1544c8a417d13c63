"""What holds for every test: property tests draw the same examples in every run, and no test changes the next one's
environment.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")
#: Each process holds torch and transformers, about a gigabyte.
_MOST_WORKERS = 8

# Indexes and replies that tests make are nobody's else, and what a user keeps at home must not decide a test.
if "REGIONKIT_CACHE" not in os.environ:
    os.environ["REGIONKIT_CACHE"] = tempfile.mkdtemp(prefix="regionkit-tests-")
    atexit.register(shutil.rmtree, os.environ["REGIONKIT_CACHE"], ignore_errors=True)
# What fits on a line must not depend on the terminal that tests are started from.
os.environ.pop("COLUMNS", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread a whole run over the cores; a few files, or times to measure, stay in this process."""
    measuring = config.option.markexpr in ("benchmark", "gpu")
    chosen = any(Path(argument.partition("::")[0]).suffix == ".py" for argument in config.args)
    return 0 if measuring or chosen else min(os.cpu_count() or 1, _MOST_WORKERS)


# The models of these tests are tiny: more threads only wait for each other, and one thread sums in one order.
torch.set_num_threads(1)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("REGIONKIT_", "HF_"))}


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Name the test that leaves a variable of ours or of the hub behind: commands run in this very process."""
    before = _variables()
    yield
    assert _variables() == before
