"""``toolkit cache``."""

from __future__ import annotations

import json
import os
import time

import pytest
import torch
from click.testing import CliRunner

from regionkit.plugins.ablation.cache import upkeep
from regionkit.plugins.ablation.cache.entries import place_of, walk
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.cache_command import cache as group
from regionkit.registry.cli import main

MADE = [
    ("backbone", "clip", "float32", 2),
    ("backbone", "mini-dense", "float16", 1),
    ("bridge", "memory", "float32", 3),
    ("metrics", "cider-d", "float32", 1),
]


def key(number):
    return f"{number:02x}" * 16


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def filled(home):
    number = 0
    for stage, component, precision, count in MADE:
        cache = StageCache(home / "stages", precision=precision, limit=3 << 20)
        for _ in range(count):
            about = {"stage": stage, "component": component, "seconds": 2.5}
            cache.put(key(number), {"x": torch.ones(1000)}, about)
            number += 1
    return home / "stages"


def call(*words, status=0, answer=None, monkeypatch=None):
    found = CliRunner().invoke(group, [str(word) for word in words], input=answer)
    if isinstance(found.exception, Exception) and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == status, found.output
    return found


def told(capsys, *words):
    """Run the whole program, which turns errors into sentences."""
    with pytest.raises(SystemExit) as ended:
        main(["cache", *words])
    return ended.value.code, capsys.readouterr()


def left(folder):
    return {key for key in range(7) if any(one.key == f"{key:02x}" * 16 for one in walk(folder)[0])}


# --- list


def test_list_by_stage_and_component(filled):
    lines = call("list").stdout.splitlines()
    rows = [line.split() for line in lines[:5]]
    assert rows[0] == ["STAGE", "COMPONENT", "PRECISION", "ENTRIES", "SIZE", "MADE", "IN", "LAST", "USED"]
    sizes = {precision: f"{size / 1024:.1f}" for precision, size in (("float32", 4328), ("float16", 2328))}
    assert [(*row[:4], row[5], row[6], row[7]) for row in rows[1:]] == [
        (stage, component, precision, str(count), "KiB", f"{2.5 * count:,.0f}", "s")
        for stage, component, precision, count in MADE
    ]
    assert {row[2]: row[4] for row in rows[1:] if row[3] == "1"}.keys() == sizes.keys()
    assert {row[8] for row in rows[1:]} <= {time.strftime("%Y-%m-%d", time.localtime(time.time() - s)) for s in (0, 60)}
    assert lines[6].startswith(f"{filled}: 7 entries, ")
    assert lines[6].endswith(" KiB of at most 3.0 MiB")
    assert len(lines) == 7


def test_list_as_json(filled):
    found = json.loads(call("list", "--json").stdout)
    assert list(found) == ["folder", "limit", "entries", "bytes", "stages", "others"]
    assert (found["folder"], found["limit"], found["entries"]) == (str(filled), 3 << 20, 7)
    assert found["bytes"] == sum(one.size for one in walk(filled)[0]) == sum(row["bytes"] for row in found["stages"])
    assert [(row["stage"], row["component"], row["precision"], row["entries"]) for row in found["stages"]] == MADE
    assert found["stages"][2]["seconds"] == 7.5
    assert found["others"] == []


def test_list_what_else_the_toolkit_keeps(filled):
    for name, size in (
        ("banks/a.safetensors", 3000),
        ("judges/x.jsonl", 10),
        ("judges/deep/y", 5),
        ("odd", 7),
        ("stage-costs.json", 4),
    ):
        path = filled.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (filled.parent / "loop").symlink_to(filled.parent)
    found = json.loads(call("list", "--json").stdout)["others"]
    assert [(one["name"], one["files"], one["bytes"]) for one in found] == [
        ("banks", 1, 3000),
        ("judges", 2, 15),
        ("loop", 0, 0),
        ("odd", 1, 7),
        ("stage-costs.json", 1, 4),
    ]
    text = call("list").stdout
    assert f"Also in {filled.parent}, and left alone by clear:" in text
    assert [line.split()[:4] for line in text.splitlines()[-5:-3]] == [
        ["banks", "2.9", "KiB", "1"],
        ["judges", "15", "B", "2"],
    ]
    assert text.splitlines()[-2].split() == ["odd", "7", "B", "1", "not", "known"]
    assert text.splitlines()[-1].endswith("what stages cost here, for the estimates of --plan")


def test_an_empty_cache(home):
    assert call("list").stdout == f"{home / 'stages'}: 0 entries, 0 B of at most 20.0 GiB\n"
    assert call("verify").stdout == f"{home / 'stages'}: 0 entries, 0 B, read\n"
    assert call("clear", "--all").stdout == f"{home / 'stages'}: nothing to remove, of 0 entries\n"
    assert list(home.iterdir()) == []


def test_heads_that_cannot_be_read_are_listed_and_no_text_of_theirs_is_printed(filled):
    place_of(filled, key(0), "float32").write_bytes(b"nothing")
    StageCache(filled).put(key(1), {}, {"stage": "\x1b[31mred", "component": ["a"], "seconds": float("nan")})
    found = call("list").stdout
    assert ["?", "?", "float32", "2"] in [line.split()[:4] for line in found.splitlines()]
    assert "\x1b" not in found
    assert found.splitlines()[-1] == (
        "the beginning of some entries cannot be read; remove what is damaged: toolkit cache verify"
    )


def test_a_time_to_come_counts_as_now(filled):
    for one in walk(filled)[0]:
        os.utime(one.path, (2e10, 2e10))
    found = json.loads(call("list", "--json").stdout)
    assert max(row["last_used"] for row in found["stages"]) < "2200"


def test_a_folder_that_cannot_be_listed(home, monkeypatch, capsys):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(upkeep, "walk", refused)
    status, said = told(capsys, "list")
    assert status == 2
    assert said.err.splitlines() == [
        f"error: {home / 'stages'}: the cache cannot be listed: Permission denied",
        "  keep it elsewhere: export REGIONKIT_CACHE=DIR",
    ]


# --- verify


def test_verify_names_and_removes_what_is_damaged(filled):
    cut, changed = place_of(filled, key(0), "float32"), place_of(filled, key(2), "float16")
    cut.write_bytes(cut.read_bytes()[:50])
    changed.write_bytes(changed.read_bytes()[:-1] + b"\xff")
    found = call("verify", status=1)
    assert found.stderr.splitlines() == [f"{cut}: damaged (cut off)", f"{changed}: damaged (checksum)"]
    assert found.stdout.endswith(", read: 2 cannot be used\n")
    assert left(filled) == {1, 3, 4, 5, 6}
    assert call("verify").stdout.endswith(", read: all are whole\n")


def test_verify_as_json(filled, monkeypatch):
    path = place_of(filled, key(5), "float32")
    path.write_bytes(b"")
    monkeypatch.setattr(upkeep, "failed_to_remove", lambda held: "Read-only file system")
    found = json.loads(call("verify", "--json", status=1).stdout)
    fault = {"key": key(5), "file": str(path), "reason": "cut off", "damaged": True, "removed": False}
    assert (found["entries"], found["faults"], found["unfinished"]) == (7, [fault], 0)
    assert call("verify", status=1).stderr == f"{path}: damaged (cut off), and cannot be removed\n"


def test_verify_leaves_what_it_may_not_read(filled, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(upkeep, "read_entry", refused)
    found = call("verify", status=1)
    assert found.stderr.count("cannot be read: Permission denied") == 7
    assert left(filled) == set(range(7))


def test_verify_passes_over_what_goes_meanwhile(filled, monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(upkeep, "read_entry", gone)
    call("verify")


def test_verify_removes_what_nobody_finishes(filled):
    part = filled / "ab" / f".{'ab' * 16}.{'0' * 8}.1.0.99.part"
    part.parent.mkdir()
    part.write_bytes(b"x")
    os.utime(part, (1e9, 1e9))
    assert "1 unfinished files of processes that have ended were removed" in call("verify").stdout
    assert not part.exists()


# --- clear


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        pytest.param(["--stage", "backbone"], {3, 4, 5, 6}, id="stage"),
        pytest.param(["--component", "memory"], {0, 1, 2, 6}, id="component"),
        pytest.param(["--stage", "backbone", "--component", "clip"], {2, 3, 4, 5, 6}, id="both"),
        pytest.param(["--stage", "backbone", "--component", "memory"], set(range(7)), id="neither"),
        pytest.param(["--stage", "metrics"], {0, 1, 2, 3, 4, 5}, id="no-kind"),
        pytest.param(["--stage", "decoder"], set(range(7)), id="none-of-that-stage"),
        pytest.param(["--component", "decap"], set(range(7)), id="none-of-that-component"),
        pytest.param(["--older-than", "1d"], set(range(4, 7)), id="age"),
        pytest.param(["--older-than", "1d", "--stage", "bridge"], {0, 1, 2, 4, 5, 6}, id="age-and-stage"),
        pytest.param(["--all"], set(), id="all"),
    ],
)
def test_clear_removes_what_was_meant(filled, words, kept):
    for number in range(4):
        place = place_of(filled, key(number), "float16" if number == 2 else "float32")
        os.utime(place, (time.time() - 90_000,) * 2)
    foreign = [filled / "ab" / "notes.txt", filled.parent / "banks" / "a.safetensors", filled / "README"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    said = call("clear", *words, "--yes").stdout
    assert left(filled) == kept
    assert all(path.read_text() == "mine" for path in foreign)
    if len(kept) == 7:
        assert said == f"{filled}: nothing to remove, of 7 entries\n"
    else:
        gone = 7 - len(kept)
        assert said.splitlines()[0].startswith("STAGE")
        assert said.splitlines()[-1].startswith(f"{filled}: {gone} entr{'y' if gone == 1 else 'ies'}, ")
        assert said.endswith("KiB, removed\n")


def test_clear_asks_on_a_terminal(filled, monkeypatch):
    monkeypatch.setattr("regionkit.plugins.ablation.cache_command._on_a_terminal", lambda: True)
    found = call("clear", "--stage", "bridge", answer="n\n")
    assert found.stderr.startswith("remove 3 entries, 12.")
    assert left(filled) == set(range(7))
    call("clear", "--stage", "bridge", answer="y\n")
    assert left(filled) == {0, 1, 2, 6}


def test_clear_asks_nobody_where_there_is_nobody(filled, capsys, monkeypatch):
    monkeypatch.setattr("regionkit.plugins.ablation.cache_command._on_a_terminal", lambda: False)
    status, said = told(capsys, "clear", "--stage", "metrics")
    assert status == 1
    assert said.err.startswith("error: nothing was removed: 1 entry, ")
    assert said.err.endswith(" KiB, would be, and nobody can be asked\n  add --yes\n")
    assert said.out.startswith("STAGE")
    assert left(filled) == set(range(7))


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        pytest.param(
            ["--stage", "bakbone"],
            [
                "error: no stage is called 'bakbone'",
                "  did you mean: backbone",
                "  the cache has entries of: backbone, bridge, metrics",
            ],
            id="stage",
        ),
        pytest.param(
            ["--component", "memroy"],
            [
                "error: no component is called 'memroy'",
                "  did you mean: memory",
                "  the cache has entries of: cider-d, clip, memory, mini-dense",
            ],
            id="component",
        ),
    ],
)
def test_names_that_nothing_has(filled, capsys, words, lines):
    status, said = told(capsys, "clear", *words, "--yes")
    assert (status, said.err.splitlines()) == (2, lines)
    assert left(filled) == set(range(7))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            [], "say what is to be removed: --stage NAME, --component NAME, --older-than 30d, or --all", id="no"
        ),
        pytest.param(["--yes"], "say what is to be removed: --stage NAME, --component NAME, --older", id="yes-alone"),
        pytest.param(["--all", "--stage", "bridge"], "--all means every entry: leave out the other choices", id="both"),
        pytest.param(["--older-than", "soon"], "'soon' is no stretch of time: write 12h, 30d or 2w", id="time"),
    ],
)
def test_clear_wants_to_know_what(filled, words, sentence):
    assert sentence in call("clear", *words, status=2).stderr
    assert left(filled) == set(range(7))


def test_clear_says_what_could_not_be_removed(filled, capsys, monkeypatch):
    monkeypatch.setattr(upkeep, "failed_to_remove", lambda held: "Read-only file system")
    status, said = told(capsys, "clear", "--all", "--yes")
    assert status == 1
    assert said.err == "error: 7 entries could not be removed\n  7 times: Read-only file system\n"
    assert said.out.endswith(": 0 entries, 0 B, removed\n")


def test_a_run_goes_on_after_clear(filled):
    cache = StageCache(filled)
    assert cache.get(key(0)) is not None
    call("clear", "--all", "--yes")
    assert cache.get(key(0)) is None
    cache.put(key(0), {"x": torch.ones(3)}, {})
    assert cache.get(key(0)) is not None
    assert (cache.stats.damaged, cache.stats.off) == ([], "")
