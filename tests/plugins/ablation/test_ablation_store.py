from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from regionkit.core.contracts import Score
from regionkit.core.errors import DataError, RegionkitError, RunFailed
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.scores import check_score, coverage

RESULT = TrialResult(
    id="t1",
    data="box@mini",
    seed=0,
    config={"b": 1, "a": [2]},
    status="done",
    reason="",
    samples=(
        SampleRow("s1", "i1", "a dog"),
        SampleRow("s2", "i1", None, "the picture is damaged"),
        SampleRow("s3", "i2", ""),
    ),
    metrics=(MetricRow("noun-f1", 0.1 + 0.2, "sig", True, (0.5, 1 / 3)),),
    seconds={"decoder": 0.5},
)


def test_what_was_saved_is_there(tmp_path):
    with ResultStore(tmp_path / "new" / "results.sqlite") as store:
        store.save(RESULT)
    with ResultStore(tmp_path / "new" / "results.sqlite") as store:
        assert store.done() == {"t1"}
        assert store.trial("t1") == ("done", "", 3, 1)
        assert store.scores("t1") == {"noun-f1": (0.1 + 0.2, "sig", True)}
        assert store.sample_scores("t1", "noun-f1") == {"s1": ("i1", 0.5), "s3": ("i2", 1 / 3)}
        assert store.captions("t1") == list(RESULT.samples)


def test_a_failed_trial_is_tried_again_and_a_finished_one_kept():
    with ResultStore(None) as store:
        store.save(replace(RESULT, status="failed", reason="no luck", metrics=()))
        assert store.done() == set()
        store.save(RESULT)
        assert store.trial("t1") == ("done", "", 3, 1)
        store.save(replace(RESULT, metrics=(replace(RESULT.metrics[0], value=0.9),)))
        assert store.scores("t1")["noun-f1"][0] == 0.1 + 0.2


def test_a_trial_that_cannot_be_stored_whole_leaves_nothing():
    wrong = replace(RESULT, metrics=(*RESULT.metrics, MetricRow("bad", 1.0, "", True, (1.0,))))
    with ResultStore(None) as store:
        with pytest.raises(ValueError, match="zip"):
            store.save(wrong)
        assert store.trial("t1") is None
        assert store.captions("t1") == []
        store.save(RESULT)
        assert store.done() == {"t1"}


def test_two_runs_may_write_into_one_folder(tmp_path):
    with ResultStore(tmp_path / "r.sqlite") as one, ResultStore(tmp_path / "r.sqlite") as two:
        one.save(RESULT)
        two.save(replace(RESULT, id="t2"))
        two.save(RESULT)
        assert one.done() == two.done() == {"t1", "t2"}


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"this is no database, it is a text of some length" * 40)
    with pytest.raises(DataError, match="the results cannot be read") as error:
        ResultStore(path)
    assert str(path) in str(error.value)
    assert "--out" in str(error.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="no results can be written there"):
        ResultStore(tmp_path / "file" / "out" / "results.sqlite")


def test_a_full_disk_keeps_what_is_there(tmp_path):
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.save(RESULT)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count={pages}")
        many = tuple(SampleRow(f"s{n}", "i1", "a dog " * 50) for n in range(500))
        with pytest.raises(RunFailed, match="the result of trial t2 could not be written: database or disk is full"):
            store.save(replace(RESULT, id="t2", samples=many, metrics=()))
        assert store.done() == {"t1"}
        assert store.trial("t2") is None


def test_results_of_another_format_are_refused(tmp_path):
    path = tmp_path / "results.sqlite"
    ResultStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(DataError, match=r"another regionkit \(format 99, this one has 3\)"):
        ResultStore(path)


@pytest.mark.parametrize("fault", ["pages", "table"])
def test_a_database_that_is_damaged_inside_is_named(tmp_path, fault):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.save(RESULT)
    if fault == "pages":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("DROP TABLE trials")
    with ResultStore(path) as store:
        with pytest.raises(DataError, match="the results cannot be read") as error:
            store.done()
        assert str(path) in str(error.value)
        with pytest.raises(RegionkitError):
            store.save(RESULT)


def test_statistics_are_kept_once_and_samples_without_a_judgement_with_their_reasons():
    rows = np.array([[1.0, 2.0], [0.0, 0.0]])
    lost = {1: "the judge said nothing"}
    first = MetricRow("bleu-1", 0.5, "s", True, (0.5, float("nan")), rows, lost, "bleu", "1")
    second = replace(first, metric="bleu-2", part="2", statistics=rows.copy())
    with ResultStore(None) as store:
        store.save(replace(RESULT, metrics=(*RESULT.metrics, first, second)))
        for column in ("bleu-1", "bleu-2"):
            assert store.sample_scores("t1", column) == {"s1": ("i1", 0.5)}
            held = store.sample_statistics("t1", column)
            assert {name: (image, row.tolist()) for name, (image, row) in held.items()} == {
                "s1": ("i1", [1.0, 2.0]),
                "s3": ("i2", [0.0, 0.0]),
            }
        assert store._rows("SELECT COUNT(*) FROM sample_statistics") == [(2,)]
        assert store.makers("t1") == {"noun-f1": ("", ""), "bleu-1": ("bleu", "1"), "bleu-2": ("bleu", "2")}
        assert store.sample_statistics("t1", "noun-f1") == {}
        reasons = {"s3": "the judge said nothing"}
        assert store.unjudged("t1") == {"bleu-1": reasons, "bleu-2": reasons}


def test_a_metric_that_is_judged_again_takes_no_other_ones_statistics_along():
    rows = np.array([[1.0, 2.0], [0.0, 0.0]])
    lost = {1: "the judge said nothing"}
    first = MetricRow("clair", 0.5, "s", True, (0.5, float("nan")), rows, lost, "clair", "")
    other = replace(first, metric="other", component="other", statistics=rows.copy())
    again = replace(first, per_sample=(0.5, 0.25), statistics=np.array([[1.0, 2.0], [3.0, 4.0]]), unjudged={})
    with ResultStore(None) as store:
        store.save(replace(RESULT, metrics=(first, other)))
        store.judge_again(replace(RESULT, metrics=(again,)))
        held = {
            column: [row.tolist() for _, row in store.sample_statistics("t1", column).values()]
            for column in ("clair", "other")
        }
        assert held == {"clair": [[1.0, 2.0], [3.0, 4.0]], "other": rows.tolist()}
        assert store.unjudged("t1") == {"other": {"s3": "the judge said nothing"}}


@pytest.mark.parametrize(
    ("score", "words"),
    [
        pytest.param(Score(float("nan"), None, "s"), "not a finite number", id="value"),
        pytest.param(Score(0.5, (0.5, float("nan"), 1.0), "s"), "not a finite number", id="untold-gap"),
        pytest.param(Score(0.5, (0.5, 1.0), "s"), "gave 2 values for 3 samples", id="too-few"),
        pytest.param(Score(0.5, None, "s", statistics=np.ones((2, 2))), "gave 2 values for 3 samples", id="few-rows"),
        pytest.param(Score(0.5, (0.5,) * 3, "s", unjudged={1: "x"}), "which it says it could not judge", id="value-of"),
        pytest.param(Score(0.5, None, "s", unjudged={3: "x"}), "could not judge sample 3 of 3", id="beyond"),
        pytest.param(Score(0.0, None, "s", unjudged=dict.fromkeys(range(3), "busy")), "3 times: busy", id="none"),
        pytest.param(Score(0.5, None, "s", statistics=np.ones((3, 2)), unjudged={0: "x"}), "for sample 0", id="row-of"),
        pytest.param(Score(0.5, None, "s", statistics=np.full((3, 2), np.inf)), "not finite numbers", id="rows"),
    ],
)
def test_a_score_that_is_none_is_refused(score, words):
    with pytest.raises(RunFailed) as error:
        check_score("m", score, 3)
    assert words in str(error.value)


def test_a_score_with_gaps_is_one():
    rows = np.array([[1.0], [0.0], [1.0]])
    check_score("m", Score(0.5, (0.5, float("nan"), 0.5), "s", statistics=rows, unjudged={1: "x"}), 3)
    assert coverage(2, 3) == " (judged 2 of 3)"
    assert coverage(3, 3) == ""
