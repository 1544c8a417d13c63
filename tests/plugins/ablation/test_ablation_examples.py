"""The examples say what they promise, and, slowly, do it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from regionkit.plugins.ablation.commands import ablate
from regionkit.plugins.ablation.spec import SpecReader, combinations
from regionkit.registry import validate
from regionkit.registry.document import read_document

FOLDER = Path(__file__).parents[3] / "examples" / "ablations"


def read(name):
    document = read_document(FOLDER / f"{name}.yaml")
    problems = []
    spec = SpecReader(document.data, document.line, problems).read()
    assert problems == []
    return spec


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.yaml"))])
def test_it_has_no_mistake(path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DATA", str(FOLDER.parent))
    problems = validate(path)
    if any("no weight file named" in text for problem in problems for text in (problem.message, *problem.hints)):
        pytest.skip("it needs weights that other examples train: tests/test_examples.py checks it with their headers")
    assert problems == []


def test_the_quickstart_crosses_two_backbones_three_encoders_three_bridges_and_four_tasks():
    spec = read("quickstart")
    assert {axis.name: len(axis.values) for axis in spec.grid} == {"backbone": 2, "region_encoder": 3, "bridge": 3}
    assert len(combinations(spec)) == 18
    assert [ref.label for ref in spec.data] == ["trace@mini", "box@mini", "mask@mini", "image@mini"]


def test_the_claims_of_the_paper_are_all_there():
    spec = read("patchioner-claims")
    assert spec.settings.seeds == (0, 1, 2)
    assert spec.settings.limit == 300
    wanted = {
        ("mini-dense > mini-clip", task, metric, True)
        for task in ("trace", "point", "mask", "box")
        for metric in ("cider-d", "noun-f1")
    }
    wanted |= {
        (f"patch-pool > {other}", task, "cider-d", True) for other in ("crop", "whole") for task in ("box", "trace")
    }
    wanted |= {("memory > none", "box", "cider-d", True), ("noise > none", "box", "cider-d", False)}
    wanted |= {("patch-pool > whole", task, "cider-d", False) for task in ("box-set", "image")}
    said = {
        (f"{claim.better} > {claim.worse}", on.removesuffix("@mini"), by, claim.must)
        for claim in spec.claims
        for on in claim.on
        for by in claim.by
    }
    assert wanted <= said
    assert {one for one in said if one[3]} == {one for one in wanted if one[3]}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "trials"),
    [
        pytest.param("quickstart", 72, id="quickstart"),
        pytest.param("patchioner-claims", 108, id="claims"),
        pytest.param("patchioner-backbones", 48, id="backbones"),
        pytest.param("patchioner-weighting", 132, id="weighting"),
        pytest.param("patchioner-bridges", 60, id="bridges"),
        pytest.param("patchioner-learned", 24, id="learned"),
    ],
)
def test_it_runs_on_the_shipped_weights_and_its_claims_hold(tmp_path, name, trials):
    result = CliRunner().invoke(ablate, [str(FOLDER / f"{name}.yaml"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert f"{trials} trials ran, 0 were done before" in result.output
    assert "evidence that the code does what a paper says" in (tmp_path / "results.md").read_text()
