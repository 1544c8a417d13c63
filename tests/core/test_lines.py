"""Lines of a file by number: whatever is in them, wherever they begin, and who writes them first."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regionkit.core.data.lines as module
from regionkit.core.data.lines import Lines, spooled
from regionkit.core.errors import DataError, RegionkitError

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=300), before=st.binary(max_size=9), chunk=st.integers(1, 50))
def test_lines_are_found_by_number(texts: list[str], before: bytes, chunk: int, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("lines") / "a"
    content = "\n".join(texts).encode()
    path.write_bytes(before + content + b"\nbehind it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        lines = Lines(path, len(before), len(content))
    expected = texts if texts[-1] or (len(texts) == 1 and not content) else texts[:-1]
    expected = expected if content else []
    assert list(lines) == expected
    assert [lines[place] for place in range(len(lines))] == expected
    assert lines[-1:] == expected[-1:]
    between = Lines(path, len(before), len(content), ended=False)
    assert list(between) == texts
    assert between[len(texts) - 1] == texts[-1]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 127, 128, 129, 1000])
def test_a_file_of_lines_has_as_many(count: int, tmp_path: Path) -> None:
    lines = spooled(tmp_path / "deep" / "texts", (f" line \t{number} " for number in range(count)))
    assert len(lines) == count
    assert lines[count - 1] == f"line {count - 1}"
    with pytest.raises(IndexError):
        lines[count]


def test_sentences_are_written_once(tmp_path: Path) -> None:
    first = spooled(tmp_path / "texts", ["a", "b"])
    again = spooled(tmp_path / "texts", iter(["c"]))  # the run goes on with what it began with
    assert list(first) == list(again) == ["a", "b"]


def test_what_was_stopped_in_the_middle_begins_anew(tmp_path: Path) -> None:
    def stopped():
        yield "a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spooled(tmp_path / "texts", stopped())
    assert not (tmp_path / "texts").exists()
    assert list(spooled(tmp_path / "texts", ["x", "y"])) == ["x", "y"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".texts.lock", "texts"]


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    with pytest.raises(RegionkitError, match=r"texts: the sentences could not be written: .*\n  make room"):
        spooled(tmp_path / "in-the-way" / "texts", ["a"])


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    lines = spooled(tmp_path / "texts", [f"line {number}" for number in range(200)])
    os.truncate(tmp_path / "texts", 900)
    with pytest.raises(DataError, match="the file was changed while it was read"):
        lines[199]
    with pytest.raises(DataError, match=r"none: cannot be read: No such file"):
        Lines(tmp_path / "none")


def test_writers_that_come_at_once_agree(tmp_path: Path) -> None:
    def write(word: str) -> Lines:
        return spooled(tmp_path / "texts", (f"{word} {number}" for number in range(20_000)))

    with ThreadPoolExecutor(2) as pool:  # a lock of a file keeps threads apart as it does processes
        first, second = pool.map(write, "ab")
    assert len(first) == 20_000
    assert list(first) == list(second)
    assert len({line.split()[0] for line in first}) == 1
