"""Samples that a metric could not judge: kept as null, counted, left out on both sides of a comparison."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from scoring_cases import PREDICTIONS, REFERENCES, call, scored, write

from regionkit.core import statistics
from regionkit.core.contracts import Metric, Score
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec
from regionkit.plugins.scoring.compare_command import _signed
from regionkit.registry import registry as registry_module
from regionkit.registry.registry import Owner


class Words(Metric):
    """Words a caption, as a mean and as a ratio of sums; captions that hold ``?`` cannot be judged."""

    parts = ("", "pooled")

    def __init__(self) -> None:
        self.captions: list[str] = []

    def update(self, samples, captions):
        self.captions += captions

    def compute(self):
        lost = {at: "the judge gave no answer" for at, one in enumerate(self.captions) if "?" in one}
        counts = [math.nan if at in lost else float(len(one.split())) for at, one in enumerate(self.captions)]
        rows = np.array([[0.0, 0.0] if math.isnan(count) else [count, 1.0] for count in counts])
        known = [count for count in counts if not math.isnan(count)]
        value = sum(known) / max(len(known), 1)
        mean = Score(value, tuple(counts), "t-words|mean", unjudged=lost)
        pooled = Score(value, tuple(counts), "t-words|pooled", statistics=rows, unjudged=lost)
        return Score(value, mean.per_sample, mean.signature, {"": mean, "pooled": pooled}, unjudged=lost)

    @classmethod
    def pool(cls, part, sums):
        return sums[:, 0] / np.maximum(sums[:, 1], 1)


@hookimpl
def regionkit_components():
    return [ComponentSpec("metric", "t-words", f"{__name__}:Words")]


@pytest.fixture(scope="module", autouse=True)
def words() -> Iterator[None]:
    registry_module.get_registry.cache_clear()
    registry = registry_module.get_registry()
    registry.register(sys.modules[__name__], Owner("words_fakes", "tests", "0"))
    assert "words_fakes" in registry.plugins, registry.quarantined
    yield
    registry_module.get_registry.cache_clear()


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(statistics, "draws_of", lambda groups: 500)


METRIC = ("--metrics", "t-words")
GAPS = {**PREDICTIONS, "2": "what? a cat"}


def test_a_sample_that_was_not_judged_is_counted_and_ends_with_status_1(tmp_path):
    found = scored(tmp_path, GAPS, *METRIC, status=1)
    value = (5 + 6 + 2) / 3
    for name in ("t-words", "t-words-pooled"):
        score = found["scores"][name]
        assert (score["value"], score["judged"]) == (pytest.approx(value), 3)
        assert score["ci"][0] <= value <= score["ci"][1]
    assert found["unjudged"]["t-words"] == [{"id": "2", "reason": "the judge gave no answer"}]
    assert scored(tmp_path, GAPS, *METRIC, "--allow-missing")["n"] == 4
    arguments = ("score", tmp_path / "p.json", "--references", tmp_path / "r.json", *METRIC)
    said = call(*arguments, status=1).stdout
    assert "4.3333 (judged 3 of 4)" in said
    assert "1 caption not judged by t-words, t-words-pooled:\n  2: the judge gave no answer\n" in said


def test_nothing_judged_is_no_score(tmp_path):
    write(tmp_path, "r.json", REFERENCES)
    source = write(tmp_path, "p.json", dict.fromkeys(PREDICTIONS, "?"))
    said = call("score", source, "--references", tmp_path / "r.json", *METRIC, status=1).stderr
    assert "metric 't-words' could judge none of 4 samples" in said
    assert "4 times: the judge gave no answer" in said


def test_a_metric_that_can_say_nothing_takes_no_other_with_it(tmp_path):
    source = write(tmp_path, "p.json", dict.fromkeys(PREDICTIONS, "?"))
    write(tmp_path, "r.json", REFERENCES)
    arguments = ("score", source, "--references", tmp_path / "r.json", "--metrics", "rouge-l,t-words")
    found = json.loads(call(*arguments, "--json", status=1).stdout)
    assert list(found["scores"]) == ["rouge-l"]
    assert found["failed"]["t-words"].startswith("metric 't-words' could judge none of 4 samples")
    said = call(*arguments, "--allow-missing", status=1)
    assert "rouge-l" in said.stdout
    assert "t-words says nothing: metric 't-words' could judge none of 4 samples" in said.stderr
    assert "could judge none of 4" in call("compare", source, source, *arguments[2:], status=1).stderr


def kept(folder, name, predictions, status=0):
    write(folder, "r.json", REFERENCES)
    source = write(folder, f"{name}-p.json", predictions)
    target = folder / f"{name}.json"
    call("score", source, "--references", folder / "r.json", *METRIC, "--per-sample", target, status=status)
    return target


def test_files_hold_null_and_comparisons_take_samples_that_both_sides_judged(tmp_path):
    one = kept(tmp_path, "a", GAPS, 1)
    two = kept(tmp_path, "b", {**PREDICTIONS, "3": "is it a bus ?", "1": "a dog"}, 1)
    held = json.loads(one.read_text())["samples"]["2"]
    assert held["values"] == {"t-words": None, "t-words-pooled": None}
    assert held["unjudged"] == dict.fromkeys(("t-words", "t-words-pooled"), "the judge gave no answer")
    found = json.loads(call("compare", one, two, "--json").stdout)
    assert found["n"] == 4
    for column in found["columns"].values():
        assert (column["judged"], column["n"]) == (2, 2)
        assert (column["a"], column["b"], column["difference"]) == (3.5, 2.0, -1.5)
    assert [change["id"] for change in found["changed"]["t-words"]] == ["1"]
    said = call("compare", one, two).stdout
    assert "t-words: 2 samples that were judged in all runs.\n" in said


def test_sides_that_share_no_judged_sample_are_not_compared(tmp_path):
    one = kept(tmp_path, "a", {**PREDICTIONS, "1": "?", "2": "?"}, 1)
    two = kept(tmp_path, "b", {**PREDICTIONS, "3": "?", "4": "?"}, 1)
    assert "no sample was judged by t-words on both sides" in call("compare", one, two, status=2).stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"values": {"t-words": 3.0, "t-words-pooled": None}}, "has a value of a sample that it", id="value"
        ),
        pytest.param({"unjudged": {}}, "a sample has no value", id="untold"),
        pytest.param(
            {"unjudged": {"t-words": 3, "t-words-pooled": "x"}}, "the number 3 where a text belongs", id="reason"
        ),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, change, words):
    one = kept(tmp_path, "a", GAPS, 1)
    data = json.loads(one.read_text())
    data["samples"]["2"] |= change
    one.write_text(json.dumps(data))
    assert words in call("compare", one, one, status=2).stderr


def test_a_file_of_the_first_version_is_read(tmp_path):
    one = kept(tmp_path, "a", PREDICTIONS)
    one.write_text(one.read_text().replace('"version": 2', '"version": 1'))
    assert json.loads(call("compare", one, one, "--json").stdout)["columns"]["t-words"]["difference"] == 0


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(0.0029, "+0.0029", id="usual"),
        pytest.param(0.0001, "+0.0001", id="four-digits"),
        pytest.param(-0.000042, "-0.00004", id="five-digits"),
        pytest.param(0.0, "0.0000", id="nothing"),
        pytest.param(1e-15, "0.0000", id="rounding"),
    ],
)
def test_differences_are_written_in_one_way(value, wanted):
    assert _signed(value) == wanted
