"""Which files Localized Narratives come in, and where the pictures are that they speak of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.core.data.records import Unusable
from regionkit.core.errors import DataError

#: Folder of the narratives below ``$REGIONKIT_DATA``.
FOLDER = "localized_narratives"


@dataclass(frozen=True)
class Source:
    """Narratives about one data set's pictures.

    Attributes:
        files: First part of the file name by split, with the number of parts that it is released in.
        places: Patterns of picture files; see ``FileDataset.places``.
    """

    files: Mapping[str, tuple[str, int]]
    places: tuple[str, ...]


def _coco_places() -> tuple[str, ...]:
    names = ("{folder}train2017/{padded}.jpg", "{folder}val2017/{padded}.jpg",
             "{folder}train2014/COCO_train2014_{padded}.jpg", "{folder}val2014/COCO_val2014_{padded}.jpg")  # fmt: skip
    folders = ("../coco/", "../coco/images/", "coco/", "")
    return tuple(name.replace("{folder}", folder) for folder in folders for name in names)


SOURCES: Mapping[str, Source] = {
    "coco": Source({"val": ("coco_val", 1), "train": ("coco_train", 4)}, _coco_places()),
    "flickr30k": Source(
        {"test": ("flickr30k_test", 1), "train": ("flickr30k_train", 1), "val": ("flickr30k_val", 1)},
        ("../flickr30k/flickr30k-images/{id}.jpg", "../flickr30k/flickr30k_images/{id}.jpg",
         "../flickr30k/images/{id}.jpg", "../flickr30k/{id}.jpg", "flickr30k-images/{id}.jpg"),
    ),
    "ade20k": Source(
        {"validation": ("ade20k_validation", 1), "train": ("ade20k_train", 1)},
        ("../ade20k/ADEChallengeData2016/images/training/{id}.jpg",
         "../ade20k/ADEChallengeData2016/images/validation/{id}.jpg",
         "../ade20k/images/training/{id}.jpg", "../ade20k/images/validation/{id}.jpg"),
    ),
    "open-images": Source(
        {
            "test": ("open_images_test", 1),
            "train": ("open_images_train_v6", 10),
            "validation": ("open_images_validation", 1),
        },
        tuple(f"../{folder}/{place}/{{id}}.jpg" for folder in ("open-images", "open_images")
              for place in ("train_{first}", "train/train_{first}", "train", "validation", "test", "images")),
    ),
}  # fmt: skip


def file_names(start: str, parts: int) -> tuple[str, ...]:
    """Return the released names of the parts of a file."""
    if parts == 1:
        return (f"{start}_localized_narratives.jsonl",)
    return tuple(f"{start}_localized_narratives-{part:05}-of-{parts:05}.jsonl" for part in range(parts))


def narrative_files(root: Path, source: str, split: str) -> list[Path]:
    """Return the files of a split, in order: its parts, or all of it in one file.

    Raises:
        DataError: One is not there.
    """
    start, parts = SOURCES[source].files[split]
    whole = _found(root, *file_names(start, 1))
    if whole is not None:
        return [whole]
    found = {name: _found(root, name) for name in file_names(start, parts)}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"data set 'localized-narratives' needs {missing[0]}{more} in {root}, which is not there",
            "where to get it: toolkit data list localized-narratives",
            f"a part by itself is read under the name of the whole, {file_names(start, 1)[0]}" if parts > 1 else "",
        )
    return [path for path in found.values() if path is not None]


def picture_names(source: str, image_id: str) -> dict[str, Any]:
    """Return what the patterns of a source's pictures use beside ``id``."""
    return {"padded": image_id.zfill(12)} if source == "coco" else {"first": image_id[:1]}


def checked_image_id(source: str, value: Any) -> str:
    """Return the id of a picture as narratives write it: for COCO a number without leading zeros.

    Raises:
        Unusable: It is no id, such as one that would lead out of the folder of pictures.
    """
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if source == "coco" and re.fullmatch(r"[0-9]{1,12}", text):
        return str(int(text))
    if source == "coco" or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", text):
        raise Unusable(f"'image_id' is no id of a picture of {source}: {str(value)[:60]!r}")
    return text


def _found(root: Path, name: str) -> Path | None:
    places: Sequence[Path] = [root / name, root / f"{name}.gz", root / "annotations" / name]
    return next((path for path in places if path.is_file()), None)
