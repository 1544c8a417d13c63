"""Intervals of tables and files, the same run twice, and data of the user's own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from regionkit.core import statistics
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.statistics import Evidence, intervals
from regionkit.plugins.ablation.estimates import intervals_of
from regionkit.plugins.caption_metrics.overlap.metrics import Bleu
from regionkit.registry.cli import root

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """What is told here does not depend on how many draws there are, and all of them take long."""
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


def call(*arguments, status=0):
    result = CliRunner().invoke(root, [str(one) for one in arguments])
    assert result.exit_code == status, result.output
    return result


def store_of(**trials):
    """Return a store of trials of five captions of three pictures, with a mean, BLEU, and a value of no sums."""
    store = ResultStore(None)
    for name, seed in trials.items():
        random = np.random.default_rng(seed)
        values = tuple(random.random(5).tolist())
        mean = MetricRow("m", sum(values) / 5, "", True, values)
        other = MetricRow("map", 0.3, "", True, None)
        odd = MetricRow("odd", 0.9, "", True, values)
        samples = tuple(SampleRow(f"s{at}", f"i{at // 2}", "x") for at in range(5))
        store.save(TrialResult(name, "d", seed, {}, "done", "", samples, (mean, other, odd), {}))
    return store


def test_samples_of_a_picture_are_drawn_together_and_seeds_pooled():
    store = store_of(a=0, b=1)
    (one,) = intervals_of(store, ["a"]).items()
    images = [image for image, _ in store.sample_scores("a", "m").values()]
    values = {name: [value for _, value in store.sample_scores(name, "m").values()] for name in ("a", "b")}
    assert one == ("m", intervals({"m": Evidence.of_mean(values["a"]).grouped(images)})["m"])
    pooled = Evidence.of_mean([*values["a"], *values["b"]]).grouped(images * 2)
    assert intervals_of(store, ["a", "b"]) == {"m": intervals({"m": pooled})["m"]}
    assert intervals_of(store, ["a", "missing"]) == {}


def test_an_interval_of_bleu_is_one_of_the_corpus_value(tmp_path):
    call("run", "mini", "--task", "box", "--limit", 8, "--metrics", "bleu", "--out", tmp_path)
    with ResultStore(tmp_path / "results.sqlite") as store:
        (trial,) = store.trials()
        held = store.sample_statistics(trial.id, "bleu-4")
        evidence = Evidence(np.stack([row for _, row in held.values()]), lambda sums: Bleu.pool("4", sums))
        assert evidence.value == pytest.approx(store.scores(trial.id)["bleu-4"][0])
        found = intervals_of(store, [trial.id])["bleu-4"]
        assert found == pytest.approx(intervals({"x": evidence.grouped(list(held))})["x"])
    (row,) = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert (float(row["bleu-4-low"]), float(row["bleu-4-high"])) == found
    assert row["bleu-4-judged"] == "8"


SMALL = """\
version: 1
base: mini
data: [box@mini, ris@mini, dense@mini]
limit: 10
seeds: [0, 1]
grid: {bridge: [none, memory]}
claims: [{say: "bridge=memory > bridge=none", on: box@mini, by: [bleu-4, cider-d], must: false}]
"""


def test_the_same_run_twice_leaves_the_same_bytes(tmp_path):
    path, told = tmp_path / "small.yaml", []
    path.write_text(SMALL)
    for folder in (tmp_path / "one", tmp_path / "two"):
        told.append(call("ablate", path, "--out", folder, "--json").stdout.replace(str(folder), "OUT"))
    names = ["claims.json", "claims.md", "results.csv", "results.md"]  # analysis.json holds wall times
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    first, second = told
    assert first[first.index("{") :] == second[second.index("{") :]
    claims = json.loads((tmp_path / "one" / "claims.json").read_text())
    assert {one["by"] for one in claims} == {"bleu-4", "cider-d"}
    assert all(one["verdict"] == "recorded" and one["n"] == 20 for one in claims)


def test_data_of_ones_own_give_what_the_data_set_gives(tmp_path, monkeypatch):
    call("data", "make", "mini", "--out", tmp_path / "mini", "--limit", 5)
    data = [f"{task}@mini" for task in ("box", "trace", "ris")]
    data += [
        f"{{task: {task}, name: jsonl, file: {tmp_path / 'mini' / 'regions.jsonl'}}}"
        for task in ("box", "trace", "ris")
    ]
    path = tmp_path / "own.yaml"
    path.write_text(f"version: 1\nbase: mini\ndata: [{', '.join(data)}]\nlimit: 5\n")
    trials = json.loads(call("ablate", path, "--out", tmp_path / "out", "--json").stdout)["trials"]
    scores = [
        {name: value for name, value in one.items() if name.split("-")[0] in ("bleu", "cider", "rouge", "referring")}
        for one in trials
    ]
    assert scores[:3] == scores[3:]
    assert all(scores)
    assert [one["samples"] for one in trials[:3]] == [one["samples"] for one in trials[3:]]


def test_the_example_of_ones_own_data(tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    found = json.loads(call("ablate", "ablations/own-data.yaml", "--out", tmp_path / "out", "--json").stdout)
    assert [one["samples"] for one in found["trials"]] == [4, 4, 4]
    assert all(one["failed"] == 0 and one["cider-d"] > 3 for one in found["trials"])


SIX = ("image", "box", "trace", "box-set", "dense", "ris")


def tables_of(shown):
    """Return the Markdown tables of an output, each as its rows."""
    blocks = [block.splitlines() for block in shown.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block] for block in blocks]


def test_a_table_of_six_tasks_has_an_interval_for_every_value(monkeypatch, tmp_path):
    command = ("run", "mini", "--task", ",".join(SIX), "--limit", 10, "--out", tmp_path)
    shown = call(*command).stdout
    ((header, _, *rows),) = tables_of(shown)
    assert shown.startswith(
        "Pipeline: backbone mini-dense, region_encoder patch-pool, bridge memory, decoder decap.\n\n|"
    )
    assert header == ["metric", *(f"{task}@mini" for task in SIX)]
    for metric, *cells in rows:
        values = [cell for cell in cells if cell != "-"]
        assert values
        # An average precision has none; where METEOR is installed, dense captioning reports it.
        assert all("[" in cell and cell.endswith("]") for cell in values) or "map" in metric
    assert "In brackets: 95 % interval, bootstrap over scenes." in shown
    assert "Metrics of the tasks, since none were named: image@mini: bleu" in shown
    report = (tmp_path / "results.md").read_text()
    assert tables_of(report)[0] == [header, _, *rows]
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        narrow = call(*command).stdout
        found = tables_of(narrow)
        assert len(found) == {80: 3, 120: 2}[width]
        assert max(len(line) for line in narrow.splitlines() if line.startswith("|")) <= width
        held = {(row[0], name): row[at] for block in found for row in block[2:] for at, name in enumerate(block[0])}
        whole = {(row[0], name): row[at] for row in rows for at, name in enumerate(header)}
        assert held.items() <= whole.items()
        assert {value for value in whole.values() if "[" in value} <= set(held.values())
        assert (tmp_path / "results.md").read_text() == report
