"""Conceptual Captions 3M: a table of captions and addresses, and the pictures that were downloaded from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import table
from regionkit.plugins.datasets.captions.fields import one_line

_TABLES = {"val": "Validation_GCC-1.1.0-Validation.tsv", "train": "Train_GCC-training.tsv"}
#: Pictures in one folder, as img2dataset puts them.
_SHARD = 10_000


class Cc3m(FileDataset):
    """Captions with one picture each: a table of captions and addresses, without a head.

    A picture is known by ``SPLIT/NAME``; see :class:`~regionkit.plugins.datasets.captions.configs.Cc3mConfig` for its
    name. ``info["url"]`` is its address. The released captions stand for names of persons with ``<PERSON>``, and stay
    as they are.

    Sharma et al., Conceptual Captions, ACL 2018.
    """

    name: ClassVar[str] = "cc3m"
    tasks: ClassVar[tuple[str, ...]] = ("image",)
    folder: ClassVar[str] = "cc3m"
    splits = ("val", "train")
    places: ClassVar[tuple[str, ...]] = ("{id}.jpg", "{split}/{shard}/{stem}.jpg", "{id}.png")

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the split, the folder of ten thousand pictures, and the name."""
        split, _, stem = image_id.partition("/")
        shard = int(stem) // _SHARD if self.config.pictures == "row" else 0
        return {"split": split, "stem": stem, "shard": f"{shard:05d}"}

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the table of the split."""
        return (self.file(_TABLES[split]),)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the rows."""
        return table(self.sources(task, split)[0], ("caption", "url"), "\t")

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a row."""
        caption, url = one_line(entry.value["caption"]), entry.value["url"].strip()
        if not url:
            raise Unusable("its address is empty")
        row = int(entry.place.rpartition(":")[2]) - 1
        by_row = self.config.pictures == "row"
        name = f"{row:09d}" if by_row else hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        image_id = f"{split}/{name}"
        if self.config.only_present:
            self.picture(image_id)
        yield StoredSample(f"{row:09d}", image_id, {"whole": True}, (caption,), {"url": url})
