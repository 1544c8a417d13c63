"""The command, and the tables that it writes."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from regionkit.plugins.report.exports import latex
from regionkit.registry.cli import root


def toolkit(*args):
    return CliRunner().invoke(root, list(map(str, args)))


def test_it_writes_the_page_and_says_where(run):
    result = toolkit("report", run)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"Report: {run / 'report.html'}",
        f"Plots and tables: {run / 'report'} (36 files)",
    ]
    assert {path.name for path in (run / "report").iterdir() if path.suffix != ".svg"} == {
        "results.tex",
        "results.md",
        "results.csv",
        "claims.tex",
    }


def test_another_place_and_json(run, tmp_path):
    result = toolkit("report", run, "--out", tmp_path / "paper" / "page.html", "--json", "--samples", 0)
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["page"] == str(tmp_path / "paper" / "page.html")
    assert all(one.startswith(str(tmp_path / "paper" / "page-files")) for one in told["files"])
    assert not (run / "report").exists()
    assert "<img" not in (tmp_path / "paper" / "page.html").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = toolkit("report", run, "--out", tmp_path / "file" / "page.html")
    assert result.exit_code == 1
    assert "the report cannot be written" in result.output
    assert "--out FILE" in result.output


@pytest.mark.parametrize("folder", [pytest.param("nowhere", id="missing"), pytest.param("", id="no-run")])
def test_what_is_no_run_is_refused(tmp_path, folder):
    result = toolkit("report", tmp_path / folder)
    assert result.exit_code == 2
    assert "toolkit ablate" in result.output


def test_csv_has_full_precision(finished):
    rows = list(csv.DictReader(io.StringIO((finished / "report" / "results.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 24
    analysed = json.loads((finished / "analysis.json").read_text(encoding="utf-8"))["rows"]
    assert [float(row["cider-d"]) for row in rows] == [one["values"]["cider-d"]["mean"] for one in analysed]
    assert rows[0]["backbone"] == "mini-dense"
    assert rows[0]["unbridged"] == "True"
    assert rows[0]["note"] == "unbridged"


def test_markdown_marks_the_best(finished):
    text = (finished / "report" / "results.md").read_text(encoding="utf-8")
    assert "| mini-dense | patch-pool     | memory | box@mini   | **4.075** [3.775, 4.325]" in text
    assert "*3.500* [3.200, 3.750]" in text


def test_latex_tables(finished):
    text = (finished / "report" / "results.tex").read_text(encoding="utf-8")
    assert r"backbone & region\_encoder & bridge & cider-d & perplexity \\" in text
    assert r"mini-dense & patch-pool & memory & \textbf{4.075} {[3.775, 4.325]} & \textbf{4.900}" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    claims = (finished / "report" / "claims.tex").read_text(encoding="utf-8")
    assert r"backbone=mini-dense \textgreater{} backbone=mini-clip, where bridge=memory & box@mini & cider-d" in claims
    assert r"& \textless{} 0.001 & \textless{} 0.001 & holds \\" in claims
    assert "undecided: 2 of 4 trials have no result" in claims


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("a_b & 5% $#", r"a\_b \& 5\% \$\#", id="specials"),
        pytest.param(r"\input{x}", r"\textbackslash{}input\{x\}", id="command"),
        pytest.param(
            "a~b^c|<>", r"a\textasciitilde{}b\textasciicircum{}c\textbar{}\textless{}\textgreater{}", id="signs"
        ),
        pytest.param("two\n\nparagraphs", "two paragraphs", id="lines"),
    ],
)
def test_latex_escapes(text, escaped):
    assert latex(text) == escaped
