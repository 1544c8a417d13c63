"""Pictures and regions of the user's own: JSON lines and a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.places import DATA_VARIABLE, data_file
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_lines
from regionkit.core.errors import did_you_mean
from regionkit.core.files import is_folder
from regionkit.plugins.datasets.own.configs import JsonlConfig
from regionkit.plugins.datasets.own.keys import ABOUT, REFERENCE_KEYS, REGION_KEYS, check_judged, missing, unread
from regionkit.plugins.datasets.own.regions import OwnRegions
from regionkit.plugins.datasets.own.splits import DEFAULT, splits_of

#: Tasks that a file may hold.
TASKS = (
    "image", "point", "box", "box-set", "mask", "trace", "patch", "dense", "phrase", "keyword", "detail", "ris", "vqa",
    "vcr",
)  # fmt: skip


class Jsonl(FileDataset):
    """Records of the user's own.

    A record is ``{"image": "a.png", "box": [x1, y1, x2, y2], "references": ["a dog"]}``: a picture below the folder of
    pictures, a region as ``toolkit caption`` reads it (``box``, ``point``, ``trace``, ``mask``, ``boxes``, ``patch``;
    none is the whole picture; or several as ``regions``), references, and whatever else metrics and tasks need. ``id``,
    ``task`` and ``split`` may be said; without them a sample is known by its line, belongs to the task of its region's
    kind, and to the split ``test``. ``candidates`` and ``mentioned`` are lists of regions.
    """

    name: ClassVar[str] = "jsonl"
    tasks: ClassVar[tuple[str, ...]] = TASKS
    version: ClassVar[int] = 2
    places: ClassVar[tuple[str, ...]] = ("{id}",)

    def __init__(self, config: JsonlConfig) -> None:
        """Remember the options; nothing is read."""
        super().__init__(config)
        self._regions = OwnRegions(self, config.box_format, config.coordinates == "normalised")

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        """The splits that the records name, ``test`` first where it is among them.

        Raises:
            DataError: The file is not there, or cannot be read to its end.
        """
        return self._splits

    @property
    def root(self) -> Path:
        """The folder of the pictures."""
        return self._root

    @cached_property
    def _splits(self) -> tuple[str, ...]:
        return splits_of(self._file)

    @cached_property
    def _file(self) -> Path:
        return data_file(self.config.file)

    @cached_property
    def _root(self) -> Path:
        named = self.config.images
        if not named:
            return self._file.parent
        here, data = Path(os.path.expanduser(named)), os.environ.get(DATA_VARIABLE, "")
        there = Path(os.path.expanduser(data)) / named
        return there if data and not is_folder(here) and is_folder(there) else here

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file."""
        return (self._file,)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield its lines."""
        return json_lines(self._file)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make a sample of every region of a record."""
        record = entry.value
        if not isinstance(record, dict):
            raise Unusable('a record is a JSON object such as {"image": "a.png", "box": [x1, y1, x2, y2]}')
        if (_word(record, "split") if "split" in record else DEFAULT) != split:
            return
        said = _task(record)
        regions = _regions_of(record)
        kinds = [said] * len(regions) if said else [self._regions.kind(region) for region in regions]
        if task not in kinds:
            return
        image = _image(record)
        own = _own_id(record, entry.place)
        references = _references(record)
        info = {key: value for key, value in record.items() if key not in ABOUT}
        candidates = self._regions.several(record, "candidates", image)
        mentioned = self._regions.several(record, "mentioned", image)
        check_judged(task, info, len(candidates))
        for number, (region, kind) in enumerate(zip(regions, kinds, strict=True)):
            if kind == task:
                yield StoredSample(
                    own if len(regions) == 1 else f"{own}/{number}",
                    image,
                    self._regions.held(region, image),
                    references,
                    info,
                    candidates,
                    mentioned,
                )


def _word(record: Mapping[str, Any], key: str) -> str:
    word = record[key]
    if not isinstance(word, str) or not word.strip():
        raise Unusable(f"'{key}' is no word")
    return word


def _task(record: Mapping[str, Any]) -> str:
    """Return the task that a record names, empty where it names none."""
    if "task" not in record:
        return ""
    task = _word(record, "task")
    if task not in TASKS:
        raise Unusable(f"there is no task '{task}': {did_you_mean(task, TASKS) or 'tasks are ' + ', '.join(TASKS)}")
    return task


def _image(record: Mapping[str, Any]) -> str:
    if "image" not in record:
        raise Unusable(missing(record, "image", "picture"))
    image = record["image"]
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise Unusable("'image' is no file name")
    return image


def _own_id(record: Mapping[str, Any], place: str) -> str:
    own = record.get("id", place.rpartition(":")[2])
    if isinstance(own, bool) or not isinstance(own, (str, int)) or own == "":
        raise Unusable("'id' is neither text nor a whole number")
    return str(own)


def _regions_of(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the regions of a record; the whole picture where it names none."""
    keys = [key for key in record if key in REGION_KEYS]
    if len(keys) > 1:
        raise Unusable(f"it has {' and '.join(repr(key) for key in keys)}: which is its region?")
    key = keys[0] if keys else ""
    if key == "regions":
        regions = record["regions"]
        if not isinstance(regions, list) or not regions:
            raise Unusable("'regions' is no list of regions")
        return regions
    if key:
        return [record["region"] if key == "region" else {key: record[key]}]
    meant = unread(record, "region")
    if meant and record.get("task") != "image":
        raise Unusable(f'it has no region, and {meant}; the whole picture is "whole": true')
    return [{"whole": True}]


def _references(record: Mapping[str, Any]) -> tuple[str, ...]:
    keys = [key for key in record if key in REFERENCE_KEYS]
    if len(keys) > 1:
        raise Unusable(f"it has {' and '.join(repr(key) for key in keys)}: which are its references?")
    if not keys:
        meant = unread(record, "references")
        if meant:
            raise Unusable(f"it has no references, and {meant}")
        return ()
    held = record[keys[0]]
    texts = [held] if isinstance(held, str) else held
    if not isinstance(texts, list):
        raise Unusable(f"'{keys[0]}' is no text and no list of texts")
    for text in texts:
        if not isinstance(text, str):
            raise Unusable(f"'{keys[0]}' is no text and no list of texts")
        if not text or text.isspace():
            raise Unusable(f"'{keys[0]}' holds an empty text")
    return tuple(texts)
