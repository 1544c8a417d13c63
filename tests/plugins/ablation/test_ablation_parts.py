"""Metrics that give several values, look at scores of captions, and prepare before any caption is made."""

from __future__ import annotations

import csv
import json

import pytest
from ablation_fakes import EVENTS, FORWARDS, write
from click.testing import CliRunner

from regionkit.core.contracts import column
from regionkit.plugins.ablation import commands

TEXT = """\
data: [box@t-colours]
metrics: [t-lengths, noun-f1]
grid: {region_encoder: [t-pool, t-global]}
"""


def ablate(folder, text, *arguments):
    return CliRunner().invoke(commands.ablate, [str(write(folder, text)), "--out", str(folder / "out"), *arguments])


def test_every_part_is_a_column_that_claims_can_name(tmp_path):
    claims = 'claims: [{say: "region_encoder=t-pool > region_encoder=t-global", on: box@t-colours, by: t-lengths}]\n'
    result = ablate(tmp_path, TEXT + claims)
    assert result.exit_code in (0, 1), result.output
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert {"t-lengths", "t-lengths-longest", "t-lengths-score", "noun-f1"} <= rows[0].keys()
    assert all(float(row["t-lengths"]) <= float(row["t-lengths-longest"]) for row in rows)
    assert "Lower is better: t-lengths, t-lengths-longest, t-lengths-score." in result.output
    claim = json.loads((tmp_path / "out" / "claims.json").read_text())[0]
    assert (claim["by"], claim["n"]) == ("t-lengths", 24)


def test_a_part_without_values_for_samples_decides_no_claim(tmp_path):
    claims = 'claims: [{say: "region_encoder=t-pool > region_encoder=t-global", on: box@t-colours, by: LABEL}]\n'
    ablate(tmp_path, TEXT + claims.replace("LABEL", "t-lengths-longest"))
    claim = json.loads((tmp_path / "out" / "claims.json").read_text())[0]
    assert claim["verdict"] == "undecided"
    assert claim["reason"].startswith("t-lengths-longest gives no value for single samples")


def test_a_part_that_is_not_there_is_told_with_those_that_are(tmp_path):
    claims = 'claims: [{say: "region_encoder=t-pool > region_encoder=t-global", on: box@t-colours, by: t-lengths-2}]\n'
    result = ablate(tmp_path, TEXT + claims)
    assert "no metric of this ablation is called 't-lengths-2'" in str(result.exception)
    assert "there is: noun-f1, t-lengths, t-lengths-longest, t-lengths-score" in str(result.exception)


def test_metrics_see_the_scores_of_captions(tmp_path):
    ablate(tmp_path, TEXT)
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert any(float(row["t-lengths-score"]) != 0 for row in rows)


def test_metrics_prepare_once_and_before_the_first_picture(tmp_path, monkeypatch):
    EVENTS.clear()
    FORWARDS.clear()
    seen = []
    monkeypatch.setattr("ablation_fakes.Lengths.prepare", lambda self: seen.append(dict(FORWARDS)))
    ablate(tmp_path, TEXT)
    assert seen == [{}]
    ablate(tmp_path, TEXT)
    assert seen == [{}], "nothing is started where nothing is left to run"


@pytest.mark.parametrize(
    ("label", "part", "name"),
    [
        pytest.param("bleu", "4", "bleu-4", id="part"),
        pytest.param("meteor", "", "meteor", id="the-metric-itself"),
    ],
)
def test_columns_are_named_after_metric_and_part(label, part, name):
    assert column(label, part) == name
