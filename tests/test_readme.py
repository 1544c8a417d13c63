"""The README says what the program says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from regionkit.registry.cli import root

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def toolkit(*args):
    result = CliRunner().invoke(root, list(args))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_of_components_is_the_one_that_the_toolkit_prints():
    table = toolkit("list-components", "--format", "md").strip()
    assert table in README, "replace the table in README.md by: toolkit list-components --format md"


def test_the_python_example_runs(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_pipeline_and_the_ablation_are_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(files) == 2
    for number, text in enumerate(files):
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
    assert "a good pipeline" in toolkit("validate", "0.yaml")
    assert "a good ablation" in toolkit("validate", "1.yaml")


@pytest.mark.parametrize("document", ["README.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(document):
    path = ROOT / document if document == "README.md" else ROOT / "docs" / document
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing


def test_commands_that_the_documents_name_exist():
    known = set(toolkit("--help").split())
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        named = re.findall(r"toolkit ([a-z][a-z-]+)", path.read_text(encoding="utf-8"))
        assert set(named) <= known, f"{path.name}: {set(named) - known}"


def test_data_tasks_and_judges_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    section = README.partition("## Data, tasks and judges\n")[2].partition("\n## ")[0]
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    (toolkit .*)$", section, re.MULTILINE)]
    said = {" ".join(words[1:3]): toolkit(*words[1:]) for words in commands}
    assert len(commands) == 7
    assert re.search(r"^box +test +8 +8 +0 ", said["data import"], re.MULTILINE)
    assert re.search(r"^cider-d +8\.", said["score said.jsonl"], re.MULTILINE)
    assert "image@mini" in said["run mini"]
