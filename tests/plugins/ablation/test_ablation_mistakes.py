"""What a newcomer reads after a mistake: each told once, with the reason and the form that would be right."""

from __future__ import annotations

import json

import pytest
from ablation_fakes import write
from click.testing import CliRunner

from regionkit.core.errors import ConfigError
from regionkit.plugins.ablation.commands import ablate
from regionkit.plugins.ablation.planning import plan_ablation

REASON = "trials that cannot run: t-global does not take point regions; it takes: box, image"
TASKS = """\
data: [box@t-colours, point@t-colours]
metrics: [noun-f1]
grid: {region_encoder: [t-pool, t-global], bridge: [t-shift, {name: t-shift, amount: [0.1, 0.2]}]}
"""


def mistakes(folder, text):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(folder, text))
    return [(problem.path, problem.message, list(problem.hints)) for problem in error.value.problems]


def claim(say, on="box@t-colours", by="noun-f1", **more):
    return f"claims: [{json.dumps({'say': say, 'on': on, 'by': by, **more})}]\n"


def test_a_claim_on_trials_that_were_refused_says_why(tmp_path):
    say = "region_encoder=t-pool > region_encoder=t-global"
    assert mistakes(tmp_path, TASKS + claim(say, on="point@t-colours")) == [
        (
            "claims.0",
            f"'{say}' on point@t-colours matches no pair of trials",
            ["on point@t-colours the values of region_encoder are: t-pool", REASON],
        )
    ]


def test_reasons_of_other_trials_are_left_out(tmp_path):
    say = "bridge=t-shift(amount=0.1) > bridge=t-shift(amount=0.9)"
    text = TASKS + "include: [{bridge: {name: t-shift, amount: 0.9}, backbone.grid: 2}]\n"
    ((path, _, hints),) = mistakes(tmp_path, text + claim(say))
    assert path == "claims.0"
    assert hints[1:] == ["the two sides must agree in all other axes; see the trials with --plan"]


def test_a_value_whose_every_trial_was_refused_says_why(tmp_path):
    text = TASKS.replace("box@t-colours, ", "") + claim(
        "region_encoder=t-pool > region_encoder=t-global", on="point@t-colours"
    )
    assert mistakes(tmp_path, text) == [
        ("claims.0.say", "no trial that fits has region_encoder = 't-global'", [REASON, "there is: t-pool"])
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            claim("region_encoder=t-pool > region_encoder=t-global", on="point@t-colours"),
            "matches no pair of trials",
            id="no-pair",
        ),
        pytest.param(claim("bridge=memory > bridge=t-shift"), "no trial that fits has bridge = 'memory'", id="value"),
        pytest.param(claim("bridge"), "is no ordering", id="form"),
        pytest.param("exclude: [{bridge: nonne}]\n", "this pattern takes out no trial", id="pattern"),
    ],
)
def test_the_plan_shows_the_trials_that_a_claim_is_wrong_about(tmp_path, text, told):
    path = write(tmp_path, TASKS + text)
    result = CliRunner().invoke(ablate, [str(path), "--out", str(tmp_path / "out"), "--plan"])
    assert "| t-pool " in result.stdout
    assert "9 trials, 0 done in" in result.stdout
    assert "t-global does not take point regions" in result.stdout
    assert isinstance(result.exception, ConfigError)
    assert result.exception.exit_code == 2
    assert told in str(result.exception)
    plain = CliRunner().invoke(ablate, [str(path), "--out", str(tmp_path / "out"), "--plan", "--json"]).stdout
    assert [told in line for line in json.loads(plain)["mistakes"]] == [True]
    with pytest.raises(ConfigError):
        plan_ablation(path)


def test_names_of_a_list_that_is_wrong_itself_are_not_told_again(tmp_path):
    text = TASKS.replace("noun-f1", "noun-g1") + claim("bridge=none > bridge=t-shift", on="boxes@t-colours")
    assert [path for path, *_ in mistakes(tmp_path, text)] == ["metrics.0", "claims.0.on"]
    text = TASKS.replace("[box@t-colours", "[bx@t-colours") + claim("bridge=none > bridge=t-shift", by="noun-g1")
    assert [path for path, *_ in mistakes(tmp_path, text)] == ["data.0", "claims.0.by"]


def test_a_claim_that_is_wrong_in_one_way_is_not_told_to_match_nothing(tmp_path):
    text = TASKS + claim("bridge=t-shift > bridge=memory", on="boxes@t-colours")
    assert [path for path, *_ in mistakes(tmp_path, text)] == ["claims.0.on"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param("{name: crop, min_side: [0, 2]}", "grid.region_encoder.0.min_side.0", id="list"),
        pytest.param("{name: crop, min_side: 0}", "grid.region_encoder.0", id="part"),
    ],
)
def test_a_message_names_the_option_once(tmp_path, value, path):
    text = f"data: [box@t-colours]\nmetrics: [noun-f1]\ngrid: {{region_encoder: [{value}]}}\n"
    ((found, message, _),) = mistakes(tmp_path, text)
    assert found == path
    assert f"{found}: {message}".endswith("0 must be 1 or more")
    assert f"{found}: {message}".count("min_side") == 1


def test_an_option_inside_a_value_is_shown_as_claims_write_it(tmp_path):
    said = mistakes(tmp_path, TASKS + claim("bridge.amount=0.2 > bridge.amount=0.1"))
    assert [(path, message, hints[0]) for path, message, hints in said] == [
        (
            "claims.0.say",
            "no axis is called 'bridge.amount'",
            "'amount' is set inside values of bridge: write bridge=t-shift(amount=0.1), bridge=t-shift(amount=0.2)",
        )
    ]
    ((path, message, hints),) = mistakes(
        tmp_path, TASKS + claim("region_encoder=t-pool > region_encoder=t-global", where={"bridge.amonut": 0.1})
    )
    assert (path, message) == ("claims.0.where", "no axis is called 'bridge.amonut'")
    assert not any("inside values" in hint for hint in hints)
