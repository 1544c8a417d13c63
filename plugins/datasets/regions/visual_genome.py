"""Regions of Visual Genome, and of those of its pictures that are COCO's."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.contracts import Sample
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.core.errors import DataError
from regionkit.core.json_files import load
from regionkit.plugins.datasets.regions.boxes import four, from_corners, from_xywh, picture_name, text, whole
from regionkit.plugins.datasets.regions.dense_samples import DenseSamples
from regionkit.plugins.datasets.regions.region_files import RegionFiles


class VisualGenome(RegionFiles):
    """Boxes with phrases, version 1.2 (Krishna et al., IJCV 2017), in DenseCap's splits.

    A sample is a region: ``box`` and ``phrase`` ask for its phrase, ``dense`` adds the ground truth of its image and
    ``image_size``, width and height, for mean average precision.
    """

    name: ClassVar[str] = "visual-genome"
    tasks: ClassVar[tuple[str, ...]] = ("box", "phrase", "dense")
    folder: ClassVar[str] = "visual-genome"
    splits = ("test", "val", "train")
    places: ClassVar[tuple[str, ...]] = ("VG_100K_2/{name}", "VG_100K/{name}", "images/{name}")
    #: ControlCap's folder of the version, and whether pictures that are not COCO's are left out.
    release: ClassVar[str] = "vg1.2"
    coco_only: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._pictures: dict[int, Mapping[str, Any]] = {}
        self._taken: set[int] = set()

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the regions with the list of pictures and the splits, or ControlCap's file of the split."""
        if self.config.source == "controlcap":
            here = self.release
            return (self.file(f"controlcap/{here}/{split}.json", f"{here}/{split}.json"),)
        return (
            self.file("region_descriptions.json", "annotations/region_descriptions.json"),
            self.file("image_data.json", "annotations/image_data.json"),
            self.file("info/densecap_splits.json", "densecap_splits.json", "annotations/densecap_splits.json"),
        )

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Return the samples of the first ``limit`` images; those of ``dense`` with the ground truth of their image.

        Raises:
            DataError: There is no such task or split, a file is missing or damaged, or no record can be used.
        """
        found = super().samples(task, split, seed, limit)
        return DenseSamples(found) if task == "dense" else found

    def forget(self) -> None:
        """Drop the list of pictures."""
        self._pictures, self._taken = {}, set()

    def entries(self, task: str, split: str) -> Iterator[Entry | Fault]:
        """Yield region by region: one that cannot be used takes no other with it."""
        files = self.sources(task, split)
        if self.config.source == "controlcap":
            yield from self._read_pictures(files[0], "images", "id")
            yield from json_list(files[0], "annotations")
            return
        yield from self._read_pictures(files[1], "", "image_id")
        self._taken = _split_of(files[2], split)
        for entry in json_list(files[0]):
            yield from _regions_of(entry, self._taken)

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample]:
        """Make a sample of a region, none where its picture belongs to another split."""
        region = entry.value
        number = whole(region, "image_id")
        official = self.config.source == "official"
        if official and number not in self._taken:
            return
        picture = self._pictures.get(number)
        if picture is None:
            raise Unusable(f"its picture {number} is not in the list of pictures")
        if official and self.coco_only and picture.get("coco_id") is None:
            return
        image_id = f"{number}.jpg" if official else picture_name(picture["file_name"])
        size = self.sized(image_id, picture["height"], picture["width"])
        yield StoredSample(
            str(whole(region, "region_id" if official else "id")),
            image_id,
            self._box(region, size),
            (text(region, "phrase" if official else "caption"),),
            {"image_size": list(size)},
        )

    def _read_pictures(self, path: Path, key: str, number: str) -> Iterator[Fault]:
        """Keep what is needed of the list of pictures, and yield those that cannot be found by number."""
        self._pictures = {}
        for entry in json_list(path, key):
            try:
                found = _number_of(entry.value, number)
            except Unusable as error:
                yield Fault(entry.place, error.message)
                continue
            kept = ("height", "width", "coco_id", "file_name")
            self._pictures[found] = {name: entry.value.get(name) for name in kept}

    def _box(self, region: Mapping[str, Any], size: tuple[int, int]) -> dict[str, list[float]]:
        clip = self.config.outside == "clip"
        if self.config.source == "official":
            return from_xywh([region[key] for key in ("x", "y", "width", "height")], size, clip=clip)
        x1, y1, x2, y2 = four(region["bbox"])
        # ControlCap cuts boxes at the border and keeps those of which nothing is left; its evaluation widens them, to
        # beyond the border where they lie on it: here they widen inwards there.
        (x1, x2), (y1, y2) = _widened(x1, x2, size[0]), _widened(y1, y2, size[1])
        return from_corners((x1, y1, x2, y2), size, clip=clip)


def _widened(start: float, end: float, side: int) -> tuple[float, float]:
    """Return the ends of a box along one axis, a pixel apart where they are the same."""
    if start != end:
        return start, end
    return (start - 1, end) if start >= side else (start, end + 1)


class VgCoco(VisualGenome):
    """Regions of the pictures of Visual Genome that are COCO's too (Li et al., AAAI 2019), in DenseCap's splits."""

    name: ClassVar[str] = "vg-coco"
    release: ClassVar[str] = "vgcoco"
    coco_only: ClassVar[bool] = True


def _regions_of(entry: Entry, taken: Container[int]) -> Iterator[Entry]:
    """Yield the regions of a picture's record, each with its number; none where it belongs to another split."""
    record = entry.value
    if not isinstance(record, Mapping) or not isinstance(record.get("regions"), list):
        yield Entry(entry.place, record)
        return
    if type(record.get("id")) is int and record["id"] not in taken:
        return
    for number, region in enumerate(record["regions"]):
        value = {"image_id": record.get("id"), **region} if isinstance(region, Mapping) else region
        yield Entry(f"{entry.place}: regions[{number}]", value)


def _number_of(picture: Any, key: str) -> int:
    """Return the number of a record of a picture.

    Raises:
        Unusable: It has none.
    """
    if not isinstance(picture, Mapping) or key not in picture:
        raise Unusable(f"a picture without '{key}', so that its regions cannot be found")
    return whole(picture, key)


def _split_of(path: Path, split: str) -> set[int]:
    """Return the numbers of the pictures of a split.

    Raises:
        DataError: The file holds no list of numbers under the split's name.
    """
    value = load(path).value
    numbers = value.get(split) if isinstance(value, Mapping) else None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise DataError(
            f"{path}: no list of pictures '{split}' in it", 'it holds {"train": [...], "val": [...], "test": [...]}'
        )
    return set(numbers)
