"""Files are either whole or not there."""

from __future__ import annotations

import hashlib
import os

import pytest

from regionkit.core.files import is_free, replacing, replacing_folder, sha256_of, write_text


def test_a_folder_is_made_and_the_file_has_the_usual_permissions(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "é")
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()
    assert os.stat(tmp_path / "new" / "a.txt").st_mode == os.stat(tmp_path / "plain").st_mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half of the n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_takes_its_name_with_all_that_is_in_it_and_the_usual_permissions(tmp_path):
    (tmp_path / "plain").mkdir()
    with replacing_folder(tmp_path / "new" / "a") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "x.txt").write_text("x")
        assert not (tmp_path / "new" / "a").exists()
    assert (tmp_path / "new" / "a" / "inner" / "x.txt").read_text() == "x"
    assert os.stat(tmp_path / "new" / "a").st_mode == os.stat(tmp_path / "plain").st_mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_everything_in_a_folder_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        path = os.readlink(f"/proc/self/fd/{handle}") if os.path.isdir("/proc/self/fd") else ""
        synced.append((os.path.basename(path), (tmp_path / "a").exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing_folder(tmp_path / "a") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "x.txt").write_text("x")
    assert [there for _, there in synced] == [False, False, False, True]
    if synced[0][0]:
        assert {name for name, _ in synced[:2]} == {"inner", "x.txt"}


def test_a_failure_leaves_no_folder(tmp_path):
    def fail():
        with replacing_folder(tmp_path / "a") as folder:
            (folder / "x.txt").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_filled_in_the_meantime_is_left_alone(tmp_path):
    def late():
        with replacing_folder(tmp_path / "a") as folder:
            (folder / "mine.txt").write_text("x")
            write_text(tmp_path / "a" / "theirs.txt", "y")

    with pytest.raises(OSError, match="not empty"):
        late()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["a/theirs.txt"]


def test_what_is_free_for_a_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    write_text(tmp_path / "full" / "x.txt", "")
    assert [name for name in ("new", "empty", "file", "link", "full") if is_free(tmp_path / name)] == ["new", "empty"]


def test_the_hash_of_a_file_is_that_of_its_present_content(tmp_path):
    path = tmp_path / "x"
    for content in (b"one", b"two"):  # of one size
        write_text(path, content.decode())
        assert sha256_of(path) == hashlib.sha256(content).hexdigest()
        assert sha256_of(path) == hashlib.sha256(content).hexdigest()
