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


def plugin_block(heading):
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def test_the_task_of_the_document(project):
    from regionkit.core.contracts import Sample
    from regionkit.core.features import Caption
    from regionkit.core.regions import Box
    from regionkit.core.testing import check_task
    from regionkit.registry.assembly import build

    project.plugin("my_task", plugin_block("A task"))
    task = build("task", "colour")
    check_task(task)
    sample = Sample("0", "0", Box(0, 0, 4, 4), ("A red bus", "a bus", "the blue and white bus"))
    assert task.prepare(sample).references == ("red", "blue white")
    assert task.answer(sample, Caption("A red car", 0.0)).text == "red"
    assert build("task", "colour").prepare(Sample("0", "0", sample.region, ("a bus",))) is None


def test_the_judge_of_the_document(project, capsys):
    from regionkit.core.judging import Question, ask_all
    from regionkit.core.testing import check_judge
    from regionkit.registry.assembly import build

    project.plugin("my_judge", plugin_block("A judge"))

    def make(command="cat"):
        return build("judge", {"name": "program", "command": command})

    check_judge(make)
    (answer,) = ask_all(make(), [Question("7")], int)
    assert answer.value == 7
    (answer,) = ask_all(make("false"), [Question("7")], int)
    assert (answer.value, answer.error) == (None, "false ended with 1")
    predictions = {"predictions.json": json.dumps({"1": "a dog"}), "references.json": json.dumps({"1": ["a dog"]})}
    project(predictions)
    flags = ("--metrics", "clair", "--set", "clair.judge.name=program")
    command = """clair.judge.command='echo {"score": 80}'"""
    result = project.run(
        "score", "predictions.json", "--references", "references.json", *flags, "--set", command, "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scores"]["clair"]["value"] == 0.8
