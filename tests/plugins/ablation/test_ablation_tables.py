"""Tables as a stranger reads them."""

from __future__ import annotations

import re

import pytest
from ablation_fakes import BASE, write
from click.testing import CliRunner

from regionkit.plugins.ablation import commands, run_command
from regionkit.registry.commands.tables import markdown_table

GRID = """\
data: [box@t-colours]
metrics: [cider-d, noun-f1]
grid: {bridge: [none, t-shift], region_encoder: [t-pool, t-global]}
"""
CLAIMS = """claims:
  - {say: "region_encoder=t-pool > region_encoder=t-global", on: box@t-colours, by: [cider-d, noun-f1],
     where: {bridge: t-shift, backbone: t-grid, decoder: t-nearest}}
  - {say: "bridge=t-shift > bridge=none", on: box@t-colours, by: cider-d, must: false}
"""


def ablate(folder, text, *arguments, columns=""):
    result = CliRunner().invoke(
        commands.ablate, [str(write(folder, text)), "--out", str(folder / "out"), *arguments], env={"COLUMNS": columns}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout


def header(shown, word):
    row = next(line for line in shown.splitlines() if line.startswith("|") and word in line)
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_column_has_a_heading_and_one_without_words_is_left_away(tmp_path):
    assert header(ablate(tmp_path, GRID), "cider-d")[-3:] == ["cider-d", "noun-f1", "note"]
    assert header(ablate(tmp_path, GRID, "--plan"), "weights") == [
        "bridge", "region_encoder", "weights", "trials", "note",
    ]  # fmt: skip
    bridged = GRID.replace("none, ", "")
    shown = ablate(tmp_path, bridged)
    assert header(shown, "cider-d")[-1] == "noun-f1"
    assert "unbridged" not in shown
    assert header(ablate(tmp_path, bridged, "--plan"), "weights")[-1] == "trials"


def test_what_all_rows_share_stands_above_them(tmp_path):
    shown = ablate(tmp_path, GRID.replace("none, ", ""))
    assert shown.startswith("In all rows: bridge t-shift.\n\n| region_encoder | data ")
    one = ablate(tmp_path, GRID.replace("none, t-shift", "none").replace("t-pool, ", ""))
    assert one.startswith("Pipeline: bridge none, region_encoder t-global (unbridged).\n\n| metric ")
    wide, narrow = (ablate(tmp_path, GRID, columns=columns) for columns in ("200", "75"))
    assert header(wide, "cider-d") == ["bridge", "region_encoder", "data", "cider-d", "noun-f1", "note"]
    assert header(narrow, "cider-d") == ["bridge", "region_encoder", "data", "cider-d"]
    assert header(narrow, "noun-f1") == ["bridge", "region_encoder", "data", "noun-f1"]
    assert header(narrow, "note") == ["bridge", "region_encoder", "data", "note"]
    assert header(ablate(tmp_path, GRID, columns="30"), "cider-d") == header(wide, "cider-d"), "cutting would not help"


def test_what_stands_below_the_results_explains_them(tmp_path, monkeypatch):
    from regionkit.plugins.caption_metrics.words.terms import NounF1

    one = ablate(tmp_path, GRID)
    drawn = "In brackets: 95 % interval, bootstrap over scenes"
    assert f"\nMean over 1 evaluation seed (0).\n{drawn}.\nHigher is better: cider-d, noun-f1.\n" in one
    assert "±" not in one
    several = ablate(tmp_path, GRID, "--set", "seeds=[0, 1, 2]")
    assert "\nMean over 3 evaluation seeds (0, 1, 2), ± standard deviation over the 3 seeds.\n" in several
    assert f"\n{drawn}, seeds pooled.\n" in several
    assert "1.000 ± 0.000 [1.000, 1.000]" in several
    assert "± standard deviation over the 3 seeds." in (tmp_path / "out" / "results.md").read_text()
    monkeypatch.setattr(NounF1, "higher_is_better", False)
    lower = ablate(tmp_path, GRID, "--set", "seeds=[7]")
    assert "\nHigher is better: cider-d.\nLower is better: noun-f1.\n" in lower


def test_claims_are_explained_where_they_are_shown(tmp_path):
    shown = ablate(tmp_path, GRID + CLAIMS)
    assert header(shown, "claim")[-5:] == ["p", "p Holm", "samples", "scenes", "verdict"]
    (row,) = (line for line in shown.splitlines() if "noun-f1" in line and "t-pool >" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][-3:] == ["24", "6", "holds"]
    recorded = "recorded: must: false, the outcome does not change the exit status."
    assert "holds: p < 0.05 and the stated direction.\n" + recorded in shown
    assert recorded in (tmp_path / "out" / "results.md").read_text()
    claims = (tmp_path / "out" / "claims.md").read_text()
    assert "recorded: the outcome does not change the exit status" in claims
    assert recorded not in ablate(tmp_path, GRID + CLAIMS.replace(", must: false", ""))


def test_claims_fit_a_terminal_that_is_narrower_than_their_table(tmp_path):
    wide, narrow = (ablate(tmp_path, GRID + CLAIMS, columns=columns) for columns in ("300", "100"))
    assert "| claim " in wide
    assert "| claim " not in narrow
    lines = narrow.partition("  on ")[2].partition("\n\n")[0].splitlines()
    words = [re.sub(r" {2,}", " ", line) for line in lines]
    assert words[0] == " by difference 95 % interval effect p p Holm samples scenes verdict"
    assert words[1] == (
        "region_encoder=t-pool > region_encoder=t-global, where bridge=t-shift, backbone=t-grid, decoder=t-nearest"
    )
    assert [line.split()[:2] for line in (lines[2], lines[3], lines[5])] == [
        ["box@t-colours", "cider-d"],
        ["box@t-colours", "noun-f1"],
        ["box@t-colours", "cider-d"],
    ]
    assert words[4] == "bridge=t-shift > bridge=none"
    assert len(lines) == 6
    assert "| claim " in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize("kept", [pytest.param(False, id="lost"), pytest.param(True, id="kept")])
def test_run_says_when_nothing_was_kept(tmp_path, kept):
    path = tmp_path / "pipe.yaml"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    arguments = [str(path), "--data", "box@t-colours", "--limit", "1", *(["--out", str(tmp_path / "o")] * kept)]
    shown = CliRunner().invoke(run_command.run, arguments).stdout
    assert shown.endswith("\nnothing was kept; add --out DIR\n") is not kept
    assert ("Reports: " in shown) is kept


def test_a_bar_in_a_cell_does_not_cut_it():
    assert markdown_table(["a"], [["x|y"]]).splitlines()[2] == "| x\\|y |"
