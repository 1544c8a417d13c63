"""NoCaps: pictures of Open Images with objects that COCO has not, ten captions each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.plugins.datasets.captions.fields import CaptionTable, known_ids, mapping, plain_name

_FILES = {"val": "nocaps_val_4500_captions.json", "test": "nocaps_test_image_info.json"}
_DOMAINS = ("in-domain", "near-domain", "out-domain")


class Nocaps(FileDataset):
    """Pictures by their Open Images ids; ``info["domain"]`` says how far from COCO each is.

    The captions of the split ``test`` are held back by the authors: its samples have no references.

    Agrawal et al., nocaps: novel object captioning at scale, ICCV 2019.
    """

    name: ClassVar[str] = "nocaps"
    tasks: ClassVar[tuple[str, ...]] = ("image",)
    folder: ClassVar[str] = "nocaps"
    splits = ("val", "test")
    places: ClassVar[tuple[str, ...]] = (
        "images/{id}.jpg", "validation/{id}.jpg", "test/{id}.jpg", "val/{id}.jpg",
        "../open-images/validation/{id}.jpg", "../open-images/test/{id}.jpg",
    )  # fmt: skip

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of the split."""
        return (self.file(_FILES[split], f"annotations/{_FILES[split]}"),)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the pictures with their captions."""
        (path,) = self.sources(task, split)
        pictures = list(json_list(path, "images"))
        if split == "test":
            yield from (Entry(entry.place, (entry.value, ())) for entry in pictures)
            return
        table = CaptionTable([path], known_ids(pictures))
        yield from table.faults
        for entry in pictures:
            key = entry.value.get("id") if isinstance(entry.value, dict) else None
            yield Entry(entry.place, (entry.value, table.take(key) if isinstance(key, int) else ()))

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a picture."""
        value, captions = entry.value
        record = mapping(value)
        domain = record["domain"] if split == "val" else record.get("domain", "")
        if domain not in _DOMAINS and not (split == "test" and not domain):
            raise Unusable(f"its domain is none of {', '.join(_DOMAINS)}")
        if self.config.domain not in ("all", domain):
            return
        if split == "val" and not captions:
            raise Unusable("it has no caption")
        key = plain_name(record["open_images_id"], "open_images_id")
        info = {"file_name": record["file_name"], **({"domain": domain} if domain else {})}
        yield StoredSample(key, key, {"whole": True}, captions, info)
