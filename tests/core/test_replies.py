"""Replies on disk: whole lines, whoever else writes, and whatever kills the writer."""

import json
import multiprocessing
import os

import pytest

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.replies import ReplyFile, read_replies


def test_a_line_is_a_record(tmp_path):
    path = tmp_path / "deep" / "kept.jsonl"
    kept = ReplyFile(path)
    kept.add("k", {"prompt": "a\nb \u2028"}, "c\n\ud800", 2, "toy")
    assert json.loads(path.read_text()) == {
        "key": "k",
        "model": "toy",
        "attempt": 2,
        "question": {"prompt": "a\nb \u2028"},
        "reply": "c\n\ud800",
    }
    again = ReplyFile(path)
    assert (kept.get("k"), again.get("k"), again.get("other"), len(again)) == ("c\n\ud800", "c\n\ud800", None, 1)


def test_the_last_of_equal_keys_counts(tmp_path):
    kept = ReplyFile(tmp_path / "kept.jsonl")
    kept.add("k", {}, "old")
    kept.add("k", {}, "new")
    assert ReplyFile(kept.path).get("k") == "new"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(tmp_path, cut):
    path = tmp_path / "kept.jsonl"
    ReplyFile(path).add("a", {}, "1")
    ReplyFile(path).add("b", {}, "2")
    first = path.read_bytes().split(b"\n")[0]
    path.write_bytes(path.read_bytes()[: len(first) + 1 + cut])
    torn = ReplyFile(path)
    assert (torn.get("a"), torn.get("b")) == ("1", None)
    torn.add("c", {}, "3")
    assert {record["key"] for record in read_replies(path)} == {"a", "c"}


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_file_of_nothing_but_a_torn_line(tmp_path, cut):
    path = tmp_path / "kept.jsonl"
    ReplyFile(path).add("a", {}, "1")
    path.write_bytes(path.read_bytes()[:cut])
    kept = ReplyFile(path)
    kept.add("b", {}, "2")
    assert len(ReplyFile(path)) == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"key": "x"}',
        b'{"key": "x", "model": "m", "attempt": 0, "question": {}, "reply": 7}',
        b'{"key": "x", "reply": ' + b"[" * 100_000,
        b"\x00" * 50,
        b"\xff\xfe",
        b"[1]",
    ],
)
def test_damaged_lines_are_passed_over(tmp_path, line):
    path = tmp_path / "kept.jsonl"
    ReplyFile(path).add("a", {}, "1")
    with path.open("ab") as stream:
        stream.write(line + b"\n")
    assert [record["key"] for record in read_replies(path)] == ["a"]


def test_nothing_is_added_to_another_kind_of_file(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text('{"1": "a dog"}')
    with pytest.raises(DataError, match="this is no file of kept replies, and nothing is added to it"):
        ReplyFile(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="kept replies cannot be read: Is a directory"):
        ReplyFile(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    kept = ReplyFile(tmp_path / "kept.jsonl")
    kept.path = tmp_path / "file" / "kept.jsonl"
    with pytest.raises(RunFailed, match=r"replies cannot be kept: (File exists|Not a directory)") as caught:
        kept.add("a", {}, "1")
    assert caught.value.hints == ("make room there, or keep them elsewhere: export REGIONKIT_CACHE=DIR",)


def test_a_line_that_is_written_in_part_is_told(tmp_path, monkeypatch):
    path = tmp_path / "kept.jsonl"
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("regionkit.core.replies.os.write", lambda handle, content: write(handle, content[:30]))
        with pytest.raises(RunFailed, match="No space left on device"):
            ReplyFile(path).add("a", {}, "1")
    ReplyFile(path).add("b", {}, "2")
    assert [record["key"] for record in read_replies(path)] == ["b"]


def _fill(path, name):
    kept = ReplyFile(path)
    for number in range(200):
        kept.add(f"{name}-{number}", {"prompt": "x" * 5_000}, name)


def test_several_processes_write_one_file(tmp_path):
    path = tmp_path / "kept.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_fill, args=(path, name)) for name in "abc"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert len([line for line in path.read_text().splitlines() if line]) == 600  # blank lines may stand between
    assert len(ReplyFile(path)) == 600
