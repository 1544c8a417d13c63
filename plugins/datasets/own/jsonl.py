"""Pictures and regions of the user's own: JSON lines and a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.region_io import read_record, to_record
from regionkit.plugins.datasets.places import data_file
from regionkit.plugins.datasets.reading.files import FileDataset
from regionkit.plugins.datasets.reading.records import Entry, Fault, StoredSample, Unusable
from regionkit.plugins.datasets.reading.streams import json_lines

#: Tasks that a file may hold.
TASKS = (
    "image", "point", "box", "box-set", "mask", "trace", "patch", "dense", "phrase", "keyword", "detail", "ris", "vqa",
    "vcr",
)  # fmt: skip
#: Keys of references, the first that is there counts.
_REFERENCES = ("references", "captions", "caption")
#: Keys of a record that are no knowledge for metrics and tasks.
_ABOUT = ("id", "image", "image_id", "task", "split", "regions", "region", "candidates", *_REFERENCES)
#: Keys under which a record may hold its region by itself.
_REGIONS = ("point", "points", "box", "boxes", "mask", "trace", "patch", "whole")


class Jsonl(FileDataset):
    """Records of the user's own.

    A record is ``{"image": "a.png", "box": [x1, y1, x2, y2], "references": ["a dog"]}``: a picture below the folder of
    pictures, a region as ``toolkit caption`` reads it (``box``, ``point``, ``trace``, ``mask``, ``boxes``, ``patch``;
    none is the whole picture; or several as ``regions``), references, and whatever else metrics and tasks need. ``id``,
    ``task`` and ``split`` may be said; without them a sample is known by its line, belongs to the task of its region's
    kind, and to the split ``test``.
    """

    name: ClassVar[str] = "jsonl"
    tasks: ClassVar[tuple[str, ...]] = TASKS
    splits = ("test", "train", "val")

    @property
    def root(self) -> Path:
        """The folder of the pictures."""
        return Path(self.config.images) if self.config.images else self._file.parent

    @property
    def _file(self) -> Path:
        return data_file(self.config.file)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file."""
        return (self._file,)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield its lines."""
        return json_lines(self._file)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make a sample of every region of a record."""
        record = entry.value
        if not isinstance(record, Mapping):
            raise Unusable('a record is a JSON object such as {"image": "a.png", "box": [x1, y1, x2, y2]}')
        if record.get("split", "test") != split:
            return
        image = record["image"]
        if not isinstance(image, str):
            raise Unusable("'image' is no file name")
        regions = _regions_of(record)
        line = entry.place.rpartition(":")[2]
        for number, region in enumerate(regions):
            kind = read_record(region, self.root).kind
            if record.get("task", kind) != task:
                continue
            own = str(record.get("id", line))
            yield StoredSample(
                own if len(regions) == 1 else f"{own}/{number}",
                image,
                _held(region, self.root),
                _references(record),
                {key: value for key, value in record.items() if key not in (*_ABOUT, *_REGIONS)},
                tuple(_held(one, self.root) for one in record.get("candidates", ())),
            )

    def picture(self, image_id: str) -> Path:
        """Return the file of a picture: the key is its name below the folder of pictures."""
        return self.root / image_id


def _regions_of(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the regions of a record; the whole picture where it names none."""
    if "regions" in record:
        regions = record["regions"]
        if not isinstance(regions, list) or not regions:
            raise Unusable("'regions' is no list of regions")
        return regions
    if "region" in record:
        return [record["region"]]
    own = {key: record[key] for key in _REGIONS if key in record}
    return [own or {"whole": True}]


def _held(region: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return the record of a region that needs no other file."""
    return to_record(read_record(region, folder)) if isinstance(region.get("mask"), str) else region


def _references(record: Mapping[str, Any]) -> tuple[str, ...]:
    key = next((key for key in _REFERENCES if key in record), None)
    held = [] if key is None else record[key]
    texts = [held] if isinstance(held, str) else held
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unusable(f"'{key}' is no text and no list of texts")
    return tuple(texts)
