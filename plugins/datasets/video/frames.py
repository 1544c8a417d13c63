"""Frames of clips: a folder of pictures, or a video file, of which only the frames that are needed are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.files import is_folder
from regionkit.core.images import find_pictures, image_size, open_image

#: Pixels of a frame; more than any film has, and few enough to be decoded.
_MOST_PIXELS = 1 << 26
#: Containers that are opened, whatever a file is called: FFmpeg also reads lists of other files and addresses.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,ogg"
_AGAIN = "copy or download it again"


def evenly(count: int, frames: int) -> list[int]:
    """Return which of ``count`` frames are taken: evenly from the first to the last, rounded down.

    Fewer than ``frames`` are taken several times. This is the rule of Describe Anything.
    """
    return [int(index) for index in np.linspace(0, count - 1, frames, dtype=int)]


def read_frames(path: Path, indices: Sequence[int]) -> list[Image.Image]:
    """Return frames of a clip as RGB pictures, in the order of ``indices``.

    Args:
        path: A folder of pictures, counted in the order of the numbers in their names; or a video file.
        indices: Frames, counted from 0 in the order in which they are shown; one may come several times.

    Raises:
        DataError: The clip is damaged, or ends before a frame that is needed.
        ImageError: A picture of the folder cannot be decoded.
        MissingExtra: It is a video, and PyAV is not installed.
    """
    needed = sorted(set(indices))
    if is_folder(path):
        files = frame_files(path)
        if needed[-1] >= len(files):
            raise DataError(f"{path}: there are {len(files)} frames, and frame {needed[-1]}, counted from 0, is needed")
        found = {index: open_image(files[index]) for index in needed}
    else:
        found = _decoded(path, needed)
    return [found[index] for index in indices]


def frame_size(path: Path) -> tuple[int, int]:
    """Return width and height of the frames of a clip, without decoding one.

    Raises:
        DataError: The clip is damaged.
        MissingExtra: It is a video, and PyAV is not installed.
    """
    if is_folder(path):
        return image_size(frame_files(path)[0])
    with _stream(path) as (_, stream):
        return int(stream.width), int(stream.height)


def frame_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of the numbers in their names: ``frame_2`` before ``frame_10``.

    Raises:
        ImageError: There is none.
    """
    return sorted(find_pictures(folder), key=lambda path: (_parts(path.stem), path.name))


def _parts(name: str) -> list[tuple[int, str]]:
    """Return what a name is sorted by: its runs of digits as numbers, and the rest."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(piece), "") if piece[0] in "0123456789" else (-1, piece) for piece in pieces]


def _decoded(path: Path, needed: Sequence[int]) -> dict[int, Image.Image]:
    """Return the needed frames of a video. They are counted as they are decoded: to seek by time is not exact."""
    found: dict[int, Image.Image] = {}
    wanted: Collection[int] = frozenset(needed)
    count = 0
    with _stream(path) as (container, stream):
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            count = index + 1
            if index in wanted:
                if frame.width * frame.height > _MOST_PIXELS:
                    raise DataError(f"{path}: frame {index} is larger than any that is read")
                if frame.is_corrupt:
                    raise DataError(f"{path}: frame {index} is damaged", _AGAIN)
                found[index] = frame.to_image()
            if index >= needed[-1]:
                break
    if len(found) < len(needed):
        raise DataError(
            f"{path}: the video ends after {count} frames, and frame {needed[-1]}, counted from 0, is needed", _AGAIN
        )
    return found


@contextmanager
def _stream(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file and its first picture stream; what FFmpeg says against it becomes a DataError."""
    try:
        import av
    except ImportError:
        raise MissingExtra(f"{path}, a video,", "av", "video") from None
    try:
        # FFmpeg takes names for addresses where they have a colon; the file itself is handed over.
        options = {"format_whitelist": _CONTAINERS}
        with path.open("rb") as file, av.open(file, options=options, metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise DataError(f"{path}: there is no picture in this video, or none that can be decoded", _AGAIN)
            if (stream.width or 0) * (stream.height or 0) > _MOST_PIXELS:
                raise DataError(f"{path}: {stream.width} x {stream.height} pixels are more than are read")
            yield container, stream
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: the video cannot be decoded: {reason}", _AGAIN) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
