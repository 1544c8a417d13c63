from __future__ import annotations

import json
import os
import random
import re

import numpy as np
import pytest
from scoring_cases import CIDER, PREDICTIONS, REFERENCES, call, write

from regionkit.core import statistics
from regionkit.core.errors import DataError
from regionkit.core.json_files import load
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.statistics import over_seeds
from regionkit.plugins.scoring import compare_command
from regionkit.plugins.scoring.comparing import compare_runs
from regionkit.plugins.scoring.per_sample import read_run, write_run
from regionkit.plugins.scoring.runs import Measured, Run

BLEU = ("--metrics", "bleu,cider-d", "--set", "bleu.tokeniser=words", "--set", "cider-d.tokeniser=words")
OTHER = {**PREDICTIONS, "2": "two cats sit on a mat", "4": "a man with hat"}


def kept(folder, name, predictions, *options, references=REFERENCES):
    """Score predictions and return the file of ``--per-sample``."""
    source, truth = write(folder, f"p-{name}.json", predictions), write(folder, "r.json", references)
    target = folder / f"{name}.json"
    call("score", source, "--references", truth, *(options or BLEU), "--per-sample", target, "--allow-missing")
    return target


def compared(*arguments):
    return json.loads(call("compare", *arguments, "--json").stdout)


def test_files_of_scores(tmp_path):
    first, second = kept(tmp_path, "a", PREDICTIONS), kept(tmp_path, "b", OTHER)
    found = compared(first, second)
    assert list(found) == ["n", "columns", "changed", "overridden"]
    assert found["n"] == 4
    assert list(found["columns"]) == ["bleu-1", "bleu-2", "bleu-3", "bleu-4", "cider-d"]
    told = json.loads(first.read_text())["columns"], json.loads(second.read_text())["columns"]
    for name, one in found["columns"].items():
        assert one["a"] == pytest.approx(told[0][name]["value"], rel=1e-12)
        assert one["b"] == pytest.approx(told[1][name]["value"], rel=1e-12)
        assert one["difference"] == pytest.approx(one["b"] - one["a"], rel=1e-9)
        assert one["ci"][0] <= one["difference"] <= one["ci"][1]
        assert one["found"] is False  # 16 changes of sides of 4 samples cannot give p < 0.05
        assert one["p"] <= one["p_holm"] <= 1
        assert not one["found"] or one["p_holm"] < 0.05
        assert (one["values"], one["n"], one["groups"]) == ("corpus value", 4, 4)
    assert {change["id"] for change in found["changed"]["cider-d"]} == {"2", "4"}
    change = next(change for change in found["changed"]["cider-d"] if change["id"] == "4")
    assert change["captions"] == ["a man", "a man with hat"]
    assert change["difference"] == change["b"] - change["a"]
    assert found["changed"]["cider-d"][0]["difference"] >= abs(found["changed"]["cider-d"][1]["difference"])


def test_the_other_way_round_changes_signs_alone(tmp_path):
    first, second = kept(tmp_path, "a", PREDICTIONS), kept(tmp_path, "b", OTHER)
    there, back = compared(first, second)["columns"], compared(second, first)["columns"]
    for name, one in there.items():
        assert one["difference"] == pytest.approx(-back[name]["difference"])
        assert one["ci"] == pytest.approx([-end for end in reversed(back[name]["ci"])])
        assert one["p"] == back[name]["p"]


def test_plain_predictions_are_scored_on_the_spot(tmp_path):
    first, second = kept(tmp_path, "a", PREDICTIONS), kept(tmp_path, "b", OTHER)
    plain = compared(tmp_path / "p-a.json", tmp_path / "p-b.json", "--references", tmp_path / "r.json", *BLEU)
    assert plain == compared(first, second)
    assert compared(first, tmp_path / "p-b.json", "--references", tmp_path / "r.json", *BLEU) == plain
    said = call("compare", tmp_path / "p-a.json", second, status=2).stderr
    assert said == (
        f"error: {tmp_path}/p-a.json: no file of `toolkit score --per-sample`\n"
        "  to compare plain predictions, say what they are judged against: --references FILE\n"
    )


def test_the_report(tmp_path):
    first, second = kept(tmp_path, "a", PREDICTIONS), kept(tmp_path, "b", {**OTHER, "4": "a\x1b[31m man\u2028"})
    said = call("compare", first, second, "--most", 1).stdout
    assert said.startswith(f"A: {first}\nB: {second}\n\ncolumn ")
    header = re.split("  +", said.splitlines()[3])
    assert header == ["column", "A", "B", "B - A", "found", "95 % interval", "p", "p (Holm)", "detectable"]
    assert "  nothing  " in said
    assert "4 samples on both sides.\nInterval: paired bootstrap; p: paired permutation test, two-sided.\n" in said
    assert "p (Holm): corrected for the number of columns.\n" in said
    assert said.endswith("other columns: --metric bleu-2\n")
    assert "\x1b" not in said
    by_one = call("compare", first, second, "--metric", "cider-d").stdout
    assert "Changed most by cider-d:\n" in by_one
    assert "    B: a\\x1b[31m man\\u2028\n" in by_one
    assert "bleu" not in by_one
    assert "Changed" not in call("compare", first, second, "--most", 0).stdout
    assert "Changed" not in call("compare", first, first).stdout


def test_a_difference_that_is_there_is_found(tmp_path):
    random.seed(0)
    words = ["dog", "cat", "bus", "tree", "man", "hat", "red", "blue", "big", "runs", "sits", "holds"]
    truth = {str(at): " ".join(random.choices(words, k=8)) for at in range(60)}
    worse = {name: " ".join([*text.split()[:-2], "x", "y"]) for name, text in truth.items()}
    first = kept(tmp_path, "a", worse, references=truth)
    second = kept(tmp_path, "b", truth, references=truth)
    found = compared(first, second)["columns"]
    assert all(one["found"] and one["ci"][0] > 0 and one["p_holm"] < 0.05 for one in found.values())
    assert call("compare", first, second).stdout.count("  B is better  ") == 5
    assert call("compare", second, first).stdout.count("  A is better  ") == 5


def test_other_signatures_are_refused(tmp_path):
    first = kept(tmp_path, "a", PREDICTIONS, *CIDER)
    second = kept(tmp_path, "b", OTHER, "--metrics", "cider-d", "--set", "cider-d.tokeniser=tokens")
    said = call("compare", first, second, status=2).stderr
    assert said == (
        f"error: {first} and {second} were not scored alike\n"
        "  cider-d: tokeniser: words against tokens\n"
        "  to compare them all the same, on the samples that all have, add --any-signature\n"
    )
    found = compared(first, second, "--any-signature")
    assert found["overridden"] == ["cider-d: tokeniser: words against tokens"]
    assert found["columns"]["cider-d"]["n"] == 4
    told = call("compare", first, second, "--any-signature")
    assert told.stderr == "note: not scored alike: cider-d: tokeniser: words against tokens\n"


def test_other_samples_are_refused(tmp_path):
    first = kept(tmp_path, "a", {name: PREDICTIONS[name] for name in "123"})
    second = kept(tmp_path, "b", {name: OTHER[name] for name in "234"})
    said = call("compare", first, second, status=2).stderr
    assert f"  {first} lacks 1 of the samples: 4\n  {second} lacks 1 of the samples: 1\n" in said
    found = compared(first, second, "--any-signature")
    assert found["n"] == 2
    for side, path in {"a": first, "b": second}.items():
        run = read_run(load(path))
        rows = [run.places[name] for name in "23"]
        assert found["columns"]["cider-d"][side] == pytest.approx(run.columns["cider-d"].per_sample[rows].mean())
        bleu = run.columns["bleu-4"]
        again = bleu.pool(bleu.statistics[rows].sum(0)[None])[0]
        assert found["columns"]["bleu-4"][side] == pytest.approx(again)
        assert again != pytest.approx(bleu.value, rel=1e-3)
    third = kept(tmp_path, "c", {"1": "a dog"})
    fourth = kept(tmp_path, "d", {"2": "a cat"})
    said = call("compare", third, fourth, "--any-signature", status=2).stderr
    assert said == f"error: {third} and {fourth} have no sample in common\n"


def test_other_references_are_refused(tmp_path):
    first = kept(tmp_path, "a", PREDICTIONS, "--metrics", "rouge-l", "--set", "rouge-l.tokeniser=words")
    truth = {**REFERENCES, "1": ["another reference"]}
    second = kept(tmp_path, "b", OTHER, "--metrics", "rouge-l", "--set", "rouge-l.tokeniser=words", references=truth)
    digests = [json.loads(path.read_text())["references"] for path in (first, second)]
    said = call("compare", first, second, status=2).stderr
    assert f"references: other texts or ids, by their digests {digests[0]} for {first}, {digests[1]} for" in said
    assert compared(first, second, "--any-signature")["n"] == 4


def test_the_order_of_files_has_no_say(tmp_path):
    first, second = kept(tmp_path, "a", PREDICTIONS), kept(tmp_path, "b", OTHER)
    turned = dict(reversed(REFERENCES.items()))
    third = kept(tmp_path, "c", OTHER, references=turned)
    assert list(json.loads(third.read_text())["samples"]) == ["4", "3", "2", "1"]
    assert compared(first, third) == compared(first, second)


def test_columns_that_are_not_there(tmp_path):
    first = kept(tmp_path, "a", PREDICTIONS)
    second = kept(tmp_path, "b", OTHER, "--metrics", "rouge-l", "--set", "rouge-l.tokeniser=words")
    said = call("compare", first, first, "--metric", "bleu-5", status=2).stderr
    assert said == (
        "error: no column 'bleu-5' in all runs\n  did you mean: bleu-4, bleu-3, bleu-2\n"
        "  they share: bleu-1, bleu-2, bleu-3, bleu-4, cider-d\n"
    )
    said = call("compare", first, second, status=2).stderr
    assert said.startswith("error: the runs have no column in common\n")
    assert f"  {second} has: rouge-l\n" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["a"], "1 runs: give two, or several seeds as A1 A2 A3 --against B1 B2 B3", id="one"),
        pytest.param(["a", "b", "c"], "3 runs: give two, or several seeds as A1 A2 A3 --against B1 B2 B3", id="three"),
    ],
)
def test_sides_must_be_told_apart(arguments, message):
    assert call("compare", *arguments, status=2).stderr.endswith(f"Error: {message}\n")


def test_pictures_are_drawn_together(tmp_path):
    truth = {f"{at}": {"references": ["a dog runs here now"], "image_id": at // 4} for at in range(24)}
    first = kept(tmp_path, "a", dict.fromkeys(truth, "a dog"), references=truth)
    better = {name: "a dog runs here" if int(name) < 16 else "a dog" for name in truth}
    second = kept(tmp_path, "b", better, references=truth)
    alone, together = compared(first, second, "--by-sample"), compared(first, second)
    assert (alone["columns"]["bleu-1"]["groups"], together["columns"]["bleu-1"]["groups"]) == (24, 6)
    assert alone["columns"]["bleu-1"]["p"] < together["columns"]["bleu-1"]["p"]
    assert together == compared(first, second, "--by-image")
    said = call("compare", first, second).stdout
    assert "24 samples on both sides of 6 pictures, drawn together.\n" in said
    said = call("compare", first, second, "--by-sample").stdout
    assert "of 6 pictures, each drawn by itself, as if those of a picture were independent.\n" in said


def test_nothing_is_drawn_from_a_single_picture(tmp_path):
    truth = {name: {"references": texts, "image_id": 7} for name, texts in REFERENCES.items()}
    first, second = kept(tmp_path, "a", PREDICTIONS, references=truth), kept(tmp_path, "b", OTHER, references=truth)
    one = compared(first, second)["columns"]["cider-d"]
    assert [one[key] for key in ("ci", "p", "p_holm", "found", "groups")] == [None] * 5
    assert one["difference"] == one["b"] - one["a"]
    said = call("compare", first, second).stdout
    assert "Not tested: nothing can be drawn from a single picture; --by-sample draws its samples one by one.\n" in said
    assert compared(first, second, "--by-sample")["columns"]["cider-d"]["groups"] == 4


@pytest.mark.parametrize(
    ("width", "columns", "left_out"),
    [
        pytest.param(200, 9, [], id="wide"),
        pytest.param(80, 7, ["p (Holm)", "detectable"], id="80"),
        pytest.param(60, 5, ["95 % interval", "p", "p (Holm)", "detectable"], id="60"),
        pytest.param(10, 5, ["95 % interval", "p", "p (Holm)", "detectable"], id="tiny"),
    ],
)
def test_a_narrow_terminal_leaves_whole_columns_out(monkeypatch, width, columns, left_out):
    monkeypatch.setattr(compare_command.sys, "stdout", _Terminal())
    monkeypatch.setattr(compare_command.shutil, "get_terminal_size", lambda: os.terminal_size((width, 24)))
    row = ("bleu-1", "0.8404", "0.7017", "-0.1388", "A is better", "-0.1756 .. -0.1011", "0.0001", "0.0009", "0.0528")
    header, rows, left = compare_command._fitting(compare_command._HEADER, [row])
    assert (len(header), list(left)) == (columns, left_out)
    assert rows == [row[:columns]]


class _Terminal:
    def isatty(self):
        return True


def test_options_that_would_change_nothing_are_refused(tmp_path):
    for option, flag, hint in (
        (("--metrics", "cider-d"), "--metrics", "; to compare some columns alone, use --metric COLUMN"),
        (("--set", "cider-d.tokeniser=words"), "--set", ""),
        (("--lexicon", "mini"), "--lexicon", ""),
    ):
        said = call("compare", "a.json", "b.json", *option, status=2).stderr
        assert said.endswith(f"Error: {flag} is for plain predictions, together with --references FILE{hint}\n")


def test_seeds_are_averaged(tmp_path):
    files = {
        name: kept(tmp_path, name, {**said, "3": text})
        for name, said, text in [
            ("a1", PREDICTIONS, "a bus"),
            ("a2", PREDICTIONS, "a red bus"),
            ("b1", OTHER, "the bus is red"),
            ("b2", OTHER, "a street"),
        ]
    }
    found = compared(files["a1"], files["a2"], "--against", files["b1"], files["b2"])
    told = {name: json.loads(path.read_text())["columns"] for name, path in files.items()}
    for name, one in found["columns"].items():
        for side in "ab":
            values = [told[f"{side}{seed}"][name]["value"] for seed in (1, 2)]
            assert one[side] == pytest.approx(np.mean(values))
            assert one["seeds"][side] == {"n": 2, "spread": pytest.approx(over_seeds(values).spread)}
        assert one["difference"] == pytest.approx(one["b"] - one["a"], abs=1e-12)
    assert found == compared(files["a1"], files["a2"], "--against", files["b1"], "--against", files["b2"], "--most", 10)
    assert found == compared(files["a1"], files["a2"], f"--against={files['b1']}", files["b2"])
    said = call("compare", files["a1"], files["a2"], "--against", files["b1"], files["b2"], "--seed", 1).stdout
    assert "Values are means over 2 runs a side, ± standard deviation; tests are over samples alone.\n" in said
    said = call("compare", files["a1"], files["a2"], "--against", files["b1"], status=2).stderr
    assert said == "error: 2 runs against 1\n  give as many seeds on both sides\n"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """What is told here does not depend on how many draws there are, and all of them take long."""
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


def _stored(folder, trials):
    """Write a run folder; a trial is its captions, and the rows of its metrics."""
    with ResultStore(folder / "results.sqlite") as store:
        for name, (captions, metrics) in trials.items():
            rows = tuple(SampleRow(f"s{at}", f"i{at}", text) for at, text in enumerate(captions))
            held = tuple(MetricRow(*one) for one in metrics)
            store.save(TrialResult(name, "box@x", 0, {}, "done", "", rows, held, {}))
    return folder


def test_run_folders(tmp_path):
    first = [
        ("cider-d", 0.5, "c", True, (0.25, 0.75)),
        ("bleu-4", 0.3, "b", True, (0.1, 0.2)),
        ("map", 0.1, "m", True, None),
    ]
    second = [
        ("cider-d", 1.0, "c", True, (1.0, 1.0)),
        ("bleu-4", 0.4, "b", True, (0.1, 0.4)),
        ("map", 0.2, "m", True, None),
    ]
    one = _stored(tmp_path / "one", {"t1": (["a", None, "b"], first)})
    two = _stored(tmp_path / "two", {"t1": (["a", None, "b"], first), "t2": (["a", None, "c"], second)})
    found = compared(one, f"{two}#t2")
    assert {name: (held["a"], held["b"], held["values"]) for name, held in found["columns"].items()} == {
        "bleu-4": (pytest.approx(0.15), 0.25, "mean over samples"),
        "cider-d": (0.5, 1.0, "corpus value"),
        "map": (0.1, 0.2, "no values of samples"),
    }
    assert [found["columns"]["map"][key] for key in ("difference", "ci", "p", "found")] == [0.1, None, None, None]
    assert [change["id"] for change in found["changed"]["cider-d"]] == ["s0", "s2"]
    said = call("compare", one, f"{two}#t2").stdout
    assert said.startswith(f"A: {one}#t1\nB: {two}#t2\n")
    assert "bleu-4: means over samples, which are no corpus values: how single samples add up" in said
    assert "map: not tested, since single samples have no value.\n" in said


def test_run_folders_of_several_trials(tmp_path):
    metrics = [("cider-d", 0.5, "c", True, (0.25,))]
    two = _stored(tmp_path / "two", {"t1": (["a"], metrics), "t2": (["a"], metrics)})
    said = call("compare", two, f"{two}#t1", status=2).stderr
    assert said == (
        f"error: {two}: 2 trials; choose one as {two}#TRIAL\n  trials are:\n"
        "    t1: box@x, seed 0, cider-d 0.500\n    t2: box@x, seed 0, cider-d 0.500\n"
    )
    said = call("compare", f"{two}#x", f"{two}#t1", status=2).stderr
    assert said.startswith(f"error: {two}: no trial 'x' that ended well; choose one as {two}#TRIAL\n  trials are:\n")
    said = call("compare", f"{two}#t", f"{two}#t1", status=2).stderr
    assert said.startswith(f"error: {two}: 2 trials begin with 't'; choose")
    said = call("compare", tmp_path, two, status=2).stderr
    assert said == (
        f"error: {tmp_path}: no results in this folder\n"
        "  a run folder holds results.sqlite; `toolkit run --out DIR` writes one\n"
    )
    three = _stored(tmp_path / "three", {"t": (["a"], metrics), "t1": (["a"], metrics)})
    assert compared(f"{three}#t", f"{three}#t1")["n"] == 1  # a whole id is no beginning of others
    (tmp_path / "c#d").mkdir()
    assert "c#d: no results in this folder" in call("compare", tmp_path / "c#d", two, status=2).stderr


def test_a_run_comes_back_from_its_file(tmp_path):
    random_numbers = np.random.default_rng(0)
    ids = ["1", "ü", "a\u2028b", "\ud800", 'quote"', ""]
    columns = {"mean": Measured(0.5, "mean|n=6", False, random_numbers.normal(size=6)), "value": Measured(2.0, "value")}
    run = Run("r", ids, ["caption " + name for name in ids], columns, ["i", *ids[1:]], "digest")
    write_run(tmp_path / "s.json", run)
    again = read_run(load(tmp_path / "s.json"))
    assert (again.ids, again.captions, again.images, again.references) == (
        ids, list(run.captions), list(run.images), "digest",
    )  # fmt: skip
    assert list(again.columns) == ["mean", "value"]
    assert (again.columns["mean"].per_sample == columns["mean"].per_sample).all()
    assert (again.columns["mean"].higher_is_better, again.columns["value"].per_sample) == (False, None)
    assert again.columns["value"].signature == "value"
    assert len((tmp_path / "s.json").read_text().splitlines()) == 24 + len(ids) + 2


def _damaged(data):
    column = data["columns"]["bleu-4"]
    sample = data["samples"]["2"]
    yield "version", lambda: data.update(version=3), "written by another regionkit (format 3, this one reads 2)"
    yield "value", lambda: column.update(value=0.9), "the statistics of bleu-4 give "
    yield "row", lambda: sample["statistics"].pop("bleu-1"), "no 'bleu-1'"
    yield "short-row", lambda: sample["statistics"]["bleu-1"].pop(), "inhomogeneous shape"
    yield "no-value", lambda: sample["values"].pop("cider-d"), "a sample has no value"
    yield "text", lambda: sample.update(caption=None), "null where a text belongs"
    yield "list", lambda: data.update(samples=[]), "'list' object has no attribute 'values'"
    yield "columns", lambda: data.pop("columns"), "no 'columns'"
    yield "metric", lambda: column.update(metric="blue"), "the metric 'blue' made these scores: no metric named 'blue'"


@pytest.mark.parametrize(
    "name", ["version", "value", "row", "short-row", "no-value", "text", "list", "columns", "metric"]
)
def test_damaged_files_are_told(tmp_path, name):
    target = kept(tmp_path, "a", PREDICTIONS)
    data = json.loads(target.read_text())
    damage, message = {fault: (damage, message) for fault, damage, message in _damaged(data)}[name]
    damage()
    target.write_text(json.dumps(data))
    said = call("compare", target, target, status=2).stderr
    assert said.startswith("error: ")
    assert message in said


def test_holm_corrects_by_rank():
    def run(values):
        columns = {
            name: Measured(float(np.mean(one)), name, per_sample=np.array(one, float)) for name, one in values.items()
        }
        ids = [str(at) for at in range(12)]
        return Run("r", ids, ids, columns, ids)

    noise = [1, -1] * 6
    zeros = {"far": [0] * 12, "near": [0] * 12, "same": [0] * 12}
    moved = {"far": [1] * 12, "near": [1] * 10 + [-1] * 2, "same": noise}
    found = {one.name: one for one in compare_runs([run(zeros)], [run(moved)]).columns}
    p = {name: one.comparison.p for name, one in found.items()}
    assert p["far"] < p["near"] < p["same"]
    assert found["far"].corrected == pytest.approx(3 * p["far"])
    assert found["near"].corrected == pytest.approx(2 * p["near"])
    assert found["same"].corrected == pytest.approx(p["same"])


def test_statistics_of_two_components_do_not_change_places():
    """One column name, two metrics: only their values of samples can be set against each other."""
    ids = [str(at) for at in range(8)]

    def run(metric, width):
        rows = np.ones((8, width))
        held = Measured(8.0, "s", True, np.arange(8.0), rows, lambda sums: sums[:, 0], metric)
        return Run(metric, ids, ids, {"x": held}, ids)

    (one,) = compare_runs([run("a", 2)], [run("b", 3)]).columns
    assert (one.basis, one.first.mean, one.comparison.difference) == ("mean over samples", 3.5, 0.0)
    (one,) = compare_runs([run("a", 2)], [run("a", 2)]).columns
    assert (one.basis, one.first.mean) == ("corpus value", 8.0)


def test_columns_without_samples_need_none_in_common(tmp_path):
    """Detections of two models have ids of their own, and their average precision is no matter of single ones."""

    def run(name, value):
        values = Measured(0.5, "x", per_sample=np.array([0.5]))
        return Run(name, [f"{name}#0"], ["a"], {"dense-map": Measured(value, "m"), "x": values}, ["i"])

    runs = [run("a", 0.25)], [run("b", 0.5)]
    (one,) = compare_runs(*runs, ["dense-map"]).columns
    assert (one.first.mean, one.second.mean, one.comparison) == (0.25, 0.5, None)
    with pytest.raises(DataError, match="were not scored alike"):
        compare_runs(*runs)
