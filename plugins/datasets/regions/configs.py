"""Options of the data sets of regions, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.data.options import FileOptions


@dataclass(frozen=True)
class VisualGenomeConfig(FileOptions):
    """Which files of Visual Genome are read, and what becomes of boxes that leave their picture.

    Attributes:
        source: ``official`` reads ``region_descriptions.json`` with DenseCap's splits; ``controlcap`` reads the
            files of ControlCap, of COCO's form and one a split: phrases are in lower case and without punctuation,
            those of more than 15 words left out, boxes cut at the picture's border. Patch-ioner's numbers are on these.
        outside: ``fault`` leaves out boxes that leave their picture by more than a pixel, and names them; ``clip`` cuts
            them at the border, as DenseCap and ControlCap do.
    """

    source: Literal["official", "controlcap"] = "official"
    outside: Literal["fault", "clip"] = "fault"


@dataclass(frozen=True)
class _ReferConfig(FileOptions):
    """What all data sets of REFER's form have.

    Attributes:
        text: Which form of an expression is taken: ``raw``, as it was written, or ``sent``, cleaned and in lower case.
        proposals: Candidates of the task ``ris``. Empty: the annotated objects of the picture. Otherwise a folder,
            relative to the data set's, with a folder of masks a picture, ``PICTURE/*.png``, named as its file without
            the ending or by its number, such as SAM writes them: at most 20 are taken, in the order of their names,
            none that covers less than 4 % of the picture or most of its border.
    """

    text: Literal["raw", "sent"] = "raw"
    proposals: str = ""


@dataclass(frozen=True)
class RefcocoConfig(_ReferConfig):
    """Which split of RefCOCO.

    Attributes:
        split_by: Whose splits: ``unc`` has val, testA (people) and testB (other things), ``google`` val and test.
    """

    split_by: Literal["unc", "google"] = "unc"


@dataclass(frozen=True)
class RefcocoPlusConfig(_ReferConfig):
    """Options of RefCOCO+, whose splits are those of UNC."""


@dataclass(frozen=True)
class RefcocogConfig(_ReferConfig):
    """Which split of RefCOCOg.

    Attributes:
        split_by: Whose splits: ``umd`` has val and test, with pictures of their own; ``google`` has val alone, which
            shares pictures with train, and is what zero-shot referring segmentation reports as val(G).
    """

    split_by: Literal["umd", "google"] = "umd"


@dataclass(frozen=True)
class OspreyConfig(FileOptions):
    """Options of the objects of LVIS and PACO that Osprey draws."""


@dataclass(frozen=True)
class RefL4Config(FileOptions):
    """Which part of Ref-L4.

    Attributes:
        part: Pictures of which source: ``objects365``, as papers on captions report; ``coco``, the corrected
            expressions of RefCOCO, + and g; or ``all``.
    """

    part: Literal["objects365", "coco", "all"] = "objects365"


@dataclass(frozen=True)
class DlcBenchConfig(FileOptions):
    """Options of DLC-Bench."""


@dataclass(frozen=True)
class Flickr30kPhrasesConfig(FileOptions):
    """What becomes of phrases that mean several boxes.

    Attributes:
        several: ``box-set`` takes all boxes of such a phrase as one region, ``hull`` the box around them, ``leave-out``
            takes phrases with one box alone. Papers do not say which they take.
    """

    several: Literal["box-set", "hull", "leave-out"] = "box-set"
