"""``toolkit run --set``: options of data sets, tasks and metrics, beside those of the pipeline."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from regionkit.core.errors import ConfigError
from regionkit.plugins.ablation.overrides import laid_over
from regionkit.registry.cli import root


def test_options_go_where_they_belong():
    asked = laid_over(
        ["data.root=/d", "task.beams=3", "clair.judge.name=http", "bridge.temperature=0.1", "clair.judge.model=m"],
        ["box@lvis/val", "mask@lvis"],
        ["clair", "bleu"],
    )
    assert asked.data == [
        {"task": {"name": "box", "beams": 3}, "name": "lvis", "split": "val", "root": "/d"},
        {"task": {"name": "mask", "beams": 3}, "name": "lvis", "root": "/d"},
    ]
    assert asked.metrics == [{"name": "clair", "judge": {"name": "http", "model": "m"}}, "bleu"]
    assert asked.pipeline == ["bridge.temperature=0.1"]


def test_without_options_words_stay_as_they_are():
    asked = laid_over(["decoder.max_length=9"], ["box@mini", "no-at"], ["bleu"])
    assert (asked.data, asked.metrics) == (["box@mini", "no-at"], ["bleu"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("data.name=lvis", "--data says which data it is", id="data"),
        pytest.param("task=box", "--data says which task it is", id="task"),
        pytest.param("data.split=val", "--data says which data it is", id="split"),
        pytest.param("bleu.name=x", "--metrics says which bleu it is", id="metric"),
        pytest.param("data.root", "is not of the form a.b=c", id="no-value"),
    ],
)
def test_what_another_flag_says_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        laid_over([text], ["box@mini"], ["bleu"])


def test_own_pictures_are_run_on_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke
    assert call(root, ["data", "make", "mini", "--limit", "3", "--out", "own"]).exit_code == 0
    command = ["run", "mini", "--data", "box@jsonl", "--metrics", "rouge-l", "--json"]
    found = call(root, [*command, "--set", "data.file=own/regions.jsonl", "--set", "rouge-l.tokeniser=words"])
    assert found.exit_code == 0, found.output
    (trial,) = json.loads(found.stdout)["trials"]
    assert trial["data"] == "box@jsonl(file=own/regions.jsonl)"
    assert trial["samples"] == 3
    wrong = call(root, [*command, "--set", "data.fil=own/regions.jsonl"])
    assert wrong.exit_code == 2
    assert "did you mean: file" in wrong.stderr


def test_a_metric_without_its_judge_says_what_to_type():
    result = CliRunner().invoke(root, ["run", "mini", "--data", "box@mini", "--metrics", "clair"])
    assert result.exit_code == 2
    assert "for example --set clair.judge.name=http; see: toolkit show http" in result.stderr
