"""Tables of papers as files: what is read, what is refused with the line, and the command that lists them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regionkit.core.errors import ConfigError
from regionkit.registry.cli import root
from regionkit.registry.published.matching import forget
from regionkit.registry.published.tables import read_table, rows_of
from regionkit.registry.registry import get_registry

TABLE = """version: 1
paper: toys
table: 2
title: Toys on boxes
metrics:
  C: {metric: cider-d, scale: 100}
  B: {metric: {name: bleu, tokeniser: words}, part: "4"}
columns:
  - {data: {task: box, name: mini, split: test}, prints: [C, B]}
  - {data: {task: image, name: mini}, prints: [C]}
rows:
  - {label: Ours, group: all of them, setting: at 96, preset: mini, note: small, values: [[27.9, null], [12]]}
  - {label: By task, preset: {box: mini}, train: [some.yaml], values: [[null, 0.5], [3.5]]}
  - {label: Theirs, runs: false, why: it needs pairs, values: [[30.5, 0.1], [null]]}
"""
PLUGIN = """
from pathlib import Path
from regionkit.core.plugin import hookimpl

@hookimpl
def regionkit_published():
    return [str(Path(__file__).parent / "tables")]
"""


def write(folder: Path, text: str = TABLE) -> Path:
    path = folder / "table-02.yaml"
    path.write_text(text)
    return path


def test_a_table_is_read_with_all_that_it_says(tmp_path):
    table = read_table(write(tmp_path))
    assert (table.paper, table.number, table.title) == ("toys", "2", "Toys on boxes")
    ours, by_task, theirs = table.rows
    assert (ours.label, ours.group, ours.setting, ours.note) == ("Ours", "all of them", "at 96", "small")
    assert [(str(v.data), v.metric.column, v.printed) for v in ours.values] == [
        ("box@mini/test", "cider-d", 27.9), ("image@mini/test", "cider-d", 12.0),
    ]  # fmt: skip
    assert ours.place == "table 2, row 'Ours' (at 96)"
    assert by_task.values[0].metric.column == "bleu-4"
    assert (by_task.values[0].metric.options, by_task.values[0].metric.scale) == ({"tokeniser": "words"}, 1.0)
    assert ours.preset("image") == "mini"
    assert (by_task.preset("box"), by_task.preset("image")) == ("mini", "")
    assert [value.printed for value in by_task.of("mini")] == [0.5]
    assert by_task.train == ("some.yaml",)
    assert (dict(theirs.presets), theirs.why) == ({}, "it needs pairs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("version: 1", "version: 2", ":1: version: expected version 1, got 2", id="version"),
        pytest.param("title:", "titel:", ":4: titel: unknown key\n  did you mean: title", id="key"),
        pytest.param("metric: cider-d", "metric: cider", ":6: metrics.C.metric: no metric named 'cider'", id="metric"),
        pytest.param("scale: 100", "scale: 0", ":6: metrics.C.scale: expected a number above 0, got 0", id="scale"),
        pytest.param("name: mini}", "name: maxi}", "no data set 'maxi' with a task 'image'", id="data-set"),
        pytest.param("task: image", "task: vqa", "no data set 'mini' with a task 'vqa'", id="task"),
        pytest.param(
            "prints: [C, B]", "prints: [C, D]", ":9: columns.0.prints: metrics says nothing of: D", id="symbol"
        ),
        pytest.param("{task: box, name: mini, split: test}", "box", ":9: columns.0: expected {data: ", id="no-data"),
        pytest.param(
            "[[27.9, null], [12]]", "[[27.9], [12]]", ":12: rows.0.values: expected 2 lists of 2, 1 numbers", id="sizes"
        ),
        pytest.param("27.9", "many", "rows.0.values: 'many' is no number; what is not printed is null", id="word"),
        pytest.param("27.9", "true", "rows.0.values: True is no number", id="truth"),
        pytest.param(
            ", runs: false, why: it needs pairs", "", ":14: rows.2: a row without a preset says why", id="why"
        ),
        pytest.param("preset: mini, note", "preset: mini, why: no, note", "a row with a preset is run", id="both"),
        pytest.param("label: Ours, ", "", ":12: rows.0: expected a row: {label: AS PRINTED", id="label"),
        pytest.param("group:", "grup:", ":12: rows.0.grup: unknown key\n  did you mean: group", id="row-key"),
        pytest.param("rows:", "rows: 3\nnothing:", "rows: expected a list of rows", id="rows"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_line(old, new, message, tmp_path):
    assert old in TABLE
    with pytest.raises(ConfigError) as caught:
        read_table(write(tmp_path, TABLE.replace(old, new, 1)))
    assert message in str(caught.value)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(root, list(arguments))


@pytest.fixture
def tables(project) -> Path:
    """A plugin with a table; the folder of its tables."""
    project.plugin("tabled", PLUGIN, module="tabled_plugin")
    folder = Path(get_registry().manager.get_plugin("tabled").__file__).parent / "tables"
    folder.mkdir(exist_ok=True)
    write(folder)
    return folder


def test_any_plugin_may_bring_tables(tables):
    assert tables in get_registry().published
    assert [row.label for row in rows_of("mini")] == ["Ours", "By task"]
    result = call("published", "--paper", "toys")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "toys, table 2: Toys on boxes",
        "  ROW           STATUS     PRESET, OR WHY NOT",
        "  Ours (at 96)  runs here  mini",
        "  By task       runs here  mini",
        "  Theirs        not ours   it needs pairs",
    ]
    numbers = call("published", "--paper", "toys", "--table", "2").stdout
    assert (
        "  Ours (at 96)\n    box@mini/test: cider-d 27.9\n    image@mini/test: cider-d 12.0\n    note: small" in numbers
    )
    assert "  By task\n    box@mini/test: bleu-4(tokeniser=words) 0.5" in numbers
    markdown = call("published", "--paper", "toys", "--format", "md").stdout.splitlines()
    assert markdown[2:] == [
        "| 2 | Ours (at 96) | `mini` | runs here | - |",
        "| 2 | By task | `mini` | runs here | `some.yaml` |",
        "| 2 | Theirs | - | not ours: it needs pairs | - |",
    ]
    plain = json.loads(call("published", "--paper", "toys", "--format", "json").stdout)
    assert [row["status"] for row in plain[0]["rows"]] == ["runs here", "runs here", "not ours"]
    assert plain[0]["rows"][0]["values"][0] == {
        "data": {"task": "box", "name": "mini", "split": "test"}, "metric": {"name": "cider-d"}, "column": "cider-d",
        "scale": 100.0, "printed": 27.9,
    }  # fmt: skip
    assert (
        "published: toys, table 2, row 'Ours' (at 96)\n    box@mini/test: cider-d 27.9" in call("show", "mini").stdout
    )
    shown = json.loads(call("show", "mini", "--kind", "preset", "--json").stdout)
    assert [row["row"] for row in shown[0]["published"]] == ["Ours", "By task"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--table", "77"), ("no table 77", "tables are: "), id="table"),
        pytest.param(("--paper", "toy"), ("no tables of a paper 'toy'", "did you mean: toys"), id="paper"),
        pytest.param(("--preset", "min"), ("no published row is of preset 'min'", "did you mean: mini"), id="preset"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(arguments, words, tables):
    result = call("published", *arguments)
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr


def test_a_broken_table_is_told_by_its_command_and_keeps_no_other_command_from_running(tables):
    (tables / "broken.yaml").write_text("version: 1\nrows: 3\n")
    forget()
    result = call("published")
    assert result.exit_code == 2
    assert "broken.yaml" in result.stderr
    assert "expected a list of rows" in result.stderr
    assert call("show", "mini").exit_code == 0
    assert [row.label for row in rows_of("mini")] == ["Ours", "By task"]


def test_rows_wait_for_weights_for_data_and_for_parts(tables):
    text = TABLE.replace("preset: mini, note", "preset: patchioner-talk2dino, note").replace(
        "{box: mini}", "{box: nowhere}"
    )
    write(tables, text.replace("name: mini}", "name: coco}"))
    forget()
    rows = json.loads(call("published", "--paper", "toys", "--format", "json").stdout)[0]["rows"]
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("awaits weights", ""), ("awaits a part", "no preset named 'nowhere'"), ("not ours", "it needs pairs"),
    ]  # fmt: skip
