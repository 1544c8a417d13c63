"""``toolkit validate`` on ablation files: it says of a file what ``toolkit ablate`` would say."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from regionkit.core.errors import ConfigError
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.spec import KEYS
from regionkit.registry import get_registry, validate
from regionkit.registry.cli import root
from regionkit.registry.validation import check_file

GOOD = """\
version: 1
base: {backbone: t-grid, region_encoder: t-pool, bridge: t-shift, decoder: t-nearest}
data: [box@t-colours, {task: point, name: t-colours, scenes: 3}]
metrics: [cider-d, {name: noun-f1, tokeniser: [words, tokens]}]
grid:
  bridge: [none, {name: t-shift, amount: [0.1, 0.2]}, {name: t-shift, corruption: x}]
  region_encoder.flip: [false, true]
zip:
  - {backbone.grid: [2, 4], decoder.slow: [0, 0.0]}
include: [{bridge: none}]
exclude: [{bridge: none, data: "point@*"}]
seeds: [0, 1]
claims:
  - {say: "bridge=t-shift > bridge=none", on: box@t-colours, by: cider-d}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems_of(text, name="x.yaml"):
    """Return the mistakes of a file as text, after checking that ``ablate`` tells the very same."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    found = validate(name)
    if found:
        with pytest.raises(ConfigError) as error:
            plan_ablation(name)
        assert list(error.value.problems) == found
    else:
        plan_ablation(name)
    return "\n".join(map(str, found))


def test_a_good_file_says_what_it_comes_to(here):
    assert problems_of(GOOD) == ""
    plan = plan_ablation("x.yaml")
    assert check_file("x.yaml").summary == (
        f"ablation: {len(plan.trials)} trials of 16 pipelines, 2 data sets, 2 seeds, 3 metrics, 1 claim"
    )
    result = CliRunner().invoke(root, ["validate", "x.yaml", "--set", "grid.bridge=[none]", "--set", "claims=[]"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("x.yaml: a good ablation: 8 trials of 4 pipelines, 1 data set, ")


def test_trials_that_cannot_run_are_counted():
    text = "data: [box@t-colours, point@t-colours]\nmetrics: [noun-f1]\ngrid: {region_encoder: [t-pool, t-global]}\n"
    assert problems_of(GOOD.partition("data:")[0] + text) == ""
    assert check_file("x.yaml").summary == (
        "ablation: 3 trials of 2 pipelines, 2 data sets, 1 seed, 1 metric, 0 claims; "
        "1 trial cannot run, see toolkit ablate --plan"
    )


def test_the_command_names_keys_of_its_files_that_it_reads():
    command = get_registry().commands["ablate"]
    assert set(command.files) < set(KEYS)
    assert command.pipelines == ("base",)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        pytest.param("metrics:", "metrcs:", "x.yaml:4: metrcs: unknown key\n  did you mean: metrics", id="key"),
        pytest.param(
            "base: {", "base: {bakbone: x, ", "x.yaml:2: base.bakbone: unknown part\n  did you mean", id="base-key"
        ),
        pytest.param(
            "decoder: t-nearest", "decoder: t-nearst", "x.yaml:2: base.decoder: no decoder named", id="base-part"
        ),
        pytest.param(
            "bridge: t-shift,", "bridge: t-shft,", "x.yaml:2: base.bridge: no bridge named 't-shft'", id="base-unused"
        ),
        pytest.param(
            "box@t-colours",
            "bx@t-colours",
            "x.yaml:3: data.0: 't-colours' has no task 'bx'\n  did you mean: box",
            id="task",
        ),
        pytest.param(
            "box@t-colours", "box@t-colour", "x.yaml:3: data.0: no dataset named 't-colour'\n  did you mean: t-colours",
            id="dataset",
        ),
        pytest.param("box@t-colours", "t-colours", "data.0: 't-colours' is no data set\n  write TASK@NAME", id="data"),
        pytest.param(
            "task: point", "task: mask", "data.1: 't-colours' has no task 'mask'\n  it has: box", id="mapping"
        ),
        pytest.param(
            "scenes: 3", "scenes: 0", "x.yaml:3: data.1: point@t-colours(scenes=0) has no sample in split 'test'",
            id="no-samples",
        ),
        pytest.param("[cider-d", "[cider-e", "x.yaml:4: metrics.0: no metric named 'cider-e'", id="metric"),
        pytest.param(
            "[words, tokens]", "[words, 3]", "x.yaml:4: metrics.1.tokeniser: expected", id="metric-option"
        ),
        pytest.param(
            "amount: [0.1, 0.2]", "amount: [0.1, a]", "x.yaml:6: grid.bridge.1.amount.1: expected float, got the text",
            id="leaf",
        ),
        pytest.param(
            "amount: [", "amont: [", "x.yaml:6: grid.bridge.1.amont.0: unknown option\n  did you mean: amount",
            id="option",
        ),
        pytest.param(
            "corruption: x}", "corruption: 3}", "x.yaml:6: grid.bridge.2.corruption: expected str, got 3", id="third"
        ),
        pytest.param(
            "  bridge: [", "  brige: [", "x.yaml:6: grid.brige: 'brige' is no axis\n  did you mean: bridge", id="axis"
        ),
        pytest.param(
            "  bridge: [", "  seed: [1]\n  bridge: [", "grid.seed: 'seed' is no axis\n  list evaluation seeds under",
            id="no-axis",
        ),
        pytest.param(
            "[false, true]", "true", "x.yaml:7: grid.region_encoder.flip: needs a list of values", id="no-list"
        ),
        pytest.param(
            "[false, true]", "[false, x]", "x.yaml:7: grid.region_encoder.flip.1: expected", id="swept"
        ),
        pytest.param(
            "encoder.flip", "encoder.flp", "grid.region_encoder.flp.0: unknown option\n  did you mean: flip",
            id="swept-name",
        ),
        pytest.param("[2, 4]", "[2, x]", "x.yaml:9: zip.0.backbone.grid.1: expected int", id="zip"),
        pytest.param("[2, 4]", "[2]", "x.yaml:9: zip.0: axes that are walked together need equally many", id="lengths"),
        pytest.param(
            "[{bridge: none}]", "[{bridge: nne}]", "x.yaml:10: include.0.bridge: no bridge named 'nne'", id="include"
        ),
        pytest.param(
            "[{bridge: none}]", "[none]", "x.yaml:10: include.0: an extra trial maps axes to one value",
            id="include-text",
        ),
        pytest.param("seeds: [0, 1]", "seeds: [0, 0]", "x.yaml:12: seeds: [0, 0] is no list of different", id="seeds"),
        pytest.param("seeds: [0, 1]", "limit: 0", "x.yaml:12: limit: '0' is no number of images", id="limit"),
        pytest.param("seeds: [0, 1]", "split: old", "x.yaml:12: split: 't-colours' has no split 'old'", id="split"),
        pytest.param("=t-shift >", "=t-shft >", "claims.0.say: no trial that fits has bridge = 't-shft'", id="claim"),
        pytest.param("by: cider-d", "by: cider", "claims.0.by: no metric of this ablation is called", id="claim-by"),
    ],
)  # fmt: skip
def test_mistakes_have_line_and_hint(old, new, wanted):
    assert GOOD.count(old) >= 1
    text = problems_of(GOOD.replace(old, new, 1))
    assert wanted in text, text


def test_missing_sections():
    text = problems_of("base: {backbone: t-grid}\ngrid: {bridge: [none]}\n")
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "x.yaml:1: data: missing",
        "x.yaml:1: no trial of x can run",
    ]
    assert "say which decoder to use" in text


def test_all_mistakes_come_together_in_the_order_of_the_lines():
    text = problems_of(
        GOOD.replace("task: point", "task: pint").replace("{backbone.grid: [2, 4]", "{backbone: [t-grid, t-x]")
        .replace("seeds", "seds")
    )  # fmt: skip
    assert [line for line in text.splitlines() if "x.yaml:" in line] == [
        "x.yaml:3: data.1: 't-colours' has no task 'pint'",
        "x.yaml:9: zip.0.backbone.1: no backbone named 't-x'",
        "x.yaml:12: seds: unknown key",
    ]


def test_a_mistake_that_many_trials_repeat_is_told_once():
    assert len(problems_of(GOOD.replace("noun-f1", "noun-f2")).split("x.yaml:")) == 2
    assert len(problems_of(GOOD.replace("corruption: x", "corruptoin: x")).split("x.yaml:")) == 2
    assert len(problems_of(GOOD.replace("amount: [", "amont: [")).split("x.yaml:")) == 2


def test_that_nothing_can_run_is_told_beside_other_mistakes():
    text = problems_of(GOOD.replace("t-nearest", "t-other").replace("[cider-d", "[cider-e"))
    assert "x.yaml:1: no trial of x can run\n  decoder: bridge 'none' writes" in text
    assert "metrics.0: no metric named 'cider-e'" in text
    # Where it may follow from another mistake, that one is told alone.
    text = problems_of(GOOD.replace("t-nearest", "t-other").replace("[false, true]", "[false, x]"))
    assert "no trial" not in text


def test_exclude_may_leave_nothing():
    text = problems_of(GOOD.replace('bridge: none, data: "point@*"', 'data: "*"'))
    assert text == "x.yaml:1: no trial of x can run\n  exclude takes out 68 trials"
