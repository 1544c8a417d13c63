"""One run folder for all tests that only read it."""

from __future__ import annotations

import shutil

import pytest
from report_cases import make_run

from regionkit.plugins.report.writing import write_report


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run with its report."""
    folder = make_run(tmp_path_factory.mktemp("report") / "by-hand")
    write_report(folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that run without its report, to be changed."""
    folder = tmp_path / "by-hand"
    folder.mkdir()
    for name in ("results.sqlite", "analysis.json"):
        shutil.copy(finished / name, folder / name)
    return folder
