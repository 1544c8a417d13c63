"""Analyses that are damaged are named, with the place; what may be missing is filled in."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from regionkit.core.errors import DataError
from regionkit.plugins.report.evidence import evidence_of, read_analysis
from regionkit.plugins.report.writing import write_report
from regionkit.registry.cli import root


def test_what_is_missing_is_filled_in():
    found = evidence_of({"version": 1, "rows": [], "columns": []}, "here")
    assert found["claims"] == []
    assert found["correction"]["sentence"] == ""
    assert found.pipeline("r9") == "r9"


def spoil(found, path, value):
    *way, last = path
    for key in way:
        found = found[key]
    if value is KeyError:
        del found[last]
    else:
        found[last] = value


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        pytest.param(("rows",), KeyError, "'rows' is missing", id="no-rows"),
        pytest.param(("rows", 3, "data"), 7, ".rows[3].data: 7 stands where a text should", id="number-for-text"),
        pytest.param(
            ("rows", 0, "values", "cider-d", "mean"),
            "x",
            ".rows[0].values.cider-d.mean: 'x' stands where a number or null should",
            id="text-for-number",
        ),
        pytest.param(("rows", 0, "values"), [], ".rows[0].values: [] stands where an object should", id="no-object"),
        pytest.param(("claims",), {}, ".claims: {} stands where a list should", id="no-list"),
        pytest.param(("rows", 0, "unbridged"), "no", "'no' stands where true or false should", id="no-flag"),
        pytest.param(("rows", 0, "samples"), -1, "-1 stands where a whole number from 0 on should", id="negative"),
        pytest.param(("rows", 0, "samples"), 10**400, "stands where a whole number", id="absurd-number"),
        pytest.param(("rows", 0, "labels", "bridge"), "x" * 10**5, None, id="absurd-label"),
        pytest.param(("interactions", 2, "means"), [[1.0]], "interactions[2]: the tables do not have", id="ragged"),
        pytest.param(("interactions", 0, "labels"), [[]], "interactions[0]: the tables do not have", id="one-side"),
        pytest.param(("interactions", 0, "axes"), ["a"], "interactions[0]: the tables do not have", id="one-axis"),
        pytest.param(("leave_one_out", 0, "full"), "r999", None, id="unknown-row"),
        pytest.param(("sizes", 0, "series", 0, "values"), [], None, id="series-without-values"),
        pytest.param(("pareto", 0, "points"), [], None, id="no-points"),
        pytest.param(("robustness", 0, "series", 0, "low"), [None], None, id="ends-that-do-not-fit"),
        pytest.param(("rows", 0, "seconds_per_sample"), None, None, id="time-unknown"),
        pytest.param(("columns",), [], None, id="no-columns"),
        pytest.param(("varied",), [], None, id="nothing-varies"),
        pytest.param(("main_effects", 0, "column"), "gone", None, id="unknown-column"),
    ],
)
def test_damaged_analyses(run, path, value, told):
    file = run / "analysis.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    spoil(found, path, value)
    file.write_text(json.dumps(found), encoding="utf-8")
    if told is None:
        write_report(run, samples=2)
        return
    with pytest.raises(DataError) as caught:
        read_analysis(file)
    assert told in caught.value.message
    assert caught.value.message.startswith(str(file))
    assert caught.value.hints == ("run the ablation again: it writes the file anew",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b'{"version": 1, "rows": [', "analysis.json:1", id="cut-short"),
        pytest.param(b"[]", "this is no analysis of a run", id="a-list"),
        pytest.param(b'{"version": 2}', "written by another regionkit (format 2, this one has 1)", id="newer"),
        pytest.param(b"\xff\xfe\x00", "analysis.json", id="not-utf8"),
        pytest.param(b"[" * 100_000, "analysis.json", id="nested"),
        pytest.param(b'{"version": 1, "rows": [], "columns": [], "x": NaN}', "NaN", id="nan"),
    ],
)
def test_files_that_are_none(run, content, told):
    (run / "analysis.json").write_bytes(content)
    result = CliRunner().invoke(root, ["report", str(run)])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output
    assert not (run / "report.html").exists()


def test_a_damaged_database_is_named(run):
    path = run / "results.sqlite"
    content = bytearray(path.read_bytes())
    content[2000:] = b"\xee" * (len(content) - 2000)
    path.write_bytes(content)
    result = CliRunner().invoke(root, ["report", str(run)])
    assert result.exit_code == 2
    assert "results.sqlite: the results cannot be read" in result.output
