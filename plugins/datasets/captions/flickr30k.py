"""Flickr30k captions: five for each picture, in Karpathy's splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.plugins.datasets.captions.fields import stem
from regionkit.plugins.datasets.captions.karpathy import CaptionedPictures

#: Where the pictures of Flickr30k are, below its own folder.
FLICKR_PLACES = ("flickr30k-images/{id}.jpg", "flickr30k_images/{id}.jpg", "images/{id}.jpg", "Images/{id}.jpg")


class Flickr30k(CaptionedPictures):
    """Captions of Flickr30k, all of a picture as references of one sample; pictures are known by their numbers.

    Young et al., From image descriptions to visual denotations, TACL 2014; splits of Karpathy and Fei-Fei, CVPR 2015.
    """

    name: ClassVar[str] = "flickr30k"
    folder: ClassVar[str] = "flickr30k"
    splits = ("test", "val", "train")
    places: ClassVar[tuple[str, ...]] = FLICKR_PLACES
    karpathy: ClassVar[str] = "dataset_flickr30k.json"

    def key(self, record: Mapping[str, Any], name: Any) -> str:
        """Return the name of a picture without its ending; numbers count the pictures of a file, no more."""
        return stem(name, "file name")

    def picture_list(self, split: str) -> Path:
        """Return the file of the split."""
        return self.file(f"flickr30k_{split}.json", f"annotations/flickr30k_{split}.json")

    def caption_files(self, split: str) -> Sequence[Path]:
        """Return the same file: it holds pictures and captions."""
        return (self.picture_list(split),)
