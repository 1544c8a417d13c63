"""The base of readers of regions: sizes are checked against the picture, look-up tables go once they are used."""

from __future__ import annotations

import re
from abc import abstractmethod
from pathlib import PurePosixPath
from typing import Any

from regionkit.core.data.files import FileDataset
from regionkit.core.data.index import Index
from regionkit.core.data.masks import checked_size
from regionkit.core.data.records import Unusable

#: Folders in which COCO's pictures lie, in the data set's folder or beside it.
COCO_PLACES = tuple(
    f"{folder}{split}/{name}"
    for split, name in (
        ("train2014", "COCO_train2014_{coco}.jpg"),
        ("val2014", "COCO_val2014_{coco}.jpg"),
        ("train2017", "{coco}.jpg"),
        ("val2017", "{coco}.jpg"),
    )
    for folder in ("", "images/", "../coco/", "../coco/images/")
)
_NUMBER = re.compile(r"([0-9]{1,18})\.[A-Za-z]+$")


class RegionFiles(FileDataset):
    """A data set of regions whose pictures are keyed by their file names.

    The patterns of ``places`` may use ``name``, the file name without folders, and ``coco``, the number at its end with
    the twelve digits that COCO writes.
    """

    def index(self, task: str, split: str) -> Index:
        """Return the samples of a task and split; see :meth:`FileDataset.index`. Look-up tables are dropped."""
        try:
            return super().index(task, split)
        finally:
            self.forget()

    @abstractmethod
    def forget(self) -> None:
        """Drop what was only needed to make an index."""

    def names(self, image_id: str) -> dict[str, Any]:
        """Return ``name`` and ``coco`` of a picture."""
        name = PurePosixPath(image_id).name
        found = _NUMBER.search(name)
        return {"name": name, "coco": found[1].zfill(12)[-12:] if found else PurePosixPath(name).stem}

    def sized(self, image_id: str, height: Any, width: Any) -> tuple[int, int]:
        """Return width and height of a picture, which are what the record says.

        Raises:
            Unusable: They are another size than that of its file, so that its regions are in other pixels.
            PictureMissing: The picture is not there.
        """
        rows, columns = checked_size(height, width)
        found = self.size(image_id)
        if found != (columns, rows):
            raise Unusable(
                f"its picture '{image_id}' has {found[0]} x {found[1]} pixels, and should have {columns} x {rows}"
            )
        return columns, rows
