"""``toolkit rerun``: the same comes out, or it is said what does not, and why."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import ablation_fakes
import pytest
from ablation_fakes import write
from click.testing import CliRunner

from regionkit.core.results import DATABASE, ResultStore
from regionkit.plugins.ablation import commands
from regionkit.plugins.ablation.rerun_command import rerun
from regionkit.registry.run_folders import trials_of

FILE = """\
data: [box@t-colours, point@t-colours]
metrics: [cider-d, noun-f1]
grid:
  region_encoder: [t-pool]
  bridge: [none, {name: t-shift, amount: [0.0, 0.4]}]
seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerun")
    result = CliRunner().invoke(commands.ablate, [str(write(folder, FILE)), "--out", str(folder / "run")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert (folder / "run" / DATABASE).is_file(), result.output
    return folder / "run"


def invoke(*arguments):
    result = CliRunner().invoke(rerun, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def told(*arguments, status=0):
    result = invoke(*arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def trials(run):
    with ResultStore(run / DATABASE, read_only=True) as store:
        return trials_of(store)


@pytest.fixture
def changed(run, tmp_path):
    """Return a copy of the run, one of its trials, and a function that changes what is stored of it."""
    shutil.copytree(run, tmp_path / "copy")
    one = next(trial for trial in trials(run) if trial.data == "box@t-colours")

    def change(statement="", edit=None):
        with sqlite3.connect(tmp_path / "copy" / DATABASE) as database:
            if edit is not None:
                (text,) = database.execute("SELECT config FROM trials WHERE id = ?", (one.id,)).fetchone()
                config = json.loads(text)
                edit(config)
                database.execute("UPDATE trials SET config = ? WHERE id = ?", (json.dumps(config), one.id))
            if statement:
                database.execute(statement, (one.id,))
        database.close()
        return f"{tmp_path / 'copy'}#{one.id}"

    return change


def test_a_trial_comes_out_as_it_was(run):
    one = trials(run)[0]
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    result = invoke(f"{run}#{one.id[:8]}")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{one.described}: ")
    assert "captions identical, 2 of 2 scores\n" in result.stdout
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert ablation_fakes.FORWARDS, "it was run, and not looked up"


def test_a_trial_that_was_rounded_is_rounded_again(tmp_path, monkeypatch):
    seen = []
    inner = ablation_fakes.Nearest.generate

    def generate(self, inputs, *args, **kwargs):
        seen.append(inputs.tokens.clone())
        return inner(self, inputs, *args, **kwargs)

    monkeypatch.setattr(ablation_fakes.Nearest, "generate", generate)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    text = "data: [box@t-colours]\nmetrics: [noun-f1]\ncache_precision: float16\n"
    text += "grid: {bridge: [{name: t-shift, amount: 0.1234567}]}\n"
    CliRunner().invoke(commands.ablate, [str(write(tmp_path, text)), "--out", str(tmp_path / "run")])
    then, seen[:] = seen[0], []
    assert told(tmp_path / "run")["identical"] is True
    assert seen[0].equal(then)


def test_all_trials_come_out_as_they_were_a_line_each(run):
    result = invoke(run)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    count = len(trials(run))
    assert count == 12
    assert sum("captions identical" in line for line in lines) == count
    assert lines[-1] == "12 of 12 trials came out identical"
    found = told(run, "--no-scores")
    assert found["identical"] is True
    assert [one["columns"] for one in found["trials"]] == [0] * count
    assert all(one["changes"] == [] and one["same"] == one["samples"] > 0 for one in found["trials"])


def test_stages_that_trials_share_run_once(run):
    told(run, "--no-scores")
    backbones = sum(sum(sizes) for sizes in ablation_fakes.FORWARDS.values())
    pictures = {seed: set() for seed in (0, 1)}
    with ResultStore(run / DATABASE, read_only=True) as store:
        for one in trials_of(store):
            pictures[one.seed] |= {row.image for row in store.captions(one.id)}
    assert backbones <= 2 * sum(map(len, pictures.values())), "one look at a picture a task at most, not one a trial"


def test_a_caption_that_was_another_is_shown_with_both_texts(changed):
    source = changed("UPDATE samples SET caption = 'a zebra' WHERE trial = ? AND position = 1")
    result = invoke(source)
    assert result.exit_code == 1
    assert "\n    then: a zebra\n    now:  " in result.stdout
    (one,) = told(source, status=1)["trials"]
    assert one["identical"] is False
    assert one["same"] == one["samples"] - 1
    assert [(other["then"], len(one["captions"])) for other in one["captions"]] == [("a zebra", 1)]


def test_a_score_that_was_another_is_shown(changed):
    source = changed("UPDATE scores SET value = 7.5 WHERE trial = ? AND metric = 'cider-d'")
    (one,) = told(source, status=1)["trials"]
    assert one["same"] == one["samples"]
    assert [(score["column"], score["then"]) for score in one["scores"]] == [("cider-d", 7.5)]
    assert "cider-d: 7.5 then, " in invoke(source).stdout
    assert told(source, "--no-scores")["identical"] is True


def test_what_has_changed_is_named_although_nothing_came_of_it(changed):
    def edit(config):
        config["code"] = "0123"
        config["data"]["fingerprint"] = "4567"

    found = told(changed("", edit))["trials"][0]["changes"]
    assert found[0].startswith("the data are others: their fingerprint was 4567, it is ")
    assert found[1].startswith("the code has changed: it was 0123, it is ")


def test_versions_of_packages_are_compared_where_the_run_says_them(changed):
    source = changed()
    folder = source.partition("#")[0]
    analysis = {"provenance": {"versions": {"python": "2.7.1", "torch": "0.1", "no-such-package": "9"}}}
    Path(folder, "analysis.json").write_text(json.dumps(analysis))
    found = told(source)["versions"]
    assert [line.split(" was ")[0] for line in found] == ["python", "torch"]
    assert found[0].startswith("python was 2.7.1, it is 3.")
    assert "changed: torch was 0.1, it is " in invoke(source).stdout


@pytest.mark.parametrize("text", ["", "{", "[]", '{"provenance": {"versions": [1]}}', '{"provenance": 3}'])
def test_a_damaged_analysis_is_no_part_of_the_results(changed, text):
    source = changed()
    Path(source.partition("#")[0], "analysis.json").write_text(text)
    assert told(source)["versions"] == []


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param(
            lambda config: config["pipeline"]["bridge"].update(name="t-shift-gone"),
            "no bridge named 't-shift-gone'",
            id="plugin-gone",
        ),
        pytest.param(
            lambda config: config["data"]["dataset"].update(name="t-gone"), "no dataset named 't-gone'", id="data-gone"
        ),
        pytest.param(
            lambda config: config.update(pipeline={}), "this trial was stored without its pipeline", id="no-record"
        ),
    ],
)
def test_what_is_gone_is_named(changed, edit, words):
    source = changed("", edit)
    result = invoke(source)
    assert result.exit_code == 1
    assert "could not be run again: " in result.stdout
    assert words in result.stdout
    assert words in told(source, status=1)["trials"][0]["error"]


def test_a_metric_that_is_gone_costs_its_score_alone(changed):
    def edit(config):
        config["metrics"]["noun-f1"]["name"] = "noun-f2"

    (one,) = told(changed("", edit))["trials"]
    assert one["columns"] == 1
    assert "no metric named 'noun-f2'" in one["unscored"]["noun-f1"]
    assert one["identical"] is True


def test_a_trial_that_is_not_there_is_told_with_those_that_are(run, tmp_path):
    result = CliRunner().invoke(rerun, [f"{run}#zz"])
    assert "no trial 'zz'" in str(result.exception)
    assert "bridge=t-shift, bridge.amount=0.4" in str(result.exception)
    result = CliRunner().invoke(rerun, [str(tmp_path / "nowhere")])
    assert str(result.exception).startswith(f"{tmp_path / 'nowhere'}: there is no such folder")


PERTURBED = """\
data: [box@t-colours]
metrics: [noun-f1]
grid:
  region_encoder: [t-pool]
robustness: {jitter: [0.3]}
"""


def test_perturbed_regions_are_perturbed_again(tmp_path):
    result = CliRunner().invoke(commands.ablate, [str(write(tmp_path, PERTURBED)), "--out", str(tmp_path / "run")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found = told(tmp_path / "run")
    assert [one["data"] for one in found["trials"]] == ["box@t-colours", "box@t-colours~jitter=0.3"]
    assert all(one["identical"] and one["columns"] == 1 for one in found["trials"])
