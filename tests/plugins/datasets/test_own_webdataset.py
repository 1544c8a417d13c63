"""Tar files of pictures and captions: read by where things stand, and refused where they lead elsewhere."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.errors import ConfigError, DataError, ImageError
from regionkit.plugins.datasets.own import tars
from regionkit.registry.assembly import build


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    (tmp_path / "shards").mkdir()
    return tmp_path


def picture(shade: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(stream, kind)
    return stream.getvalue()


def said(caption: object, **other: object) -> bytes:
    return json.dumps({"caption": caption, **other}).encode()


def shard(name: str, *files: tuple[str, bytes], **options: object) -> Path:
    path = Path("shards") / name
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for file, content in files:
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def data(**options: object):
    return build("dataset", {"name": "webdataset", "shards": "shards/*.tar", **options})


GOOD = (("000000001.jpg", picture(9, "JPEG")), ("000000001.json", said(" a  dog\n", url="http://x", sha256="f")))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_pictures_and_captions(form):
    long = "deep/" * 40 + "two.b.png"
    shard("00001.tar", *GOOD, ("000000002.txt", b"a cat\n"), ("000000002.png", picture(200)), format=form)
    shard("00000.tar", (long if form != tarfile.USTAR_FORMAT else "two.b.png", picture(7)), ("0.png", picture(77)),
          ("0.json", said("a bus")), format=form)  # fmt: skip
    found = data(keep=["url"])
    samples = found.samples("image", "train")
    assert [(one.id, one.references) for one in samples] == [
        ("00000.tar/0", ("a bus",)),
        ("00001.tar/000000001", ("a dog",)),
        ("00001.tar/000000002", ("a cat",)),
    ]
    assert [one.info for one in samples][:2] == [{"key": "0"}, {"key": "000000001", "url": "http://x"}]
    shades = [np.asarray(found.image(one.image_id))[0, 0, 0] for one in samples]
    assert (shades[0], shades[2]) == (77, 200)
    assert abs(int(shades[1]) - 9) <= 2
    assert [one.name for one in Path("shards").iterdir() if one.suffix != ".tar"] == []
    assert found.fingerprint("image", "train") == data(keep=["url"]).fingerprint("image", "train")


def test_a_picture_with_neither_text_is_passed_over_or_kept():
    shard("0.tar", *GOOD, ("2.png", picture(1)), ("3.json", said("a cat")), ("4.png", picture(1)), ("4.txt", b" "))
    assert [one.id for one in data().samples("image", "train")] == ["0.tar/000000001"]
    assert len(data().faults("image", "train")) == 3
    found = data(captions="optional")
    assert [one.references for one in found.samples("image", "train")] == [("a dog",), (), ()]
    (fault,) = found.faults("image", "train")
    assert "there is no picture beside it" in fault


def test_another_key_and_the_text_instead():
    shard("0.tar", ("1.jpg", picture(1)), ("1.json", json.dumps({"text": "a dog"}).encode()), ("2.jpg", picture(1)),
          ("2.json", b"{}"), ("2.txt", b"a cat"))  # fmt: skip
    found = data(caption_key="text").samples("image", "train")
    assert [one.references for one in found] == [("a dog",), ("a cat",)]


def test_splits_and_ranges_and_the_data_folder(tmp_path, monkeypatch):
    for split, shade in (("train", 10), ("val", 90)):
        Path("shards", split).mkdir()
        for number in range(3):
            shard(f"{split}/{number:03d}.tar", ("1.png", picture(shade + number)), ("1.txt", split.encode()))
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "shards"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = data(shards="{split}/{000..001}.tar")
    assert found.splits == ("train", "val", "test")
    assert [one.id for one in found.samples("image", "val")] == ["val/000.tar/1", "val/001.tar/1"]
    shades = [np.asarray(found.image(one.image_id))[0, 0, 0] for one in found.samples("image", "train")]
    assert shades == [10, 11]
    with pytest.raises(DataError, match="has no tar file for 'test'"):
        found.samples("image", "test")
    assert data(shards="train/000.tar").splits == ("train",)


def _link(kind: bytes):
    def made(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("x.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)

    return made


def _named(name: str):
    def made(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))

    return made


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        pytest.param(_link(tarfile.SYMTYPE), "it is a link, which is not followed", id="symbolic-link"),
        pytest.param(_link(tarfile.LNKTYPE), "it is a link, which is not followed", id="hard-link"),
        pytest.param(_link(tarfile.CHRTYPE), "it is no plain file", id="device"),
        pytest.param(_link(tarfile.FIFOTYPE), "it is no plain file", id="pipe"),
        pytest.param(_named("../x.jpg"), "its name leads out of the tar file", id="parent"),
        pytest.param(_named("a/../../x.jpg"), "its name leads out of the tar file", id="parent-inside"),
        pytest.param(_named("/etc/x.jpg"), "its name leads out of the tar file", id="absolute"),
        pytest.param(_named("..\\x.jpg"), "its name leads out of the tar file", id="backslashes"),
    ],
)
def test_members_that_lead_elsewhere_are_named(add, reason):
    with tarfile.open("shards/0.tar", "w") as tar:
        add(tar)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in GOOD:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    found = data()
    assert len(found.samples("image", "train")) == 1
    (fault,) = found.faults("image", "train")
    assert reason in fault
    with pytest.raises(DataError, match=r"shards/0.tar: "):
        data(on_bad="stop").samples("image", "train")


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda content: content[:-10_240], id="at-a-block"),
        pytest.param(lambda content: content[: -10_240 - 700], id="in-a-file"),
        pytest.param(lambda content: content[: 5 * 512 + 100], id="in-a-head"),
        pytest.param(lambda content: content[: 5 * 512] + b"\xff" * 512 + content[6 * 512 :], id="damaged-head"),
    ],
)
def test_a_tar_file_that_is_cut_off_is_named(cut):
    path = shard("0.tar", *GOOD, *(("2" * 9 + ending, b"x" * 9000) for ending in (".txt", ".png")))
    shard("1.tar", *GOOD)
    content = path.read_bytes()
    path.write_bytes(cut(content.rstrip(b"\0") + bytes(-len(content.rstrip(b"\0")) % 512 + 10_240)))
    found = data()
    samples = found.samples("image", "train")
    assert samples[-1].id == "1.tar/000000001"
    assert all(found.image(one.image_id).size == (8, 6) for one in samples if one.id.endswith("/000000001"))
    assert any("shards/0.tar: the tar file is cut off" in fault for fault in found.faults("image", "train"))


def test_a_picture_that_is_cut_off_is_no_sample():
    path = shard("0.tar", *GOOD, ("2.txt", b"a cat"), ("2.png", picture(1) + bytes(2000)))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(picture(1)) + 100])
    found = data()
    assert [one.id for one in found.samples("image", "train")] == ["0.tar/000000001"]
    assert any("cut off in the file at byte" in fault for fault in found.faults("image", "train"))


def test_what_is_no_tar_file():
    Path("shards/0.tar").write_bytes(b"no tar file at all " * 99)
    with pytest.raises(DataError, match=r"shards/0.tar: this is no tar file"):
        data().samples("image", "train")
    with tarfile.open("shards/0.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.txt"))
    with pytest.raises(DataError, match="it is packed") as caught:
        data().samples("image", "train")
    assert caught.value.hints == ("unpack it once, its pictures hardly grow by that: gunzip shards/0.tar",)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param((("2.jpg", picture(1)), ("2.json", b"{")), "its .json: no JSON, at column 2", id="broken-json"),
        pytest.param((("2.jpg", picture(1)), ("2.json", b"[1]")), "its .json is no JSON object", id="list"),
        pytest.param((("2.jpg", picture(1)), ("2.json", said(3))), "its 'caption' is no text", id="number"),
        pytest.param((("2.jpg", picture(1)), ("2.txt", b"\xe9")), "its .txt is not UTF-8", id="latin1"),
        pytest.param((("2.jpg", b""), ("2.txt", b"a")), "its picture has 0 bytes", id="empty-picture"),
    ],
)
def test_bad_samples_are_named(files, reason):
    shard("0.tar", *GOOD, *files)
    found = data()
    assert len(found.samples("image", "train")) == 1
    (fault,) = found.faults("image", "train")
    assert fault.startswith("shards/0.tar: '2': ")
    assert reason in fault


def test_a_damaged_picture_and_a_tar_file_that_has_gone():
    path = shard("0.tar", ("1.jpg", b"no picture"), ("1.txt", b"a dog"))
    found = data()
    (sample,) = found.samples("image", "train")
    with pytest.raises(ImageError, match=r"shards/0.tar@\d+ is not a picture"):
        found.image(sample.image_id)
    path.write_bytes(b"short")
    with pytest.raises(DataError, match="it ends before byte"):
        found.image(sample.image_id)
    path.unlink()
    with pytest.raises(DataError, match=r"the tar file '0.tar' is no longer there"):
        found.image(sample.image_id)
    with pytest.raises(DataError, match="is no picture of data set 'webdataset'"):
        found.image("../../etc/passwd")


def test_memory_holds_no_members(monkeypatch):
    shard("0.tar", *((f"{at}.txt", b"a") for at in range(300)))
    opened = []
    open_tar = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *args: opened.append(open_tar(*args)) or opened[-1])
    assert max(len(opened[0].members) for _ in tars.members(Path("shards/0.tar"))) == 0


def test_shards_that_are_none():
    with pytest.raises(DataError, match=r"looked for: .*none/"):
        data(shards="none/*.tar").samples("image", "train")
    with pytest.raises(DataError, match="more than 100,000 tar files"):
        data(shards="{0..999999999}.tar").samples("image", "train")
    with pytest.raises(ConfigError, match="is no path"):
        data(shards="")
