"""What docs/data.md says works as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regionkit.registry.discovery.spec_checks import check_component

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)[1]


def test_the_table_has_every_data_set():
    code = "from regionkit.registry.cli import root; root(['data', 'list', '--format', 'md'])"
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    written = re.search(r"<!-- data sets -->\n(.*?)<!-- end -->", DOCS, re.DOTALL)[1]
    assert written == made, "docs/data.md: put the output of `toolkit data list --format md` between the two marks"


@pytest.fixture
def own(project):
    """Return a project with the files of the first example."""
    project({"own.jsonl": block("json"), "own.yaml": block("yaml")})
    assert project.run("data", "make", "mini", "--limit", "2", "--out", "mini").exit_code == 0
    pictures = sorted((project.folder / "mini").rglob("*.png"))
    for line, picture in zip(block("json").splitlines(), pictures, strict=True):
        shutil.copy(picture, project.folder / json.loads(line)["image"])
    return project


def test_the_first_example_is_counted(own):
    result = own.run("data", "import", "jsonl", "--set", "file=own.jsonl", "--json")
    (count,) = json.loads(result.stdout)["counts"]
    assert (count["task"], count["split"], count["samples"], count["left_out"]) == ("box", "test", 2, [])


def test_the_first_example_runs(own):
    result = own.run("ablate", "own.yaml", "--out", "runs/own", "--set", "base.bridge=none")
    assert result.exit_code == 0, result.output
    assert "cider-d" in result.stdout
    captions = json.dumps({"1": "a red bus", "2": "a dog runs"})
    own({"captions.json": captions})
    flags = ("--data", "box@jsonl", "--set", "data.file=own.jsonl", "--metrics", "rouge-l")
    scored = own.run("score", "captions.json", *flags, "--set", "rouge-l.tokeniser=words", "--json")
    assert json.loads(scored.stdout)["scores"]["rouge-l"]["value"] == 1.0


def test_the_spec_is_sound():
    names: dict[str, object] = {}
    exec(block("python"), names)
    assert check_component(names["SPEC"]) is names["SPEC"]
