from __future__ import annotations

import pytest

from regionkit.registry import validate
from regionkit.registry.validation import variants

ABLATION = """\
version: 1
base: toy
data: [box@toy-data, {task: point, name: toy-data}]
metrics: [toy-metric, {name: toy-metric, order: [1, 2]}]
grid:
  bridge: [toy-none, {name: toy-noise, std: [0.1, 0.2]}, {name: toy-bank, bank: toy-texts}]
  region_encoder.scale: [1, 2.5]
zip:
  - {backbone: [toy-a, toy-b], decoder: [toy-fixed, toy-words]}
include: [{bridge: none}]
exclude: [{bridge: none, data: "point@*"}]
seeds: [0, 1]
claims:
  - {say: "bridge=toy-bank > bridge=toy-none", on: box@toy-data, by: toy-metric}
"""
RECIPE = "version: 1\nrecipe: {name: toy-recipe}\nbackbone: toy-a\ndecoder: toy-words\nseed: 3\nout: w.safetensors\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ABLATION, id="ablation"),
        pytest.param(RECIPE, id="recipe"),
        pytest.param("base: toy\n", id="pipeline"),
        pytest.param("summary: of a test\nextends: toy\n", id="summary"),
    ],
)
def test_good_files_have_no_mistakes(toy, problems_of, text):
    assert problems_of(text) == ""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        pytest.param("metrics:", "metrcs:", "x.yaml:4: metrcs: unknown key\n  did you mean: metrics", id="key"),
        pytest.param(
            "base: toy", "base: {bakbone: x}", "x.yaml:2: base.bakbone: unknown key\n  did you", id="base-key"
        ),
        pytest.param("base: toy", "base: {bridge: x}", "x.yaml:2: base.bridge: no bridge named 'x'", id="base-part"),
        pytest.param(
            "box@toy-data",
            "bx@toy-data",
            "data.0: data set 'toy-data' has no task 'bx'\n  did you mean: box",
            id="task",
        ),
        pytest.param(
            "box@toy-data", "box@toy-dat", "data.0: no dataset named 'toy-dat'\n  did you mean: toy-data", id="dataset"
        ),
        pytest.param("box@toy-data", "toy-data", "data.0: 'toy-data' is no data set\n  write TASK@NAME", id="data"),
        pytest.param(
            "task: point", "task: mask", "data.1: data set 'toy-data' has no task 'mask'\n  tasks are:", id="mapping"
        ),
        pytest.param("[toy-metric", "[toy-metrik", "metrics.0: no metric named 'toy-metrik'", id="metric"),
        pytest.param(
            "order: [1, 2]", "order: [1, x]", "metrics.1.order: expected int, got the text 'x'", id="metric-option"
        ),
        pytest.param(
            "std: [0.1, 0.2]", "std: [0.1, a]", "grid.bridge.1.std: expected float, got the text 'a'", id="leaf"
        ),
        pytest.param("std: [", "sdt: [", "grid.bridge.1.sdt: unknown option\n  did you mean: std", id="option"),
        pytest.param("bank: toy-texts}]", "bank: 3}]", "x.yaml:6: grid.bridge.2.bank: expected str, got 3", id="third"),
        pytest.param(
            "  bridge: [", "  brige: [", "x.yaml:6: grid.brige: 'brige' is no axis\n  did you mean: bridge", id="axis"
        ),
        pytest.param(
            "  bridge: [toy-none", "  seed: [toy-none", "grid.seed: 'seed' is no axis\n  axes are parts", id="no-axis"
        ),
        pytest.param("[1, 2.5]", "2.5", "grid.region_encoder.scale: expected a list of values", id="no-list"),
        pytest.param("[1, 2.5]", "[1, x]", "region_encoder.scale.1: expected float, got the text 'x'", id="swept"),
        pytest.param(
            "encoder.scale", "encoder.scal", "encoder.scal.0: unknown option\n  did you mean: scale", id="swept-name"
        ),
        pytest.param("[toy-a, toy-b]", "[toy-a, toy-c]", "zip.0.backbone.1: no backbone named 'toy-c'", id="zip"),
        pytest.param("{bridge: none}]", "{bridge: nne}]", "include.0.bridge: no bridge named 'nne'", id="include"),
        pytest.param(
            "[{bridge: none}]", "[none]", "include.0: expected a mapping from parts to values", id="include-text"
        ),
    ],
)
def test_mistakes_of_an_ablation_have_line_and_hint(toy, problems_of, old, new, wanted):
    assert ABLATION.count(old) >= 1
    text = problems_of(ABLATION.replace(old, new, 1))
    assert wanted in text, text


def test_missing_sections_of_an_ablation(toy, problems_of):
    assert problems_of("grid: {bridge: [toy-none]}\n").splitlines() == [
        "x.yaml:1: data: an ablation needs data",
        "x.yaml:1: metrics: an ablation needs metrics",
    ]


def test_all_mistakes_of_an_ablation_come_together(toy, problems_of):
    text = problems_of(
        ABLATION.replace("box@toy-data", "bx@toy-data", 1).replace("[toy-a", "[toy-x").replace("seeds", "seds")
    )
    assert [line for line in text.splitlines() if "x.yaml:" in line] == [
        "x.yaml:3: data.0: data set 'toy-data' has no task 'bx'",
        "x.yaml:9: zip.0.backbone.0: no backbone named 'toy-x'",
        "x.yaml:12: seds: unknown key",
    ]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        pytest.param("backbone: toy-a\n", "", "backbone: recipe 'toy-recipe' needs a backbone", id="needs"),
        pytest.param("seed: 3", "seed: -3", "x.yaml:5: seed: expected a whole number from 0 on, got -3", id="seed"),
        pytest.param("seed: 3", "half: 3", "x.yaml:5: half: expected true or false, got 3", id="half"),
        pytest.param("out:", "output:", "x.yaml:6: output: unknown key", id="key"),
        pytest.param("toy-recipe", "toy-recip", "x.yaml:2: recipe.name: no recipe named 'toy-recip'", id="recipe"),
        pytest.param("toy-words", "toy-word", "x.yaml:4: decoder: no decoder named 'toy-word'", id="part"),
    ],
)
def test_mistakes_of_a_recipe(toy, problems_of, old, new, wanted):
    assert wanted in problems_of(RECIPE.replace(old, new))


def test_validate_from_python(toy):
    toy({"x.yaml": "base: toy\nbridge: x\n"})
    (problem,) = validate("x.yaml")
    assert (problem.where, problem.path) == ("x.yaml:2", "bridge")
    assert validate("x.yaml", overrides=["bridge=none"]) == []
    assert "there is no such file" in str(validate("y.yaml")[0])


def test_lists_in_a_part_are_walked_through():
    value = {"name": "a", "x": [1, 2], "y": [[3, 4]]}
    assert list(variants(value)) == [{"name": "a", "x": 1, "y": [3, 4]}, {"name": "a", "x": 2, "y": [3, 4]}]
    assert list(variants("a")) == ["a"]
