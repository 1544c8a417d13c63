from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from regionkit.core.errors import ImageError
from regionkit.core.images import find_pictures, open_image, open_mask


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
    opened = open_image(tmp_path / "a.png")
    assert opened.size == (4, 6)
    assert ImageOps.exif_transpose(opened).size == (4, 6), "whoever asks again turns the picture twice"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    name = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (5, 3)).save(name)
    assert open_image(name).mode == "RGB"


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    values = np.array([[0, 255, 256, 4096], [32768, 40000, 65279, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.png"))[..., 0], values >> 8)


def test_values_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "a.tif")
    assert str(caught.value) == (
        f"{tmp_path / 'a.tif'} holds numbers of 32 bits, whose range is not known\n"
        "  scale them to 0..255 and save the picture with 8 bits a channel"
    )


def test_a_palette_with_a_transparent_colour_can_be_saved_again(tmp_path):
    picture = Image.new("P", (8, 8))
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(tmp_path / "a.png", transparency=0)
    open_image(tmp_path / "a.png").save(tmp_path / "b.png")
    assert open_image(tmp_path / "b.png").getpixel((0, 0)) == (0, 0, 0)


INSIDE = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16", "I", "F"])
def test_masks_of_every_mode(mode, tmp_path):
    if mode == "I;16":
        mask = Image.fromarray(INSIDE.astype(np.uint16))  # numbers of instances: 1 is inside
    elif mode in ("I", "F"):
        mask = Image.fromarray(INSIDE.astype(np.int32 if mode == "I" else np.float32))
    elif mode == "P":
        mask = Image.fromarray(INSIDE.astype(np.uint8)).convert("P")
        mask.putpalette([0, 0, 0, 128, 0, 0])
    elif mode in ("LA", "RGBA"):  # a white picture of which only the thing itself can be seen
        mask = Image.new("L", (3, 2), 255)
        mask.putalpha(Image.fromarray(INSIDE.astype(np.uint8) * 255))
        mask = mask.convert(mode)
    else:
        mask = Image.fromarray(INSIDE.astype(np.uint8) * 255).convert(mode)
    name = tmp_path / ("a.tif" if mode in ("I", "F") else "a.png")
    mask.save(name)
    np.testing.assert_array_equal(open_mask(name), INSIDE)


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
