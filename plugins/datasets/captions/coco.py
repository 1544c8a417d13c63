"""COCO captions: five for each picture, in Karpathy's splits or in those of COCO itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.plugins.datasets.captions.karpathy import CaptionedPictures, coco_id

#: Where the pictures of COCO are, below its own folder.
COCO_PLACES = (
    "val2014/COCO_val2014_{number:012d}.jpg",
    "train2014/COCO_train2014_{number:012d}.jpg",
    "val2017/{number:012d}.jpg",
    "train2017/{number:012d}.jpg",
)
_OFFICIAL = ("val2014", "train2014", "val2017", "train2017")


class Coco(CaptionedPictures):
    """Captions of COCO, all of a picture as references of one sample; ``info`` has the picture's ``file_name``.

    Chen et al., Microsoft COCO Captions, 2015; splits of Karpathy and Fei-Fei, CVPR 2015.
    """

    name: ClassVar[str] = "coco"
    folder: ClassVar[str] = "coco"
    splits = ("test", "val", "train", *_OFFICIAL)
    places: ClassVar[tuple[str, ...]] = COCO_PLACES
    karpathy: ClassVar[str] = "dataset_coco.json"

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the number of a picture."""
        return {"number": int(image_id)}

    def key(self, record: Mapping[str, Any], name: Any) -> str:
        """Return the number of a picture as text."""
        return str(coco_id(record))

    def words(self, split: str) -> tuple[str, ...]:
        """Return the split, with restval for the training pictures where that is asked for."""
        return ("train", "restval") if split == "train" and self.config.restval else (split,)

    def picture_list(self, split: str) -> Path:
        """Return the list of Karpathy's pictures, or COCO's own file."""
        if split in _OFFICIAL:
            return self._annotations(split)
        return self.file(f"coco-karpathy-{split}-images.json", f"coco-{split}.json")

    def caption_files(self, split: str) -> Sequence[Path]:
        """Return COCO's files; pictures of Karpathy's validation and test split are of val2014."""
        if split in _OFFICIAL:
            return (self._annotations(split),)
        years = ("train2014", "val2014") if split == "train" else ("val2014",)
        return tuple(self._annotations(year) for year in years)

    def _annotations(self, year: str) -> Path:
        return self.file(f"annotations/captions_{year}.json", f"captions_{year}.json")
