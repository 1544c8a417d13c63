"""Streams of records: what they read, and how they say where a file is broken."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from regionkit.core.data import streams
from regionkit.core.data.records import Entry, Fault
from regionkit.core.data.streams import json_lines, json_list, json_object, table, text_lines
from regionkit.core.errors import DataError, MissingExtra


@pytest.fixture
def write(tmp_path: Path):
    def written(content: bytes | str, name: str = "f.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


@pytest.fixture(params=[pytest.param(False, id="whole"), pytest.param(True, id="in-pieces")])
def pieces(request, monkeypatch) -> bool:
    if request.param:
        pytest.importorskip("ijson")
        monkeypatch.setattr(streams, "_WHOLE", 0)
    return request.param


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"a": 1}\n\n[2]\n', id="plain"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}\r\n \r\n[2]', id="mark-and-crlf"),
        pytest.param(b'\xef\xbb\xbf\n{"a": 1}\n[2]', id="mark-alone-on-a-line"),
        pytest.param(gzip.compress(b'{"a": 1}\n\n[2]\n'), id="gzip"),
    ],
)
def test_lines(write, content):
    path = write(content)
    first = 2 if content.startswith(b"\xef\xbb\xbf\n") else 1
    assert list(json_lines(path)) == [Entry(f"{path}:{first}", {"a": 1}), Entry(f"{path}:3", [2])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("{", "no JSON, at column 2: Expecting property name enclosed in double quotes", id="broken"),
        pytest.param("[" * 200_000, "brackets are nested too deeply to be read", id="deep"),
        pytest.param("9" * 5000, "it holds a number of too many digits", id="huge-number"),
        pytest.param('{"a": NaN}', "NaN is no number that JSON has", id="nan"),
        pytest.param('{"a": -Infinity}', "-Infinity is no number that JSON has", id="infinity"),
        pytest.param(
            '{"b": {"a": 1, "a": 2}}',
            "the key 'a' stands twice in one object, so what it means is not known",
            id="twice",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_others_are_read(write, line, reason):
    path = write(f"1\n{line}\n2\n")
    assert list(json_lines(path)) == [Entry(f"{path}:1", 1), Fault(f"{path}:2", reason), Entry(f"{path}:3", 2)]


def test_a_huge_exponent_is_infinity_which_regions_refuse(write):
    (entry,) = json_lines(write("1e999"))
    assert entry.value == float("inf")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(gzip.compress(b"1\n" * 9)[:-12], "cut off after line", id="truncated-gzip"),
        pytest.param(
            gzip.compress(b"1\n2\n")[:-8] + bytes(8), "gzip file is damaged after line [01]", id="damaged-gzip"
        ),
        pytest.param(b'"a"\n"\xe9"\n', ":2: byte 2 of this line is not UTF-8", id="latin1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(write, content, message):
    with pytest.raises(DataError, match=message):
        list(json_lines(write(content)))


def test_an_endless_line_is_refused(write, monkeypatch):
    monkeypatch.setattr(streams, "_LONGEST_LINE", 1 << 20)
    path = write(gzip.compress(b"1\n" + b" " * (1 << 22)))
    with pytest.raises(DataError, match=r":2: this line is longer than 1 MiB"):
        list(text_lines(path))


def test_a_long_line_is_read(write):
    text = "x" * (1 << 22)
    assert [entry.value for entry in json_lines(write(json.dumps(text) + "\n1"))] == [text, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "No such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="folder"),
        pytest.param(lambda path: os.mkfifo(path), "a pipe or a device", id="pipe"),
    ],
)
def test_what_is_no_file(tmp_path, make, message):
    make(tmp_path / "f")
    with pytest.raises(DataError, match=message):
        list(json_lines(tmp_path / "f"))


LISTS = [
    pytest.param('[{"a": 1.5}, 2]', "", ["record 1", "record 2"], id="list"),
    pytest.param('{"x": [0], "images": [{"a": 1.5}, 2], "y": 1}', "images", ["images[0]", "images[1]"], id="key"),
    pytest.param('\ufeff[{"a": 1.5}, 2]', "", ["record 1", "record 2"], id="mark"),
]


@pytest.mark.parametrize("packed", [pytest.param(False, id="plain"), pytest.param(True, id="gzip")])
@pytest.mark.parametrize(("content", "key", "places"), LISTS)
def test_lists(write, pieces, content, key, places, packed):
    path = write(gzip.compress(content.encode()) if packed else content, "f.json")
    entries = list(json_list(path, key))
    assert [entry.value for entry in entries] == [{"a": 1.5}, 2]
    assert [entry.place for entry in entries] == [f"{path}: {place}" for place in places]


def test_an_empty_list_has_no_records(write, pieces):
    assert list(json_list(write('{"images": []}'), "images")) == []


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        pytest.param('{"pictures": []}', "images", "there is no list 'images' in it", id="other-key"),
        pytest.param('{"images": {}}', "images", "there is no list 'images' in it", id="no-list"),
        pytest.param("{}", "", "a JSON list is expected", id="object"),
        pytest.param('{"images": [1, 2', "images", "JSON", id="cut-off"),
        pytest.param('{"images": [{"a": 1, "a": 2}]}', "images", "'a' stands twice in one object", id="twice"),
        pytest.param('{"images": [NaN]}', "images", "JSON", id="nan"),
    ],
)
def test_what_is_no_list(write, pieces, content, key, message):
    with pytest.raises(DataError, match=message):
        list(json_list(write(content), key))


def test_a_large_document_that_is_cut_off_gives_what_comes_before(write, monkeypatch):
    pytest.importorskip("ijson")
    monkeypatch.setattr(streams, "_WHOLE", 0)
    path = write(gzip.compress(json.dumps({"images": list(range(50_000))}).encode())[:-30])
    found = []
    with pytest.raises(DataError, match=r"the gzip file is cut off after record \d+"):
        found.extend(entry.value for entry in json_list(path, "images"))


def test_a_large_document_needs_a_package(write, monkeypatch):
    monkeypatch.setattr(streams, "_WHOLE", 0)
    monkeypatch.setitem(__import__("sys").modules, "ijson", None)
    with pytest.raises(MissingExtra, match="needs the package 'ijson'"):
        list(json_list(write("[1]")))


def test_objects(write):
    path = write('{"b": 1, "a": [2]}')
    assert list(json_object(path)) == [("b", Entry(f"{path}: 'b'", 1)), ("a", Entry(f"{path}: 'a'", [2]))]
    with pytest.raises(DataError, match="a JSON object is expected"):
        list(json_object(write("[1]")))


def test_tables(write):
    path = write('ID,Title\r\n1,"a, b"\n2\n3,\n')
    assert list(table(path)) == [
        Entry(f"{path}:2", {"ID": "1", "Title": "a, b"}),
        Fault(f"{path}:3", "1 columns, 2 are expected"),
        Entry(f"{path}:4", {"ID": "3", "Title": ""}),
    ]
    path = write('a "quoted dog\thttp://x\n')
    assert list(table(path, ("caption", "url"), "\t")) == [
        Entry(f"{path}:1", {"caption": 'a "quoted dog', "url": "http://x"})
    ]


def test_a_cell_that_is_too_long_is_a_fault(write):
    first, second = table(write(f"ID\n{'x' * 200_000}\n1\n"))
    assert "field larger than field limit" in first.reason
    assert second.value == {"ID": "1"}


def test_two_columns_of_one_name_are_refused(write):
    with pytest.raises(DataError, match="two columns are called 'ID'"):
        list(table(write("ID,ID\n1,2\n")))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        pytest.param(' {"a": 1}', {"a": 1}, id="blank-before"),
        pytest.param('{"a": 1} \t', {"a": 1}, id="blank-behind"),
        pytest.param("7", 7, id="number"),
        pytest.param('{"a": 1} {}', "no JSON, at column 10: Extra data", id="two-values"),
        pytest.param("dog", "no JSON, at column 1: Expecting value", id="word"),
        pytest.param('{"a": dog}', "no JSON, at column 7: Expecting value", id="word-inside"),
        pytest.param('{"a": 1, "a": 2}', "the key 'a' stands twice in one object", id="twice"),
        pytest.param("[NaN]", "NaN is no number that JSON has", id="nan"),
    ],
)
def test_values_of_lines(write, line, read):
    path = write(f"{line}\n")
    (one,) = json_lines(path)
    if isinstance(read, str):
        assert isinstance(one, Fault)
        assert one.reason.startswith(read)
    else:
        assert one == Entry(f"{path}:1", read)
