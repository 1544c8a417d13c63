"""What a folder of results says to those who only read it."""

from __future__ import annotations

import os

import pytest

from regionkit.core import results
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.results import DATABASE, MetricRow, ResultStore, SampleRow, TrialResult, TrialRow


def trial(name, *, data="box@x", seed=0, status="done", caption="a dog"):
    rows = (SampleRow("s", "i", caption),)
    metrics = (MetricRow("m", 0.5, "m|n=1", True, (0.5,)),) if status == "done" else ()
    return TrialResult(name, data, seed, {}, status, "" if status == "done" else "bad \ud800", rows, metrics, {})


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "a#b %20?" / DATABASE
    with ResultStore(found) as store:
        store.save(trial("t2", seed=1))
        store.save(trial("t1", seed=1, status="failed"))
        store.save(trial("t3"))
        store.save(trial("t0", data="point@x"))
    return found


def names(path):
    return sorted(one.name for one in path.parent.iterdir())


def unwritable(monkeypatch):
    """Say that nothing can be written, as a disk that is mounted read-only does; root may write anywhere else."""
    monkeypatch.setattr(results.os, "access", lambda path, mode: mode != os.W_OK)


TRIALS = [
    TrialRow("t3", "box@x", 0, "done"),
    TrialRow("t1", "box@x", 1, "failed"),
    TrialRow("t2", "box@x", 1, "done"),
    TrialRow("t0", "point@x", 0, "done"),
]


def test_trials_are_listed_by_data_and_seed(path):
    with ResultStore(path) as store:
        assert store.trials() == TRIALS
        assert store.done() == {"t0", "t2", "t3"}


def test_reading_leaves_no_file_behind(path):
    content = path.read_bytes()
    with ResultStore(path, read_only=True) as store:
        assert store.trials() == TRIALS
        with pytest.raises(RunFailed, match="the result of trial t9 could not be written: attempt to write a readonly"):
            store.save(trial("t9"))
    assert names(path) == [DATABASE]
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_read(path, monkeypatch):
    unwritable(monkeypatch)
    with ResultStore(path, read_only=True) as store:
        assert store.trials() == TRIALS
        assert names(path) == [DATABASE]  # a reader of a log would have made files beside it


def test_a_reader_sees_what_a_run_has_written_so_far(path):
    with ResultStore(path) as running:
        running.save(trial("t9"))
        with ResultStore(path, read_only=True) as store:
            assert "t9" in store.done()
        running.save(trial("t10"))
    with ResultStore(path, read_only=True) as store:
        assert {"t9", "t10"} <= store.done()


def test_reading_makes_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=f"{DATABASE}: the results cannot be read: unable to open database file"):
            ResultStore(folder / DATABASE, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_nobody_can_read_is_told(path, monkeypatch):
    unwritable(monkeypatch)
    path.write_text("no database" * 100)
    with pytest.raises(DataError) as caught:
        ResultStore(path, read_only=True)
    assert caught.value.hints == (
        "move the file away, or choose another folder with --out",
        f"what can be saved of it: sqlite3 '{path}' .recover | sqlite3 mended.sqlite",
    )
    path.with_name(f"{DATABASE}-wal").write_text("log")
    with pytest.raises(DataError) as caught:
        ResultStore(path, read_only=True)
    assert caught.value.hints == (
        "the run was stopped there: copy its whole folder to a place that can be written to, and read that",
    )


def test_lone_surrogates_are_stored_as_escapes(path):
    with ResultStore(path) as store:
        store.save(trial("t9", caption="a \udfff dog"))
        assert store.captions("t9") == [SampleRow("s", "i", "a \\udfff dog")]
        assert store.trial("t1")[1] == "bad \\ud800"
