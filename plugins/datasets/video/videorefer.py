"""VideoRefer-Bench-D: detailed descriptions of one object of a clip, with its masks in 32 frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.records import Entry, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.plugins.datasets.questions.fields import file_name_of, list_of, record_of, shown, text_of
from regionkit.plugins.datasets.video.clips import ClipDataset, clip_key, frame_number, seen_mask, single_frame
from regionkit.plugins.datasets.video.frames import evenly


class VideoReferD(ClipDataset):
    """VideoRefer-Bench-D, one sample an object: its track of masks, and a description of several sentences.

    ``info`` holds ``frame``, the place in the track of the frame on which the single-frame mode asks, and
    ``caption_frames``, the frames in the video, from 0.

    Source: Yuan et al., VideoRefer Suite, CVPR 2025.
    """

    name: ClassVar[str] = "videorefer-d"
    folder: ClassVar[str] = "videorefer-bench"
    splits = ("test",)
    places: ClassVar[tuple[str, ...]] = (
        "Panda-70M-part/{id}",
        "VideoRefer-Bench-D/Panda-70M-part/{id}",
        "videos/Panda-70M-part/{id}",
        "{id}",
        "videos/{id}",
        "Panda-70M-part/{stem}",
        "frames/{stem}",
    )

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the annotation file."""
        return (self.file("VideoRefer-Bench-D.json", "VideoRefer-Bench-D/VideoRefer-Bench-D.json"),)

    def entries(self, task: str, split: str) -> Iterable[Entry]:
        """Yield the objects."""
        return json_list(self.sources(task, split)[0])

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of an object."""
        record = record_of(entry.value)
        track = _track(record)
        numbers, single = sorted(track), frame_number(record["frame_idx"])
        if single not in track:
            raise Unusable(f"its 'frame_idx' is {single}, a frame without an annotation")
        places = evenly(len(numbers), self.config.frames) if self.config.frames else range(len(numbers))
        frames = _with([numbers[place] for place in places], single)
        masks = [track[frame] for frame in frames]
        sizes = {tuple(mask["size"]) for mask in masks if mask is not None}
        if len(sizes) > 1:
            raise Unusable(f"its masks are of several sizes: {', '.join(shown(list(size)) for size in sorted(sizes))}")
        told = {"frame": single_frame(masks, frames.index(single)), "caption_frames": frames}
        video = file_name_of(record, "video")
        return [
            StoredSample(
                str(record["id"]), clip_key(video, frames), {"mask_track": masks}, (text_of(record, "caption"),), told
            )
        ]


def _track(record: Mapping[str, Any]) -> dict[int, dict[str, Any] | None]:
    """Return the mask of each annotated frame."""
    held = list_of(record, "annotation")
    if len(held) != 1:
        raise Unusable(f"it has annotations of {len(held)} objects, and should have those of one")
    annotated = record_of(held[0])
    if not annotated:
        raise Unusable("its track is empty: it has no frame")
    return {frame_number(key): seen_mask(record_of(value)["segmentation"]) for key, value in annotated.items()}


def _with(frames: Sequence[int], single: int) -> list[int]:
    """Return frames with one among them: where it was not taken, it stands for the one that is nearest to it."""
    if single in frames:
        return list(frames)
    nearest = min(frames, key=lambda frame: abs(frame - single))
    # Where few frames are annotated and one was taken several times, every time.
    return sorted(single if frame == nearest else frame for frame in frames)
