"""Frames of clips: folders of pictures and small videos that are written here."""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.errors import DataError, ImageError, MissingExtra
from regionkit.plugins.datasets.video.frames import evenly, frame_files, frame_size, read_frames

#: Codecs that keep what is written: a frame's grey says which one it is.
CODECS = {"mkv": ("ffv1", "bgr0"), "mp4": ("mpeg4", "yuv420p"), "avi": ("mjpeg", "yuvj420p")}


def write_video(path: Path, count: int) -> Path:
    """Write a video of 32 x 24 pixels whose frame ``i`` has the grey ``10 i``."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'regionkit[video]'")
    codec, pixels = CODECS[path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=4)
        stream.width, stream.height, stream.pix_fmt = 32, 24, pixels
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), 10 * index, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def write_folder(folder: Path, names: list[str]) -> Path:
    """Write pictures of 8 x 6 pixels, the grey of each being ten times its place in ``names``."""
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        Image.new("RGB", (8, 6), (10 * place,) * 3).save(folder / name)
    return folder


def greys(frames: list[Image.Image]) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 10) for frame in frames]


@pytest.mark.parametrize(
    ("count", "frames", "taken"),
    [
        pytest.param(32, 8, [0, 4, 8, 13, 17, 22, 26, 31], id="8-of-32"),
        pytest.param(8, 8, [0, 1, 2, 3, 4, 5, 6, 7], id="all"),
        pytest.param(3, 8, [0, 0, 0, 0, 1, 1, 1, 2], id="some-twice"),
        pytest.param(10, 1, [0], id="one"),
    ],
)
def test_frames_are_taken_evenly(count, frames, taken):
    assert evenly(count, frames) == taken
    assert taken == [int(index) for index in np.linspace(0, count - 1, frames, dtype=int)]


@pytest.mark.parametrize("ending", [pytest.param(ending, id=ending) for ending in CODECS])
def test_frames_of_a_video(tmp_path, ending):
    path = write_video(tmp_path / f"clip.{ending}", 20)
    frames = read_frames(path, [0, 7, 7, 19, 3])
    assert greys(frames) == [0, 7, 7, 19, 3]
    assert {frame.mode for frame in frames} == {"RGB"}
    assert frame_size(path) == frames[0].size == (32, 24)


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    folder = write_folder(tmp_path / "clip", ["frame_1.png", "frame_2.png", "frame_10.png", "frame_11.png"])
    assert [path.name for path in frame_files(folder)][:3] == ["frame_1.png", "frame_2.png", "frame_10.png"]
    assert greys(read_frames(folder, [3, 0, 2, 2])) == [3, 0, 2, 2]
    assert frame_size(folder) == (8, 6)


def test_names_without_a_common_form_have_an_order(tmp_path):
    folder = write_folder(tmp_path / "clip", ["00.png", "a.png", "a1.png", "1.png"])
    assert [path.name for path in frame_files(folder)] == ["a.png", "a1.png", "00.png", "1.png"]


@pytest.mark.parametrize(
    ("ending", "share", "message"),
    [
        pytest.param("mp4", 0.5, "there is no picture in this video|cannot be decoded", id="mp4-without-its-table"),
        pytest.param("mkv", 0.5, r"the video ends after \d+ frames, and frame 19, counted from 0, is needed", id="mkv"),
        pytest.param("mkv", 0.01, "the video cannot be decoded: Invalid data", id="a-few-bytes"),
    ],
)
def test_a_video_that_is_cut_off_is_named(tmp_path, ending, share, message):
    path = write_video(tmp_path / f"clip.{ending}", 20)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=message) as caught:
        read_frames(path, [0, 19])
    assert str(path) in caught.value.message
    assert caught.value.hints == ("copy or download it again",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a video at all, but a letter", id="text"),
        pytest.param(b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mkv\n#EXT-X-ENDLIST\n", id="list"),
        pytest.param(b"ffconcat version 1.0\nfile other.mkv\n", id="concat"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, monkeypatch, content):
    write_video(tmp_path / "other.mkv", 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"clip\.mp4"):
        read_frames(tmp_path / "clip.mp4", [0])


@pytest.mark.parametrize("ending", [pytest.param("mp4", id="mp4"), pytest.param("mkv", id="mkv")])
def test_any_damage_is_a_data_error(tmp_path, ending):
    content = write_video(tmp_path / f"clip.{ending}", 12).read_bytes()
    path, draw, read = tmp_path / f"broken.{ending}", np.random.default_rng(0), 0
    for _ in range(40):
        broken = bytearray(content)
        for place in draw.integers(0, len(broken), 8):
            broken[place] = draw.integers(0, 256)
        path.write_bytes(bytes(broken))
        with suppress(DataError):  # a damage may also be none that a decoder sees
            assert len(read_frames(path, [0, 11])) == 2
            read += 1
    assert 0 < read < 40


def test_a_folder_that_is_too_short_or_empty(tmp_path):
    folder = write_folder(tmp_path / "clip", ["1.png", "2.png"])
    with pytest.raises(DataError, match="there are 2 frames, and frame 2, counted from 0, is needed"):
        read_frames(folder, [2])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty: no picture in this folder"):
        read_frames(tmp_path / "empty", [0])
    (folder / "2.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match=r"2\.png"):
        read_frames(folder, [1])


def test_videos_need_an_extra_and_folders_do_not(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "clip", ["1.png"])
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(read_frames(folder, [0])) == 1
    with pytest.raises(MissingExtra, match=r"pip install 'regionkit\[video\]'"):
        read_frames(tmp_path / "clip.mp4", [0])
