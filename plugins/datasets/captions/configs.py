"""Options of data sets of captions, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.data.options import FileOptions


@dataclass(frozen=True)
class CocoConfig(FileOptions):
    """COCO captions.

    Attributes:
        source: Where captions and splits come from: ``karpathy`` is ``dataset_coco.json``; ``coco`` is COCO's own
            annotation files with a list of the pictures of Karpathy's split; ``auto`` takes the first that is there.
            The splits of COCO itself (``val2014`` and so on) always come from COCO's files.
        restval: Whether ``train`` has the 30,504 pictures that Karpathy calls restval as well, as papers train with.
    """

    source: Literal["auto", "karpathy", "coco"] = "auto"
    restval: bool = True


@dataclass(frozen=True)
class Flickr30kConfig(FileOptions):
    """Flickr30k captions.

    Attributes:
        source: ``karpathy`` is ``dataset_flickr30k.json``; ``coco`` is a file of COCO's form for each split, such as
            ``flickr30k_test.json``; ``auto`` takes the first that is there.
    """

    source: Literal["auto", "karpathy", "coco"] = "auto"


@dataclass(frozen=True)
class EntitiesConfig(FileOptions):
    """Sets of regions with captions; it has no options but those of all data sets of files."""


@dataclass(frozen=True)
class NocapsConfig(FileOptions):
    """NoCaps.

    Attributes:
        domain: Pictures of one domain alone, or ``all``.
    """

    domain: Literal["all", "in-domain", "near-domain", "out-domain"] = "all"


@dataclass(frozen=True)
class Cc3mConfig(FileOptions):
    """Conceptual Captions 3M.

    Attributes:
        pictures: How the downloaded pictures are called, ``SPLIT/NAME.jpg`` each: ``row`` is the row of the table,
            counted from 0, in nine digits, as ``img2dataset`` calls them, in folders of 10,000 or in one; ``sha256`` is
            the hash of the address, in hexadecimal digits.
        only_present: Leave out rows whose picture is not there. Many addresses of the table are dead by now.
    """

    pictures: Literal["row", "sha256"] = "row"
    only_present: bool = True


@dataclass(frozen=True)
class OpenImagesConfig(FileOptions):
    """Pictures of Open Images, without captions.

    Attributes:
        images: ``folder`` takes the pictures that are there; ``table`` those of the official table, or of another one
            with a column ``ImageID``.
        table: A table below the data set's folder; empty for the official one of the split.
    """

    images: Literal["folder", "table"] = "folder"
    table: str = ""

    def __post_init__(self) -> None:
        if self.table and self.images != "table":
            raise ValueError("table: it is read with images: table alone")
        if self.table.startswith(("/", "~")) or ".." in self.table:
            raise ValueError(f"table: {self.table!r} is no path below the data set's folder")
