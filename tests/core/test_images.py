from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from regionkit.core.errors import ImageError
from regionkit.core.images import find_pictures, open_image


@pytest.fixture
def picture():
    return Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def test_text_chunks_survive(picture, tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("mark", "here")
    picture.save(tmp_path / "a.png", pnginfo=chunks)
    opened = open_image(tmp_path / "a.png")
    assert opened.info["mark"] == "here"
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(picture))


def test_exif_orientation_is_applied(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated a quarter turn
    picture.save(tmp_path / "a.png", exif=exif)
    assert open_image(tmp_path / "a.png").size == (4, 6)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    name = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (5, 3)).save(name)
    assert open_image(name).mode == "RGB"


def test_what_is_no_picture(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ImageError, match=r"notes.txt is not a picture\n  pictures end in .png, .jpg"):
        open_image(tmp_path / "notes.txt")
    with pytest.raises(ImageError, match=r"nothere\.png: no such file"):
        open_image(tmp_path / "nothere.png")
    with pytest.raises(ImageError, match="is a folder, not a picture"):
        open_image(tmp_path)


def test_a_picture_cut_short(picture, tmp_path):
    picture.resize((200, 200)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="the picture is damaged"):
        open_image(tmp_path / "a.png")


def test_a_decompression_bomb(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="has more than 1,000 pixels\n  scale it down"):
        open_image(tmp_path / "a.png")


def test_folders(picture, tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path)] == ["a.JPG", "b.png"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ImageError, match="no picture in this folder"):
        find_pictures(empty)
