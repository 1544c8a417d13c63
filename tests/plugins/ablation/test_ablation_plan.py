from __future__ import annotations

import json

import pytest
from ablation_fakes import write

from regionkit.core.contracts import Corpus
from regionkit.core.errors import ConfigError, RegionkitError
from regionkit.plugins.ablation import stage_keys
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.spec import expand
from regionkit.registry.document import Document, read_pipeline

DATA = "data: [box@t-colours]\nmetrics: [noun-f1]\n"


def labels(plan, axis):
    return [trial.combination.labels[axis] for trial in plan.trials]


def config(plan, kind):
    return [trial.combination.plan.parts[kind].to_dict() for trial in plan.trials]


def test_a_grid_times_a_zip_and_extra_trials(tmp_path):
    path = write(
        tmp_path,
        DATA
        + """
grid: {bridge: [none, t-shift]}
zip:
  - {backbone.grid: [2, 4], region_encoder.flip: [false, true]}
include:
  - {region_encoder: t-global}
""",
    )
    plan = plan_ablation(path)
    assert plan.axes == ["bridge", "backbone.grid", "region_encoder.flip", "region_encoder"]
    rows = [tuple(trial.combination.labels[axis] for axis in plan.axes) for trial in plan.trials]
    assert rows == [
        ("none", "2", "false", "t-pool"),
        ("none", "4", "true", "t-pool"),
        ("t-shift", "2", "false", "t-pool"),
        ("t-shift", "4", "true", "t-pool"),
        ("t-shift", "4", "-", "t-global"),
    ]


def test_lists_inside_a_part_are_swept(tmp_path):
    path = write(tmp_path, DATA + "grid: {bridge: [none, {name: t-shift, amount: [0.1, 1e-3], corruption: [none]}]}")
    plan = plan_ablation(path)
    assert labels(plan, "bridge") == [
        "none",
        "t-shift(amount=0.1, corruption=none)",
        "t-shift(amount=0.001, corruption=none)",
    ]
    assert [bridge.get("amount") for bridge in config(plan, "bridge")] == [None, 0.1, 0.001]


def test_an_option_that_is_a_list_is_written_as_a_list_in_a_list():
    values = expand("bridge", {"name": "a", "x": [1, 2], "y": [[3, 4]]}, "grid.bridge.0")
    assert [value.value for value in values] == [
        {"name": "a", "x": 1, "y": [3, 4]},
        {"name": "a", "x": 2, "y": [3, 4]},
    ]
    assert [value.place("x") for value in values] == ["grid.bridge.0.x.0", "grid.bridge.0.x.1"]
    assert [value.value for value in expand("bridge", "a", "grid.bridge.0")] == [{"name": "a"}]


def test_options_of_the_base_stay_where_the_part_does(tmp_path):
    path = tmp_path / "ablation.yaml"
    path.write_text(
        "version: 1\n"
        "base: {backbone: {name: t-grid, grid: 2}, region_encoder: t-pool, decoder: t-nearest,"
        " bridge: {name: t-shift, amount: 0.3, corruption: none}}\n"
        + DATA
        + "grid: {bridge: [none, t-shift, {name: t-shift, amount: 0.5}, {amount: 0.6}]}\n"
    )
    plan = plan_ablation(path)
    assert labels(plan, "bridge") == ["none", "t-shift", "t-shift(amount=0.5)", "t-shift(amount=0.6)"]
    assert [bridge.get("amount") for bridge in config(plan, "bridge")] == [None, 0.3, 0.5, 0.6]
    assert {backbone["grid"] for backbone in config(plan, "backbone")} == {2}


def test_patterns_take_trials_out_and_are_counted(tmp_path):
    path = write(
        tmp_path,
        """
data: [box@t-colours, image@t-colours]
metrics: [noun-f1]
grid: {bridge: [none, {name: t-shift, amount: [0.1, 0.2]}], region_encoder: [t-pool, t-global]}
exclude:
  - {bridge: "t-shift(*)", region_encoder: t-global}
  - {data: "image@*", bridge: none}
seeds: [0, 1]
""",
    )
    plan = plan_ablation(path)
    assert plan.excluded == 2 * 2 * 2 + 2 * 2
    assert len(plan.trials) == 3 * 2 * 2 * 2 - plan.excluded
    kept = {
        (t.combination.labels["bridge"], t.combination.labels["region_encoder"], t.selection.ref.task)
        for t in plan.trials
    }
    assert ("t-shift(amount=0.1)", "t-global", "box") not in kept
    assert ("none", "t-pool", "image") not in kept
    assert ("none", "t-global", "box") in kept


def test_trials_that_cannot_run_are_listed_with_the_reason(tmp_path):
    path = write(
        tmp_path,
        """
data: [box@t-colours, point@t-colours]
metrics: [noun-f1]
grid: {decoder: [t-nearest, t-other], region_encoder: [t-pool, t-global], bridge: [t-shift, none], bridge.amount: [0.1]}
""",
    )
    plan = plan_ablation(path)
    reasons = {refused.reason: refused.count for refused in plan.refused}
    assert len(plan.trials) == 3
    assert sum(refused.count for refused in plan.refused) == 4 + 1 + 8
    assert any("decoder 't-other' reads other/text[16]" in reason for reason in reasons)
    assert "t-global does not take point regions; it takes: box, image" in reasons
    assert any(reason.startswith("bridge.amount: unknown option") for reason in reasons)


def test_equal_trials_are_one(tmp_path):
    path = write(
        tmp_path, DATA + "grid: {bridge: [t-shift, {name: t-shift, amount: 0.0}]}\ninclude: [{bridge: t-shift}]\n"
    )
    plan = plan_ablation(path)
    assert (len(plan.trials), plan.repeated) == (1, 2)


def test_the_id_depends_on_everything_that_decides_the_result(tmp_path, monkeypatch):
    def ids(text):
        return [trial.id for trial in plan_ablation(write(tmp_path, text)).trials]

    text = DATA + "grid: {bridge: [none, t-shift]}\n"
    first = ids(text)
    assert ids("# another comment\n" + text.replace("[none, t-shift]", "[t-shift, none]")) == first[::-1]
    others = [
        ids(DATA + "seeds: [1]\n"),
        ids(DATA + "limit: 2\n"),
        ids(DATA + "split: other\n"),
        ids(DATA.replace("noun-f1", "{name: noun-f1, tokeniser: tokens}")),
        ids(DATA + "grid: {bridge.amount: [0.1]}\n"),
    ]
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "changed")
    others.append(ids(DATA))
    assert len({first[1], *(one for other in others for one in other)}) == len(others) + 1


def test_the_id_covers_all_code_between_the_file_and_the_scores(tmp_path, monkeypatch):
    covered = set()

    def digest_packages(packages, extra=()):
        covered.update(packages)
        return "same"

    monkeypatch.setattr("regionkit.registry.code_digest.digest_packages", digest_packages)
    (trial,) = plan_ablation(write(tmp_path, DATA + "grid: {bridge: [none]}\n")).trials
    assert trial.config["code"] == "same"
    ours = {f"regionkit.plugins.{name}" for name in ("baselines", "caption_metrics", "tasks")}
    # Of the ablation itself, what shows results or judges claims has no say: a finished run stays finished.
    engine = {name for name in covered if name.startswith("regionkit.plugins.ablation.")}
    deciding = {
        "answering",
        "asking",
        "batches",
        "cache.rounding",
        "encoding",
        "memory",
        "referring",
        "stages",
        "trials",
    }
    assert engine >= {f"regionkit.plugins.ablation.{name}" for name in deciding}
    assert not any(name.rpartition(".")[2] in ("display", "tables", "claims", "verdicts") for name in engine)
    assert covered - engine == {"regionkit.core", "regionkit.registry", "ablation_fakes", *ours}


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines(tmp_path):
    path = write(
        tmp_path,
        """data: [bax@t-colours, box@t-colour]
metrics: [cider]
grid:
  bridge: [none, t-shift, t-shft]
  bridge.amont: [0.1, 0.2]
  colour: [1]
  decoder.slow: 3
sede: [1]
limit: 0
seeds: [0, 0]
on_error: go
claims:
  - {say: "bridge=none"}
""",
    )
    with pytest.raises(ConfigError) as error:
        plan_ablation(path)
    text = str(error.value)
    for line, message in {
        7: "no dataset named 't-colour'",
        8: "no metric named 'cider'",
        10: "no bridge named 't-shft'",
        11: "unknown option",
        12: "'colour' is no axis",
        13: "needs a list of values to walk through",
        14: "unknown key",
        15: "'0' is no number of images",
        16: "[0, 0] is no list of different whole numbers from 0 on",
        17: "'go' is unknown",
        19: "is no ordering",
    }.items():
        assert any(f"ablation.yaml:{line}:" in row and message in row for row in text.splitlines()), (line, text)
    assert "'t-colours' has no task 'bax'" in text
    assert "did you mean: box" in text
    assert "did you mean: t-shift" in text
    assert "did you mean: seeds" in text
    assert "t-shift (ablation_fakes) takes: amount=float" in text


def test_an_override_and_a_part_at_the_wrong_place(tmp_path):
    path = write(tmp_path, DATA)
    assert (
        plan_ablation(path, ["base.bridge.amount=0.7"]).trials[0].combination.plan.parts["bridge"].config.amount == 0.7
    )
    with pytest.raises(ConfigError, match=r"--set bridge: bridge: a part stands under base: in an ablation"):
        plan_ablation(path, ["bridge=none"])


def test_nothing_may_be_named_twice(tmp_path):
    text = """data: [box@t-colours, {task: box, name: t-colours}, {task: box, name: t-colours, scenes: 2}]
metrics: [noun-f1, {name: noun-f1}]
grid: {bridge: [none]}
zip: [{bridge: [t-shift]}]
"""
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, text))
    assert [problem.message for problem in error.value.problems] == [
        "'box@t-colours' is listed twice",
        "the metric 'noun-f1' is listed twice",
        "the axis 'bridge' is walked twice",
    ]


def test_no_trial_at_all_is_an_error(tmp_path):
    path = write(tmp_path, DATA + "grid: {decoder: [t-other]}\n")
    with pytest.raises(RegionkitError, match="no trial of ablation can run") as error:
        plan_ablation(path)
    assert "decoder 't-other' reads other/text[16]" in str(error.value)


def test_samples_that_lack_what_a_metric_needs_are_told_before_anything_runs(tmp_path):
    path = write(tmp_path, DATA.replace("noun-f1", "attribute-f1"))
    with pytest.raises(
        ConfigError, match="attribute-f1 on box@t-colours: data set 'Colours' has no lexicon of attributes"
    ):
        plan_ablation(path)


def test_the_filled_config_can_be_written_as_json(tmp_path):
    trial = plan_ablation(write(tmp_path, DATA)).trials[0]
    plain = json.loads(json.dumps(trial.config))
    assert plain["pipeline"]["bridge"]["amount"] == 0.0
    assert plain["data"]["split"] == "test"
    assert plain["metrics"] == {"noun-f1": {"name": "noun-f1", "tokeniser": "ptb"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("grid: {1: [a]}", "ablation.yaml:9: grid.1: '1' is no axis", id="number-for-an-axis"),
        pytest.param("grid: {on: [a]}", "'True' is no axis", id="bool-for-an-axis"),
        pytest.param("grid: {'bridge.': [1, 2]}", "grid.bridge.: 'bridge.' is no axis", id="no-option"),
        pytest.param("grid: {bridge..amount: [1]}", "'bridge..amount' is no axis", id="two-dots"),
        pytest.param("grid: {bridge: [{name: t-shift, 5: 6}]}", "grid.bridge.0.5: unknown option", id="number-option"),
        pytest.param("grid: {bridge: [{name: none, amount: []}]}", "a list in it is empty", id="empty-list"),
        pytest.param("include: [{1: a}]", "'1' is no axis", id="include-number"),
        pytest.param(
            "include: [{bridge: {name: t-shift, amount: []}}]",
            "takes one value an axis, this has 0",
            id="include-empty",
        ),
        pytest.param("exclude: [{1: a}]", "'1' is no axis", id="exclude-number"),
        pytest.param("exclude: [{bridge: nonne}]", "exclude.0: this pattern takes out no trial", id="exclude-typo"),
        pytest.param("exclude: [{data: 'point@*'}]", "exclude.0: this pattern takes out no trial", id="exclude-data"),
        pytest.param("seeds: [9223372036854775808]", "seeds go up to 9223372036854775807", id="seed"),
        pytest.param("base: {1: 2}", "base.1: unknown part", id="base-number"),
    ],
)
def test_odd_values_are_told_as_mistakes(tmp_path, text, message):
    path = write(tmp_path, DATA + text + "\n")
    if text.startswith("base"):
        path.write_text("version: 1\n" + DATA + text + "\n")
    with pytest.raises(ConfigError) as error:
        plan_ablation(path)
    assert message in str(error.value)


def test_a_metric_without_values_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match="a list in it is empty, so it names no metric"):
        plan_ablation(write(tmp_path, DATA.replace("noun-f1", "{name: noun-f1, tokeniser: []}")))


def test_a_list_of_names_has_labels(tmp_path):
    plan = plan_ablation(write(tmp_path, DATA + "grid: {bridge: [{name: [none, t-shift]}]}\n"))
    assert labels(plan, "bridge") == ["none", "t-shift"]


def test_exclude_takes_labels_as_they_are_shown(tmp_path):
    text = "grid: {bridge: [none, {name: t-shift, corruption: ['a[b]', c]}]}\n"
    shown = labels(plan_ablation(write(tmp_path, DATA + text)), "bridge")
    text += f"exclude: [{{bridge: '{shown[1]}'}}, {{region_encoder.flip: true}}]\n"
    text = text.replace("grid: {", "grid: {region_encoder.flip: [false, true], ")
    assert labels(plan_ablation(write(tmp_path, DATA + text)), "bridge") == [shown[0], shown[2]]


def test_the_id_follows_the_sentences_that_a_bank_is_made_of(monkeypatch):
    class Words(Corpus):
        said = ("a dog",)

        def texts(self):
            return self.said

    def planned():
        document = Document(None, {"base": "mini", "data": ["box@mini"], "metrics": ["noun-f1"], "limit": 1})
        pipeline = read_pipeline("mini").data
        (trial,) = plan_ablation(Document(None, {**document.data, "base": pipeline})).trials
        return trial

    assert "texts" not in planned().config  # sentences that are generated follow from the code
    monkeypatch.setattr(stage_keys, "build", lambda kind, name: Words())
    first = planned().id
    assert planned().id == first
    Words.said = ("a dog", "a cat")
    assert planned().id != first
