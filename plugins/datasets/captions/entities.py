"""Captions of sets of regions: COCO Entities and Flickr30k Entities, as region-set captioning is tested on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_object
from regionkit.plugins.datasets.captions.coco import COCO_PLACES
from regionkit.plugins.datasets.captions.fields import one_line, plain_name
from regionkit.plugins.datasets.captions.flickr30k import FLICKR_PLACES


class _Entities(FileDataset):
    """One file: picture -> captions, one a line -> boxes ``x1, y1, x2, y2`` in pixels.

    A sample is one set of boxes, and its captions are its references. A box that stands twice in a set is kept: it
    counts twice where a paper weighs patches by how many boxes hold them (Patch-ioner, Eq. 1), and
    ``info["repeated_boxes"]`` says how many do. A set without a box is left out and named.
    """

    tasks: ClassVar[tuple[str, ...]] = ("box-set",)
    splits = ("test",)
    annotations: ClassVar[str]

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file."""
        return (self.file(self.annotations),)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield every set of boxes of every picture."""
        (path,) = self.sources(task, split)
        for image_id, entry in json_object(path):
            if not isinstance(entry.value, Mapping):
                yield Fault(entry.place, "it is no JSON object of captions with boxes")
                continue
            for number, (captions, boxes) in enumerate(entry.value.items()):
                yield Entry(f"{entry.place}, set {number + 1}", (image_id, number, captions, boxes))

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a set of boxes."""
        image_id, number, captions, boxes = entry.value
        if not isinstance(boxes, list):
            raise Unusable("its boxes are no list")
        if not boxes:
            raise Unusable("it has no box, so there is nothing to caption")
        references = tuple(one_line(line) for line in captions.split("\n") if line.strip())
        if not references:
            raise Unusable("it has no caption")
        repeated = len(boxes) - len({tuple(box) for box in boxes})
        key = self.key(image_id)
        yield StoredSample(f"{key}/{number}", key, {"boxes": boxes}, references, {"repeated_boxes": repeated})

    def key(self, image_id: str) -> str:
        """Return the key of a picture."""
        return plain_name(image_id, "picture")


class CocoEntities(_Entities):
    """COCO Entities, test: 6,617 sets of boxes on 3,569 pictures of COCO val2014.

    Cornia et al., Show, Control and Tell, CVPR 2019; in the form that Patch-ioner tests on.
    """

    name: ClassVar[str] = "coco-entities"
    folder: ClassVar[str] = "coco-entities"
    annotations: ClassVar[str] = "coco_entities_test.json"
    places: ClassVar[tuple[str, ...]] = (*(f"../coco/{place}" for place in COCO_PLACES), *COCO_PLACES)

    def key(self, image_id: str) -> str:
        """Return the number of a picture as text."""
        if not (image_id.isascii() and image_id.isdigit() and len(image_id) <= 12):
            raise Unusable("its picture is no number of COCO")
        return str(int(image_id))

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the number of a picture."""
        return {"number": int(image_id)}


class Flickr30kEntities(_Entities):
    """Flickr30k Entities, test: 3,968 sets of boxes on 1,000 pictures, of which 22 are without a box.

    Plummer et al., Flickr30k Entities, ICCV 2015; in the form that Patch-ioner tests on. 484 sets hold a box twice.
    """

    name: ClassVar[str] = "flickr30k-entities"
    folder: ClassVar[str] = "flickr30k-entities"
    annotations: ClassVar[str] = "flickr30k_entities_test.json"
    places: ClassVar[tuple[str, ...]] = (*(f"../flickr30k/{place}" for place in FLICKR_PLACES), *FLICKR_PLACES)
