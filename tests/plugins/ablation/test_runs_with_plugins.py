"""Runs whose file brought plugins: what reads them later has the plugins again, if the user allows it."""

from __future__ import annotations

import json
import sys

import pytest
from ablation_fakes import write
from click.testing import CliRunner

from regionkit.core.results import DATABASE, ResultStore
from regionkit.registry.cli import root
from regionkit.registry.registry import Owner, get_registry
from regionkit.registry.run_folders import ABLATION, load_plugins_of

PLUGIN = """\
from ablation_fakes import Colours
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="dataset", name="my-colours", target=f"{__name__}:Mine",
                          config="ablation_fakes:ColoursConfig", accepts=("box", "point"))]

class Mine(Colours):
    pass
"""
FILE = "data: [box@my-colours]\nmetrics: [noun-f1]\nplugins: [./my_colours.py]\nlimit: 2\n"


def toolkit(*words):
    return CliRunner().invoke(root, [*map(str, words)])


def forget():
    """Let the next command be one of another process, which knows nothing of the plugin."""
    import ablation_fakes

    get_registry.cache_clear()
    sys.modules.pop("my_colours", None)
    get_registry().register(ablation_fakes, Owner("ablation_fakes", "tests", "0"))


@pytest.fixture
def run(tmp_path):
    (tmp_path / "my_colours.py").write_text(PLUGIN)
    file, out = write(tmp_path, FILE), tmp_path / "out"
    try:
        made = toolkit("ablate", file, "--out", out, "--device", "cpu", "--allow-local-plugins")
        assert made.exit_code == 0, made.output
        forget()
        yield out
    finally:
        forget()


def test_it_is_run_again_with_its_plugins(run):
    refused = toolkit("rerun", run)
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[:2] == [
        f"error: {run / ABLATION}: plugins: this file brings plugins of its own, and reading it would run their code",
        "  if you trust them, add --allow-local-plugins to the command; in Python: load(..., allow_local_plugins=True)",
    ]
    assert "my_colours" not in sys.modules
    again = toolkit("rerun", run, "--allow-local-plugins")
    assert again.exit_code == 0, again.output
    assert "8 of 8 captions identical" in again.stdout
    assert "changed: " not in again.stdout


def test_a_caption_is_explained_with_its_plugins(run):
    with ResultStore(run / DATABASE, read_only=True) as store:
        sample = next(iter(store.sample_counts()))
    assert toolkit("explain", run, "--list").exit_code == 0, "a list needs no code"
    refused = toolkit("explain", run, sample)
    assert refused.exit_code == 2
    assert f"error: {run / ABLATION}: plugins: this file brings plugins of its own" in refused.stderr
    told = toolkit("explain", run, sample, "--allow-local-plugins")
    assert told.exit_code == 0, told.output
    assert "the caption that is made now is the recorded one" in told.stdout


def test_a_report_has_its_pictures_with_its_plugins_and_is_written_without(run):
    without = toolkit("report", run)
    assert without.exit_code == 0, without.output
    assert "are left out: " in without.stderr
    assert "add --allow-local-plugins to the command" in without.stderr
    assert "data:image/webp" not in (run / "report.html").read_text(encoding="utf-8")
    made = toolkit("report", run, "--allow-local-plugins")
    assert (made.exit_code, made.stderr) == (0, "")
    assert "data:image/webp" in (run / "report.html").read_text(encoding="utf-8")


def test_the_command_that_makes_it_again_allows_them(run):
    told = json.loads((run / "analysis.json").read_text())
    assert told["command"].split()[3:] == ["--allow-local-plugins", "--out", str(run)]


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"plugins": 3}', '{"plugins": [], "place": "."}', "[" * 99999])
def test_a_folder_that_names_no_plugins_needs_no_leave(tmp_path, text):
    if text is not None:
        (tmp_path / ABLATION).write_text(text)
    load_plugins_of(tmp_path)
