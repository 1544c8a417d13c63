"""Pictures of Open Images without captions, for training that needs pictures alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample
from regionkit.core.data.streams import table
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.captions.fields import plain_name

_TABLES = {
    "train": ("train-images-boxable-with-rotation.csv", "*train-images-with-*.csv", "train-images*.csv"),
    "validation": ("validation-images-with-rotation.csv", "validation-images*.csv"),
    "test": ("test-images-with-rotation.csv", "test-images*.csv"),
}
_ENDING = ".jpg"


class OpenImages(FileDataset):
    """Pictures by their ids: ``train_F/ID.jpg``, F being the first digit of the id, and ``validation/`` or ``test/``.

    Samples have no references. Kuznetsova et al., The Open Images Dataset V4, IJCV 2020.
    """

    name: ClassVar[str] = "open-images"
    tasks: ClassVar[tuple[str, ...]] = ("image",)
    folder: ClassVar[str] = "open-images"
    splits = ("train", "validation", "test")
    places: ClassVar[tuple[str, ...]] = (
        "train_{first}/{id}.jpg", "train/train_{first}/{id}.jpg", "train/{id}.jpg", "validation/{id}.jpg",
        "test/{id}.jpg",
    )  # fmt: skip

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the first digit of an id."""
        return {"first": image_id[:1]}

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the table, or the folders of the pictures, which change whenever a picture comes or goes."""
        if self.config.images == "table":
            return (self.file(*((self.config.table,) if self.config.table else _TABLES[split])),)
        patterns = ("train", "train_?", "train/train_?") if split == "train" else (split,)
        folders = [path for pattern in patterns for path in sorted(self.root.glob(pattern)) if path.is_dir()]
        if not folders:
            raise DataError(
                f"data set '{self.name}' needs the pictures of '{split}' in {self.root / patterns[-1]}, which is not "
                "there",
                f"where to get them: toolkit data list {self.name}",
            )
        return folders

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the ids, in the order of the table, or by name in each folder."""
        sources = self.sources(task, split)
        if self.config.images == "table":
            yield from table(sources[0])
            return
        for folder in sources:
            yield from _pictures(folder)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a picture."""
        if entry.value.get("Subset", split) != split:
            return
        key = plain_name(entry.value["ImageID"], "ImageID")
        yield StoredSample(key, key, {"whole": True}, info={"subset": split})


def _pictures(folder: Path) -> Iterator[Entry]:
    with os.scandir(folder) as files:
        names = sorted(file.name for file in files if file.name.lower().endswith(_ENDING))
    for name in names:
        yield Entry(str(folder / name), {"ImageID": name.removesuffix(_ENDING)})
