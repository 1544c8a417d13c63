"""Objects of LVIS and PACO with their categories, as drawn for the open-class recognition of Osprey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from regionkit.core.data.masks import mask_record
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.plugins.datasets.regions.boxes import picture_name, text
from regionkit.plugins.datasets.regions.region_files import COCO_PLACES, RegionFiles


class Lvis(RegionFiles):
    """Objects of 1,000 pictures of LVIS (Gupta et al., CVPR 2019; Yuan et al., Osprey, CVPR 2024).

    A record is a picture with ``categories`` and ``annotations``, one of each an object. The reference of an object is
    its category as the file spells it; task and metric clean it.
    """

    name: ClassVar[str] = "lvis"
    tasks: ClassVar[tuple[str, ...]] = ("keyword", "mask")
    folder: ClassVar[str] = "osprey"
    splits = ("val",)
    places: ClassVar[tuple[str, ...]] = ("{id}", "images/{id}", "../coco/{id}", *COCO_PLACES)
    own: ClassVar[str] = "lvis_val_1k_category.json"

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file."""
        return (self.file(self.own),)

    def forget(self) -> None:
        """Nothing is kept."""

    def entries(self, task: str, split: str) -> Iterator[Entry | Fault]:
        """Yield object by object."""
        for number, entry in enumerate(json_list(self.sources(task, split)[0])):
            record = entry.value
            if not isinstance(record, Mapping):
                yield Fault(entry.place, "a record is an object with 'file_name', 'categories' and 'annotations'")
                continue
            categories, annotations = record.get("categories"), record.get("annotations")
            if not isinstance(categories, list) or not isinstance(annotations, list):
                yield Fault(entry.place, "it has no lists 'categories' and 'annotations'")
                continue
            if len(categories) != len(annotations):
                counts = f"{len(categories)} categories and {len(annotations)} annotations"
                yield Fault(entry.place, f"it has {counts}, so that which belongs to which is not known")
                continue
            for at in range(len(annotations)):
                yield Entry(f"{entry.place}: annotations[{at}]", (record, number, at))

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample]:
        """Make a sample of an object."""
        record, number, at = entry.value
        annotation = record["annotations"][at]
        if not isinstance(annotation, Mapping):
            raise Unusable("an annotation is an object with a 'segmentation'")
        category = text({"category": record["categories"][at]}, "category")
        image_id = picture_name(record["file_name"])
        width, height = self.sized(image_id, record["height"], record["width"])
        region = mask_record(annotation["segmentation"], height, width)
        yield StoredSample(f"{number}/{at}", image_id, region, (category,), {"category": category})


class Paco(Lvis):
    """Objects and parts of 1,000 pictures of PACO (Ramanathan et al., CVPR 2023), ``category:part`` for parts."""

    name: ClassVar[str] = "paco"
    own: ClassVar[str] = "paco_val_1k_category.json"
