"""What the page says holds: where lower is better, for claims with a tolerance, for rows that lack a seed."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import pytest
from report_cases import make_run

from regionkit.plugins.report import words
from regionkit.plugins.report.figure import SECTIONS
from regionkit.plugins.report.unfinished import from_results
from regionkit.plugins.report.words import p_value
from regionkit.plugins.report.writing import write_report
from regionkit.registry.run_folders import open_run


def reported(folder, change):
    """Write the report of a run whose analysis is changed, and return the page."""
    path = folder / "analysis.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")
    write_report(folder, samples=0)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_interactions_are_no_better_and_no_worse():
    """Orange is a higher mean, which is worse where lower is better."""
    assert not {"better", "worse"} & set(re.findall(r"\w+", SECTIONS["interactions"][1]))


def test_interactions_of_too_many_levels_are_in_the_table_alone(run):
    def widen(found):
        part = max(found["interactions"], key=lambda one: (one["column"] == "cider-d", one["strength"]))
        part["labels"][1] = [f"level {at}" for at in range(41)]
        for grid in ("means", "residuals"):
            part[grid] = [[line[0]] * 41 for line in part[grid]]

    page = reported(run, widen)
    assert len(list((run / "report").glob("interaction-*.svg"))) == 11
    assert "All interactions (12)" in page


def test_a_claim_with_a_tolerance_says_so(run):
    page = reported(run, lambda found: found["claims"][0].update(within=0.5, p_corrected=None))
    assert "within 0.5" in page
    assert "A claim within a tolerance is decided by its interval" in page
    claims = (run / "report" / "claims.tex").read_text(encoding="utf-8")
    assert r"backbone=mini-clip (within 0.5), where bridge=memory & box@mini" in claims


def test_without_an_analysis_a_row_of_which_a_seed_failed_has_no_value_either(tmp_path):
    def fail(trials, found):
        first = replace(trials[0], id="0" * 16, seed=1, status="failed", reason="no room", metrics=())
        return [*trials, first], found

    folder = make_run(tmp_path / "run", limit=2, change=fail, analysed=False)
    with open_run(folder) as store:
        found = from_results(folder, store)
    held = {len(row["trials"]): row["values"] for row in found["rows"]}
    assert held[2] == {}, "the mean of the other seed would be one over other scenes"
    assert set(held[1]) == {"cider-d", "perplexity"}


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        pytest.param(None, "–", id="none"),
        pytest.param(0.0004, "< 0.001", id="small"),
        pytest.param(0.0484, "0.048", id="below"),
        pytest.param(0.0496, "0.0496", id="just-below-the-level"),
        pytest.param(0.0504, "0.0504", id="just-above-it"),
        pytest.param(1.0, "1.000", id="one"),
    ],
)
def test_a_p_shows_on_which_side_of_the_level_it_lies(p, shown):
    assert p_value(p) == shown


def test_what_is_printable_needs_no_cleaning():
    """The short cut of ``clean`` leaves no text as it is that would have been changed."""
    every = "".join(filter(str.isprintable, map(chr, range(sys.maxunicode + 1))))
    assert words._REORDERING.sub("", words._UNFIT.sub("", every)) == every
