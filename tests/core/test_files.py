"""Files are either whole or not there."""

from __future__ import annotations

import os

import pytest

from regionkit.core.files import replacing, write_text


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
