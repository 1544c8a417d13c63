"""The base of data sets of clips: which frames a track has is part of the clip's key."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from PIL import Image

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import PictureMissing, Unusable
from regionkit.core.errors import DataError
from regionkit.core.files import is_folder
from regionkit.core.regions import Mask
from regionkit.plugins.datasets.questions.fields import shown
from regionkit.plugins.datasets.video.frames import frame_files, read_frames

#: Frames of a clip have smaller numbers; ten hours have not so many.
MOST_FRAMES = 1_000_000
_MOST_DIGITS = 7


class ClipDataset(FileDataset):
    """A data set of clips, one track of masks a sample.

    The key of a clip is ``VIDEO@2,6,10``: a video and the frames of the track, counted from 0. ``clip`` returns those
    frames, one a mask; ``image`` returns one of them for ``VIDEO@2,6,10#1``, counted from 0 in the track, and the first
    for the key alone. One clip is held at a time. ``places`` are patterns of video files and of folders of frames, with
    ``{id}``, the video's name, and ``{stem}``, the same without its ending; they may hold ``*``.
    """

    tasks: ClassVar[tuple[str, ...]] = ("video",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._held: tuple[str, Sequence[Image.Image]] | None = None

    def picture(self, image_id: str) -> Path:
        """Return the video file, or the folder of frames, of a clip.

        Raises:
            PictureMissing: It is at none of ``places``.
        """
        video, _ = _parts(image_id)
        root, names = self.root, {"id": glob.escape(video), "stem": glob.escape(PurePosixPath(video).stem)}
        looked = [place.format(**names) for place in self.places]
        for pattern in looked:
            found = [path for path in sorted(root.glob(pattern)) if path.is_file() or is_folder(path)]
            if found:
                return found[0]
        plain = [str(root / place.format(id=video, stem=PurePosixPath(video).stem)) for place in self.places]
        raise PictureMissing(
            f"the clip '{video}' is not there: looked for {', '.join(plain[:4])}",
            "\n".join(place for place in plain if "*" not in place),
        )

    def clip(self, image_id: str) -> Sequence[Image.Image]:
        """Return the frames of a track, one a mask.

        Raises:
            DataError: The clip is not there, is damaged, or ends too early.
            MissingExtra: It is a video, and PyAV is not installed.
        """
        if self._held is None or self._held[0] != image_id:
            _, frames = _parts(image_id)
            self._held = None  # the frames of the last clip may go before those of the next one come
            self._held = image_id, read_frames(self.picture(image_id), frames)
        return self._held[1]

    def image(self, image_id: str) -> Image.Image:
        """Return one frame of a clip, ``CLIP#INDEX``; the first one for the clip's key alone.

        Raises:
            DataError: As for :meth:`clip`, or there is no such frame in the track.
        """
        clip, mark, place = image_id.rpartition("#")
        if not mark:
            return self.clip(image_id)[0]
        frames = self.clip(clip)
        index = _number(place)
        if index is None or index >= len(frames):
            raise DataError(f"'{clip}' has frames #0 to #{len(frames) - 1}, and no #{place[:20]}")
        return frames[index]

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Hash the samples and the length of every video, or of every frame that is needed of a folder."""
        found = hashlib.sha256(super().fingerprint(task, split, seed, limit).encode())
        for image_id in self.index(task, split).image_ids(limit):
            try:
                path = self.picture(image_id)
                files = frame_files(path) if is_folder(path) else []
                for index in _parts(image_id)[1] if files else ():
                    found.update(f"{files[index].stat().st_size}\n".encode())
            except (DataError, OSError, IndexError):
                found.update(b"a frame is not there\n")
        return found.hexdigest()[:16]


def clip_key(video: str, frames: Sequence[int]) -> str:
    """Return the key of a track's frames in a video."""
    return f"{video}@{','.join(str(frame) for frame in frames)}"


def seen_mask(segmentation: Any) -> dict[str, Any] | None:
    """Return a mask's run lengths, None where it is null or covers no pixel.

    Args:
        segmentation: ``{"size": [height, width], "counts": ...}``, the counts a list or COCO's compressed string.

    Raises:
        Unusable: It is something else.
        RegionError: Its run lengths cannot be read.
    """
    if segmentation is None:
        return None
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= set(segmentation):
        raise Unusable(f"a mask is {shown(segmentation)}, and should be run lengths of COCO's form")
    size, counts = segmentation["size"], segmentation["counts"]
    empty = _is_empty(counts)
    # A mask of nothing is refused, but its run lengths are to add up all the same: with a run of none in front, "0" in
    # COCO's strings, outside becomes inside.
    front: Any = "0" if isinstance(counts, str) else [0]
    Mask.from_rle({"size": size, "counts": front + counts if empty else counts})
    return None if empty else {"size": size, "counts": counts}


def frame_number(value: Any) -> int:
    """Return the number of a frame, which releases hold as a number or as a text.

    Raises:
        Unusable: It is neither, or larger than any frame's.
    """
    number = _number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < MOST_FRAMES:
        raise Unusable(f"a frame has the number {shown(value)}, and should have one from 0 to {MOST_FRAMES - 1}")
    return number


def single_frame(masks: Sequence[Any], near: int) -> int:
    """Return the place of the mask that is nearest to a place of the track.

    Raises:
        Unusable: There is no mask.
    """
    places = [place for place, mask in enumerate(masks) if mask is not None]
    if not places:
        raise Unusable(f"its track is empty: none of the {len(masks)} frames that are taken has a mask")
    return min(places, key=lambda place: abs(place - near))


def _is_empty(counts: Any) -> bool:
    """Say whether run lengths have no run inside: every second one is 0; in strings there is one, or a second of 0."""
    if isinstance(counts, list):
        return all(isinstance(run, int) and run == 0 for run in counts[1::2])
    if isinstance(counts, str):
        ends = [place for place, letter in enumerate(counts) if not (ord(letter) - 48) & 0x20]
        return len(ends) == 1 or (len(ends) == 2 and counts[ends[0] + 1 :] == "0")
    return False


def _parts(image_id: str) -> tuple[str, list[int]]:
    """Return the video and the frames of a clip's key.

    Raises:
        DataError: It is no such key.
    """
    video, mark, listed = image_id.rpartition("@")
    frames = [_number(text) for text in listed.split(",")]
    if not mark or not video or None in frames:
        raise DataError(
            f"'{image_id[:80]}' is no clip of this data set: keys are VIDEO@FRAME,FRAME,...",
            "take those of its samples: Sample.image_id",
        )
    return video, [frame for frame in frames if frame is not None]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
