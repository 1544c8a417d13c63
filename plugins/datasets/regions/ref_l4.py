"""Ref-L4: boxes with long expressions, of Objects365 and COCO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_lines, json_list, parquet_rows
from regionkit.plugins.datasets.regions.boxes import from_xywh, picture_name, text
from regionkit.plugins.datasets.regions.region_files import COCO_PLACES, RegionFiles


class RefL4(RegionFiles):
    """Boxes with expressions of 24 words on average (Chen et al., arXiv 2406.16866).

    The release is Parquet (extra ``parquet``), rows of ``file_name``, ``height``, ``width``, ``caption`` and ``bbox``,
    which is corner and size. The same rows are read as JSON, a list or one a line.
    """

    name: ClassVar[str] = "ref-l4"
    tasks: ClassVar[tuple[str, ...]] = ("detail", "box")
    folder: ClassVar[str] = "ref-l4"
    splits = ("test", "val")
    places: ClassVar[tuple[str, ...]] = ("images/{id}", "{id}", "images/{name}", *COCO_PLACES)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the rows of a split.

        Raises:
            DataError: They are not there.
        """
        ends = ("parquet", "jsonl", "json", "jsonl.gz", "json.gz")
        return (self.file(*[f"{folder}ref-l4-{split}.{end}" for end in ends for folder in ("", "data/")]),)

    def forget(self) -> None:
        """Nothing is kept."""

    def entries(self, task: str, split: str) -> Iterator[Entry | Fault]:
        """Yield row by row."""
        (path,) = self.sources(task, split)
        if path.suffix == ".parquet":
            yield from parquet_rows(path)
        else:
            yield from json_lines(path) if ".jsonl" in path.name else json_list(path)

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample]:
        """Make a sample of a row, none where it is of another split or source."""
        row = entry.value
        if not isinstance(row, Mapping):
            raise Unusable("a row is an object with 'file_name', 'height', 'width', 'caption' and 'bbox'")
        image_id = picture_name(row["file_name"])
        source = "objects365" if "objects365" in image_id.lower() else "coco"
        if row.get("split", split) != split or self.config.part not in (source, "all"):
            return
        size = self.sized(image_id, row["height"], row["width"])
        caption = text(row, "caption")
        own = row.get("id", entry.place.rpartition(":")[2].removeprefix(" record "))
        if isinstance(own, bool) or not isinstance(own, (str, int)):
            raise Unusable("its 'id' is neither a number nor a text")
        info = {"source": source, "image_size": list(size)}
        yield StoredSample(str(own), image_id, from_xywh(row["bbox"], size), (caption,), info)
