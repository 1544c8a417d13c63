from __future__ import annotations

import json

import pytest
from data_toys import zoo

from regionkit.core.errors import RegionkitError


@pytest.fixture
def home(project):
    return zoo(project)


def references(value):
    from regionkit.registry.assembly import build

    (sample,) = build("dataset", value).samples("box", "test")
    return sample.references


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("rewritten", "nobody was asked", id="none"),
        pytest.param({"name": "rewritten", "judge": "parrot"}, "yes", id="name"),
        pytest.param({"name": "rewritten", "judge": {"name": "parrot", "word": "no"}}, "no", id="options"),
    ],
)
def test_a_data_set_is_built_with_its_judge(home, value, said):
    assert references(value) == (said,)


def test_a_judge_of_the_context_stays(home):
    from regionkit.core.contracts import BuildContext
    from regionkit.registry.assembly import build, build_part
    from regionkit.registry.schema import fill

    own = build("judge", {"name": "parrot", "word": "own"})
    made = build_part(fill("dataset", {"name": "rewritten", "judge": "parrot"}), BuildContext(parts={"judge": own}))
    assert made.judge is own


def test_equal_judges_are_one(home):
    from regionkit.registry.assembly import build
    from regionkit.registry.metrics import MetricRef
    from regionkit.registry.schema import fill

    first = build("dataset", {"name": "rewritten", "judge": "parrot"})
    ref = MetricRef("liking", fill("metric", {"name": "liking", "judge": {"name": "parrot"}}))
    other = build("dataset", {"name": "rewritten", "judge": {"name": "parrot", "word": "no"}})
    assert ref.build(None).judge is first.judge
    assert other.judge is not first.judge
    assert ref.to_dict()["judge"] == {"name": "parrot", "word": "yes", "identity": "parrot", "sees": False}
    assert [spec.name for spec in ref.specs] == ["liking", "parrot"]
    assert ref.hashes == {}


@pytest.mark.parametrize(
    ("kind", "value", "message", "hint"),
    [
        pytest.param(
            "dataset",
            {"name": "rewritten", "judge": "parot"},
            "judge.name: no judge named 'parot'",
            "did you mean: parrot",
            id="unknown",
        ),
        pytest.param(
            "dataset", "unasked", "data set 'unasked' needs a judge, and no option says which: judge", "", id="option"
        ),
        pytest.param(
            "metric",
            "liking",
            "metric 'liking' needs a judge, and its option 'judge' names none",
            "judges are: ",
            id="empty",
        ),
    ],
)
def test_helpers_that_cannot_be(home, kind, value, message, hint):
    from regionkit.registry.assembly import build

    with pytest.raises(RegionkitError) as caught:
        build(kind, value)
    text = str(caught.value)
    assert message in text or message.replace("judge.name: ", "judge: ") in text
    assert hint in text


@pytest.mark.parametrize(
    ("place", "path", "example"),
    [
        pytest.param("--metrics", "asks", "--set asks.judge.name=", id="flag"),
        pytest.param("x.yaml:4", "metrics.0", "judge: {name: ", id="file"),
    ],
)
def test_a_judge_that_is_missing_can_be_typed(home, place, path, example):
    from regionkit.registry.schema import fill

    with pytest.raises(RegionkitError) as caught:
        fill("metric", {"name": "clair"}, lambda _: place, path)
    assert "the option 'judge' is missing: it has no default\n  judges are: " in str(caught.value)
    assert f"for example {example}" in str(caught.value)
    assert "see: toolkit show " in str(caught.value)


def test_data_are_made_with_a_judge_and_verified_with_it(home):
    options = ("--set", "judge.name=parrot", "--set", "judge.word=hello")
    result = home.run("data", "make", "rewritten", *options, "--out", "made")
    assert (result.exit_code, result.stdout) == (
        0, "made: 1 sentences, 1 kept of rewritten, split test, seed 0\n",
    )  # fmt: skip
    assert (home.folder / "made/said.txt").read_text() == "hello None"
    card = json.loads((home.folder / "made/dataset.json").read_text())
    assert card == {
        "dataset": "rewritten",
        "split": "test",
        "seed": 0,
        "limit": None,
        "options": {"judge": {"name": "parrot", "word": "hello"}},
        "counts": {"sentences": 1, "kept": 1},
    }
    assert home.run("data", "verify", "made").stdout == "made: as it was made\n"
    (home.folder / "made/dataset.json").write_text(json.dumps(card | {"options": {}}))
    assert "it says another thing" in home.run("data", "verify", "made").stderr
    (home.folder / "made/dataset.json").write_text(json.dumps(card | {"options": []}))
    assert "its options are none" in home.run("data", "verify", "made").stderr


def test_mistakes_of_options_are_placed(home):
    result = home.run("data", "make", "rewritten", "--set", "judge.nam=parrot", "--out", "made")
    assert result.exit_code == 2
    assert "judge" in result.stderr
    assert not (home.folder / "made").exists()


def test_an_ablation_reads_data_that_are_made_with_a_judge(home):
    from regionkit.plugins.ablation.planning import plan_ablation

    home(
        {
            "x.yaml": """
                version: 1
                base: mini
                data:
                  - {task: box, name: rewritten, judge: {name: parrot, word: hello}}
                metrics: [{name: liking, judge: parrot}]
            """
        }
    )
    (trial,) = plan_ablation("x.yaml").trials
    assert [sample.references for sample in trial.selection.samples] == [("hello",)]
    assert trial.config["data"]["fingerprint"] == "hello"
    (metric,) = trial.config["metrics"].values()
    assert metric["judge"] == {"name": "parrot", "word": "yes", "identity": "parrot", "sees": False}
