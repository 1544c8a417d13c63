import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from regionkit.core import archives
from regionkit.core.archives import is_archive, unpack
from regionkit.core.errors import DataError


def make_zip(path, files):
    """Write a zip; ``files`` is a list of names or infos with their content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def make_tar(path, files, mode="w"):
    """Write a tar; content that is a TarInfo's fields makes an entry of another kind."""
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def make(folder, kind, files):
    path = folder / f"in.{kind}"
    return make_zip(path, files) if kind == "zip" else make_tar(path, files, "w:gz" if kind == "tar.gz" else "w")


KINDS = [pytest.param(kind, id=kind) for kind in ("zip", "tar", "tar.gz")]


def refusal(path, tmp_path, **limits):
    """Unpack, and return the sentence of the refusal; nothing may have been written anywhere."""
    before = everything(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "out" / "bundle", **limits)
    assert {name for name in everything(tmp_path) - before if not name.endswith("/out")} == set()
    assert "nothing was unpacked" in caught.value.hints
    return caught.value.message


def everything(folder):
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_folders_come_out_as_they_went_in(tmp_path, kind):
    path = make(tmp_path, kind, [("a.txt", b"one"), ("sub/deep/b.bin", bytes(range(256)) * 100), ("./c", b"")])
    files = unpack(path, tmp_path / "out")
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["a.txt", "c", "sub/deep/b.bin"]
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"one"
    assert (tmp_path / "out" / "sub/deep/b.bin").read_bytes() == bytes(range(256)) * 100
    assert is_archive(path)


def test_what_is_executable_or_setuid_in_the_archive_is_a_plain_file_outside(tmp_path):
    path = make_tar(tmp_path / "in.tar", [("run", {"mode": 0o4777})])
    unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "run").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("../evil.txt", "'../evil.txt' leads out of the folder", id="parent"),
        pytest.param("a/../../evil.txt", "'a/../../evil.txt' leads out of the folder", id="parent inside"),
        pytest.param("/tmp/evil.txt", "'/tmp/evil.txt' is an absolute name", id="absolute"),
        pytest.param("C:/evil.txt", "'C:/evil.txt' is an absolute name", id="drive"),
        pytest.param("..\\evil.txt", "'..\\\\evil.txt' leads out of the folder", id="backslash"),
        pytest.param("a\nb", "'a\\nb' is no name of a file", id="control character"),
    ],
)
def test_an_entry_that_would_leave_the_folder_is_refused_by_name(tmp_path, kind, name, reason):
    path = make(tmp_path, kind, [("good.txt", b"x"), (name, b"evil")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: {reason}".replace("\\\\", "\\")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("escape")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = make_zip(tmp_path / "in.zip", [(link, "/etc"), ("escape/passwd", b"x")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'escape' is a link or a device"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"type": tarfile.SYMTYPE, "linkname": "/etc"}, id="link"),
        pytest.param({"type": tarfile.SYMTYPE, "linkname": "good.txt"}, id="link inside"),
        pytest.param({"type": tarfile.LNKTYPE, "linkname": "../../x"}, id="hard link"),
        pytest.param({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, id="device"),
        pytest.param({"type": tarfile.FIFOTYPE}, id="pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, entry):
    path = make_tar(tmp_path / "in.tar", [("good.txt", b"x"), ("escape", entry), ("escape/evil", b"y")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'escape' is a link or a device"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path, kind):
    path = make(tmp_path, kind, [("a.txt", b"1"), ("A.TXT", b"2")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'A.TXT' is there twice"
    path = make(tmp_path, kind, [("a.txt", b"1"), ("./a.txt", b"2")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'a.txt' is there twice"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_a_folder_too_is_refused(tmp_path, kind):
    path = make(tmp_path, kind, [("a", b"1"), ("a/b", b"2")])
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'a' is a file and a folder at once"


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_entries_are_refused(tmp_path, kind):
    path = make(tmp_path, kind, [(str(number), b"") for number in range(20)])
    assert refusal(path, tmp_path, max_entries=10) == f"{path}: the archive is refused: it has more than 10 entries"


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_larger_together_than_allowed_are_refused_while_they_are_written(tmp_path, kind):
    path = make(tmp_path, kind, [("a", os.urandom(600)), ("b", os.urandom(600))])
    message = refusal(path, tmp_path, max_bytes=1000)
    assert message == f"{path}: the archive is refused: its files have more than 1,000 bytes"
    assert len(unpack(path, tmp_path / "fits", max_bytes=1200)) == 2


@pytest.mark.parametrize("kind", [pytest.param("zip", id="zip"), pytest.param("tar.gz", id="tar.gz")])
def test_a_small_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_TRIFLE", 1 << 20)
    path = make(tmp_path, kind, [("zeros", bytes(30 << 20))])
    allowed = max(path.stat().st_size * 200, 1 << 20)
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: its files have more than {allowed:,} bytes"


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path):
    path = make_zip(tmp_path / "in.zip", [("a", b"x" * 5000)])
    data = path.read_bytes()
    assert data.count((5000).to_bytes(4, "little")) == 2
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    assert "it is damaged: Bad CRC-32 for file 'a'" in refusal(path, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_archive_is_refused(tmp_path, kind):
    path = make(tmp_path, kind, [("a", os.urandom(20_000)), ("b", os.urandom(20_000))])
    path.write_bytes(path.read_bytes()[:25_000])
    assert refusal(path, tmp_path).startswith(f"{path}: the archive is refused: it is damaged: ")


def test_an_encrypted_entry_is_refused(tmp_path):
    path = make_zip(tmp_path / "in.zip", [("a", b"x")])
    data = bytearray(path.read_bytes())
    data[6] |= 1  # flags of the entry
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the directory
    path.write_bytes(data)
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: 'a' is encrypted"


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "in.zip"
    path.write_text("hello")
    assert refusal(path, tmp_path).startswith(f"{path}: the archive is refused: it is damaged: ")


def test_a_folder_that_is_there_is_never_overwritten(tmp_path):
    path = make_zip(tmp_path / "in.zip", [("a", b"x")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path / 'out'} is there already\n  name another folder, or move it away"
    assert [file.name for file in Path(tmp_path / "out").iterdir()] == ["mine"]
    with pytest.raises(DataError, match="there is no archive"):
        unpack(tmp_path / "none.zip", tmp_path / "other")


def pax(name, content, kind=tarfile.XHDTYPE):
    """Return an extended header of a tar with any content, as tarfile itself would never write it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def written_tar(path, *parts):
    file = tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT)
    data = b"".join(parts) + file + bytes(1024)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def record(key, value):
    """Return one attribute as a header holds it: its own length, a blank, key and value."""
    rest = f" {key}={value}\n"
    length = len(rest) + 1
    while len(f"{length}{rest}") != length:
        length += 1
    return f"{length}{rest}".encode()


TARS = [pytest.param(kind, id=kind) for kind in ("tar", "tar.gz")]


@pytest.mark.parametrize("kind", TARS)
@pytest.mark.parametrize("member", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.slow
def test_a_tar_whose_headers_are_megabytes_is_refused_before_they_are_read(tmp_path, kind, member):
    path = written_tar(tmp_path / f"in.{kind}", pax("x", record("comment", "z" * (40 << 20)), member))
    tracemalloc.start()
    try:
        assert refusal(path, tmp_path) == f"{path}: the archive is refused: it has more than 16,384 bytes before a file"
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_of_headers_without_a_file_is_refused(tmp_path, kind):
    path = written_tar(tmp_path / f"in.{kind}", pax("x", record("comment", "z" * 400)) * 100)
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: it has more than 16,384 bytes before a file"


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_with_a_long_row_of_digits_before_a_file_is_refused(tmp_path, kind):
    path = written_tar(tmp_path / f"in.{kind}", pax("x", b"1" * 15_000))
    message = f"{path}: the archive is refused: it has a number of more than 200 digits before a file"
    assert refusal(path, tmp_path) == message


@pytest.mark.parametrize("kind", TARS)
def test_a_tar_with_many_attributes_for_all_its_files_is_refused(tmp_path, kind):
    common = b"".join(record(f"key{number}", "x") for number in range(100))
    path = written_tar(tmp_path / f"in.{kind}", pax("x", common, tarfile.XGLTYPE))
    message = f"{path}: the archive is refused: it has more than 64 attributes for all its files"
    assert refusal(path, tmp_path) == message


@pytest.mark.parametrize("kind", TARS)
def test_what_a_tar_unpacks_to_is_counted_beside_its_files_too(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_MAX_HEADERS", 8 << 10)
    monkeypatch.setattr(archives, "_TRIFLE", 1 << 10)
    monkeypatch.setattr(archives, "MAX_RATIO", 1)
    path = make_tar(tmp_path / f"in.{kind}", [(str(number), b"") for number in range(900)], f"w:{kind[4:]}")
    if kind == "tar":  # which is as large as what it holds
        assert len(unpack(path, tmp_path / "out")) == 900
        return
    allowed = path.stat().st_size + (8 << 10)
    assert refusal(path, tmp_path) == f"{path}: the archive is refused: it holds more than {allowed:,} bytes"


@pytest.mark.parametrize("kind", TARS)
def test_long_names_and_attributes_that_tars_do_have_are_read(tmp_path, kind):
    name = "/".join(["folder" * 10] * 8) + "/ü.txt"
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        path = tmp_path / f"in{number}.{kind}"
        with tarfile.open(path, f"w:{kind[4:]}", format=form, pax_headers={"comment": "c" * 100}) as archive:
            for entry in (name, "b.txt"):
                info = tarfile.TarInfo(entry)
                info.size = 1300
                archive.addfile(info, io.BytesIO(b"1" * 1300))
        files = unpack(path, tmp_path / f"out{number}")
        assert [file.relative_to(tmp_path / f"out{number}").as_posix() for file in files] == ["b.txt", name]
        assert all(file.read_bytes() == b"1" * 1300 for file in files)


@pytest.mark.parametrize("kind", TARS)
def test_the_table_of_a_tar_is_never_held_in_memory(tmp_path, monkeypatch, kind):
    path = make_tar(tmp_path / f"in.{kind}", [(str(number), b"x") for number in range(50)], f"w:{kind[4:]}")
    held = []

    class Watched(tarfile.TarFile):
        def next(self):
            held.append(len(self.members))
            return super().next()

    monkeypatch.setattr(tarfile, "TarFile", Watched)
    assert len(unpack(path, tmp_path / "out")) == 50
    assert len(held) > 50
    assert max(held) <= 1


def test_a_gzip_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "in.tar.gz"
    path.write_bytes(b"\x1f\x8b\x07" + bytes(100))
    assert refusal(path, tmp_path).startswith(f"{path}: the archive is refused: it is damaged: ")
