"""HC-STVG: films of people, a box of one of them in every frame of a stretch, and a sentence about that one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.masks import bitmap_record, checked_size
from regionkit.core.data.records import Entry, StoredSample, Unusable
from regionkit.core.data.streams import json_list, json_object
from regionkit.core.geometry import region_mask
from regionkit.core.regions import Box
from regionkit.plugins.datasets.questions.fields import file_name_of, list_of, number_of, record_of, shown, text_of
from regionkit.plugins.datasets.video.clips import (
    MOST_FRAMES,
    ClipDataset,
    clip_key,
    frame_number,
    seen_mask,
    single_frame,
)
from regionkit.plugins.datasets.video.frames import evenly, frame_size

#: Names of the annotation files, by release and split.
_FILES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "v1": {
        split: (f"{split}.json", f"annos/{split}.json", f"annos/hcstvg_v1/{split}.json") for split in ("test", "train")
    },
    "v2": {
        split: (f"{split}_v2.json", f"annos/{split}_v2.json", f"anno_v2/{split}_v2.json") for split in ("val", "train")
    },
    "videorefer": {"test": ("hc_stvg_eval.json",)},
}
#: Keys of the sentence: of the first release and VideoRefer, and of the second.
_SENTENCES = ("caption", "English")


class HcStvg(ClipDataset):
    """HC-STVG, one sample a film: a person's track of masks over some frames, and the sentence about that person.

    The frames are taken evenly from the stretch that has boxes. Every pixel that a box touches is in its mask; where a
    box has no area inside the picture, the frame has none. ``info`` holds ``frame``, the place in the track for models
    of one frame (the middle one, of those with a mask), and ``caption_frames``, the frames in the film, from 0. Of
    ``release: videorefer`` the track is the one frame that its authors chose.

    Sources: Tang et al., Human-centric Spatio-Temporal Video Grounding, TCSVT 2021; the files of VideoRefer, CVPR 2025.
    """

    name: ClassVar[str] = "hc-stvg"
    folder: ClassVar[str] = "hc-stvg"
    places: ClassVar[tuple[str, ...]] = (
        "{id}",
        "video/{id}",
        "video/*/{id}",
        "Video/*/{id}",
        "video_parts/{id}",
        "video_parts/*/{id}",
        "v1_video/{id}",
        "v1_video/*/{id}",
        "v2_video/{id}",
        "v2_video/*/{id}",
        "frames/{id}",
        "frames/{stem}",
    )

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        """Splits of the release."""
        return tuple(_FILES[self.config.release])

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the annotation file of the split."""
        return (self.file(*_FILES[self.config.release][split]),)

    def entries(self, task: str, split: str) -> Iterable[Entry]:
        """Yield the films, ``(name, record)``."""
        path = self.sources(task, split)[0]
        if self.config.release == "videorefer":
            yield from json_list(path)
            return
        for name, entry in json_object(path):
            yield Entry(entry.place, (name, entry.value))

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a film."""
        if self.config.release == "videorefer":
            return [_repacked(record_of(entry.value))]
        name, value = entry.value
        return [self._film(file_name_of({"name": name}, "name"), record_of(value))]

    def _film(self, video: str, record: Mapping[str, Any]) -> StoredSample:
        boxes, start = list_of(record, "bbox"), number_of(record, "st_frame", MOST_FRAMES) - self.config.first_frame
        if not boxes:
            raise Unusable("its track is empty: it has no box")
        if start < 0:
            raise Unusable("its 'st_frame' is 0, and frames are counted from 1")
        self._check_length(record, start + len(boxes))
        height, width = self._size(video, record)
        taken = evenly(len(boxes), self.config.frames)
        made = {place: _mask(boxes[place], height, width) for place in set(taken)}
        masks, frames = [made[place] for place in taken], [start + place for place in taken]
        told = {"frame": single_frame(masks, len(masks) // 2), "caption_frames": frames}
        return StoredSample(video, clip_key(video, frames), {"mask_track": masks}, (_sentence(record),), told)

    def _check_length(self, record: Mapping[str, Any], end: int) -> None:
        if end > MOST_FRAMES:
            raise Unusable(f"it has {len(record['bbox'])} boxes, which is more than a film has frames")
        if "img_num" in record and end > number_of(record, "img_num", MOST_FRAMES + 1):
            raise Unusable(
                f"its {len(record['bbox'])} boxes from frame {record['st_frame']} go beyond the film's "
                f"{record['img_num']} frames"
            )

    def _size(self, video: str, record: Mapping[str, Any]) -> tuple[int, int]:
        """Return height and width of a film: as the record says, else as its file does."""
        if "img_size" in record:
            return checked_size(*list_of(record, "img_size")[:2])
        if "height" in record or "width" in record:
            return checked_size(record["height"], record["width"])
        width, height = frame_size(self.picture(clip_key(video, [0])))
        return checked_size(height, width)


def _repacked(record: Mapping[str, Any]) -> StoredSample:
    """Return the sample of a record of VideoRefer: the mask of one frame."""
    video, frame = file_name_of(record, "video"), frame_number(record["frame_idx"])
    masks = [seen_mask(record["mask"])]
    told = {"frame": single_frame(masks, 0), "caption_frames": [frame]}
    key = clip_key(video, [frame])
    return StoredSample(key, key, {"mask_track": masks}, (_sentence(record),), told)


def _sentence(record: Mapping[str, Any]) -> str:
    return text_of(record, next((key for key in _SENTENCES if key in record), _SENTENCES[0])).strip()


def _mask(box: Any, height: int, width: int) -> dict[str, Any] | None:
    """Return the mask of a box ``[x, y, width, height]``, None where it has no area inside the picture."""
    if not isinstance(box, list) or len(box) != 4 or not all(_is_real(number) for number in box):
        raise Unusable(f"one of its boxes is {shown(box)}, and should be [x, y, width, height]")
    x, y, across, down = box
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + across, width), min(y + down, height)
    if right <= left or bottom <= top:
        return None
    mask: dict[str, Any] = bitmap_record(region_mask(Box(left, top, right, bottom), (width, height)))["mask"]
    return mask


def _is_real(value: Any) -> bool:
    """Say whether a value is a number, small enough to be one of pixels: Python's may have thousands of digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST_FRAMES
