"""Pictures that are damaged, huge, or no pictures: refused by a sentence or read, never a traceback, never for long."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from regionkit.core import files
from regionkit.core.errors import ImageError
from regionkit.core.images import open_image, open_mask
from regionkit.registry.cli import root

NOISE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("opener", [open_image, open_mask])
def test_a_header_of_fifty_thousand_pixels_squared_costs_nothing(opener, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(50_000, 50_000))
    start = time.process_time()
    with pytest.raises(ImageError, match="has more than 89,478,485 pixels\n  scale it down"):
        opener(tmp_path / "a.png")
    assert time.process_time() - start < 1


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(NOISE).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("opener", [open_image, open_mask])
@pytest.mark.parametrize(
    ("kind", "tail"),  # bytes at the end without which nothing of the picture is missing: checksums and end marks
    [("PNG", 20), ("JPEG", 0), ("WEBP", 0), ("TIFF", 0), ("GIF", 2), ("BMP", 0)],
)
def test_a_picture_that_is_cut_short_anywhere_is_refused(
    opener: Callable[[Path], object], kind: str, tail: int, tmp_path: Path
) -> None:
    whole, path = encoded(kind), tmp_path / "a"
    needed = len(whole) - tail
    for size in [*range(100), *range(100, needed, needed // 40), needed - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ImageError):
            opener(path)
    path.write_bytes(whole)
    opener(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_damaged_pictures_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    whole, path, generator = encoded(kind), tmp_path / "a", np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        content = bytearray(whole)
        for place in generator.integers(0, len(content), 4):
            content[place] = generator.integers(256)
        path.write_bytes(content)
        for opener in (open_image, open_mask):
            try:
                opener(path)
                outcomes.add("read")
            except ImageError:
                outcomes.add("refused")
    assert outcomes <= {"read", "refused"}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(kind: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second])
    red, _, blue = open_image(tmp_path / "a").getpixel((3, 3))
    assert red > 200 > 50 > blue


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_the_smallest_and_the_narrowest(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("CMYK", size).save(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").size == size


def test_postscript_under_another_name_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("gs", "gswin64c"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match=r"a\.png is not a picture"):
        open_image(tmp_path / "a.png")
    assert not (tmp_path / "ran").exists()


def test_a_text_chunk_that_explodes(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("a", "x" * 20_000_000, zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.raises(ImageError, match="Decompressed data too large"):
        open_image(tmp_path / "a.png")


@pytest.mark.timeout(30)
def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(tmp_path / "loop.png", tmp_path / "loop.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name, message in [
        (tmp_path / "pipe.png", "is a pipe or a device, not a picture"),
        ("/dev/zero", "is a pipe or a device, not a picture"),
        (tmp_path / "loop.png", "cannot be read: Too many levels of symbolic links"),
        (tmp_path / "empty.png", "is not a picture"),
        (tmp_path / "folder.png", "is a folder, not a picture"),
        ("a" * 5000, "cannot be read: File name too long"),
        ("a\0b", "embedded null byte"),
    ]:
        with pytest.raises(ImageError, match=message):
            open_image(name)


def test_a_picture_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(path)
    really = builtins.open

    def denied(file: Any, *args: Any, **more: Any) -> Any:
        if str(file) == str(path):  # for root, everything can be read
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return really(file, *args, **more)

    monkeypatch.setattr(builtins, "open", denied)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        open_image(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b"[" * 100_000, "not JSON: maximum recursion", id="deep"),
        pytest.param(b'{"image": ' + b"1" * 5000 + b"}", "not JSON: Exceeds the limit", id="digits"),
        pytest.param(b'\xef\xbb\xbf{"image": "gone.png"}\r\n\r\n', "gone.png: no such file", id="crlf-and-mark"),
        pytest.param(b'{"image": "a\\u0000.png"}', "embedded null byte", id="nul"),
        pytest.param(b'{"image": "a.png", "regions": [{"box": [NaN, 0, 1, 1]}]}', "not a finite number", id="nan"),
        pytest.param(b'{"image": "a.png", "regions": [{"box": [1e400, 0, 1, 1]}]}', "not a finite", id="infinite"),
        pytest.param(b"\xff\xfe", "invalid start byte", id="encoding"),
    ],
)
def test_lines_of_a_jsonl(line: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line)
    result = CliRunner().invoke(root, ["caption", str(tmp_path / "a.jsonl"), "--device", "cpu"])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = (
        "import resource, sys, signal; from regionkit.core.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_text(sys.argv[1], 'x' * 100_000)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "File too large", done.stderr
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_writer_that_is_killed_leaves_the_old_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = (
        "import sys, time; from regionkit.core.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half of the n'); print('writing', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert target.read_text() == "old"
    files.write_text(target, "new")
    assert target.read_text() == "new"
