"""What captions are judged against: references by id, records with more than references, COCO's annotation files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.json_files import Loaded, load
from regionkit.core.region_io import read_record
from regionkit.core.regions import Region, WholeImage
from regionkit.plugins.scoring.predictions import RECORD_KEYS, has_box, id_of, records, rows_of
from regionkit.plugins.scoring.words import described, short

_FORMS = 'write {"ID": ["reference", ...], ...}, or give a COCO file with "annotations": [{"image_id", "caption"}]'
#: Keys of a record that are no knowledge for metrics.
_ABOUT = (*RECORD_KEYS, "id", "image_id", "image", "region")
#: Where dense captioning finds the boxes and captions of an image.
TRUTH = "ground_truth"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class References:
    """What a file of references holds.

    Attributes:
        name: How messages call the file.
        samples: What is known of each id.
        refused: Ids whose value is none, and why.
        pictures: File names of pictures by image id, where the file says them.
        regions: What the file says of regions, by id; metrics that look at pictures look there.
        made_from: Fingerprint of the samples of a data set; empty for a file.
    """

    name: str
    samples: dict[str, Sample] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    regions: dict[str, Any] = field(default_factory=dict)
    made_from: str = ""

    def digest(self) -> str:
        """Return 12 digits that change whenever any id, reference or other knowledge does; their order has no say."""
        found = hashlib.sha256(self.made_from.encode())
        for name in sorted(self.samples):
            sample = self.samples[name]
            known = [name, sample.image_id, sample.references, dict(sample.info), self.regions.get(name)]
            found.update(json.dumps(known, sort_keys=True).encode() + b"\n")
        return found.hexdigest()[:12]


def read_references(path: Path) -> References:
    """Read a file of references; see :func:`references_of`."""
    return references_of(load(path), path.parent)


def references_of(loaded: Loaded, folder: Path = Path()) -> References:
    """Take references out of what a file holds.

    Args:
        loaded: The file.
        folder: Where masks that regions name are looked up.

    Raises:
        DataError: It is of another form, or an id stands in two full records.
    """
    found, value = References(loaded.name), loaded.value
    rows = rows_of(value)
    if rows is not None:
        _take_rows(loaded, rows, found, folder)
        if isinstance(value, Mapping) and isinstance(value.get("images"), list):
            _take_images([one for one in value["images"] if isinstance(one, Mapping) and "id" in one], found)
    elif isinstance(value, Mapping):
        for name, held in value.items():
            _take(name, held, found, folder)
    else:
        raise DataError(f"{loaded.name}: expected references by id, found {described(value)}", _FORMS)
    if not any(TRUTH in sample.info for sample in found.samples.values()):
        for name in [name for name, sample in found.samples.items() if not (sample.references or sample.info)]:
            del found.samples[name]
            found.refused[name] = "it has no reference"
    else:
        # In a file of boxes an empty list is an image without any.
        for name, sample in found.samples.items():
            if not sample.references and TRUTH not in sample.info:
                found.samples[name] = replace(sample, info={**sample.info, TRUTH: ()})
    if not found.samples and not found.refused:
        raise DataError(f"{loaded.name}: there is no reference in it", _FORMS)
    return found


def _take_images(images: Sequence[Mapping[str, Any]], found: References) -> None:
    """Take what the ``images`` of a COCO file say of pictures: names, and for boxes the sizes and who has none."""
    boxes = any(TRUTH in sample.info for sample in found.samples.values())
    for image in images:
        name = str(image["id"])
        if isinstance(image.get("file_name"), str):
            found.pictures[name] = image["file_name"]
        if not boxes:
            continue
        size = (image.get("width"), image.get("height"))
        known = {"image_size": size} if all(isinstance(one, int) for one in size) else {}
        sample = found.samples.get(name, Sample(name, name, WholeImage(), (), {TRUTH: ()}))
        if name not in found.refused:
            found.samples[name] = replace(sample, info={**sample.info, **known})


def _take_rows(loaded: Loaded, rows: Sequence[Any], found: References, folder: Path) -> None:
    """Take full records as they are, and gather single captions and boxes by their ids."""
    gathered: dict[str, list[Any]] = {}
    full: dict[str, int] = {}
    for index, name, record in records(loaded, rows):
        if "caption" in record or has_box(record):
            gathered.setdefault(name, []).append(record if has_box(record) else record["caption"])
        elif name in full:
            raise DataError(f"{loaded.place(index)}: '{short(name)}' has a record already", "keep one record an id")
        else:
            full[name] = index
            _take(name, record, found, folder)
    for name, held in gathered.items():
        if name in full:
            raise DataError(f"{loaded.place(full[name])}: '{short(name)}' has single captions in the file as well")
        _take(name, held, found, folder)


def _take(name: str, value: Any, found: References, folder: Path) -> None:
    """Put the value of an id where it belongs."""
    try:
        found.samples[name] = _sample(name, value, found, folder)
    except RegionkitError as error:
        found.refused[name] = error.message


def _sample(name: str, value: Any, found: References, folder: Path) -> Sample:
    """Read what is known of an id.

    Raises:
        RegionkitError: A reference is none, or a region cannot be read.
    """
    if not isinstance(value, Mapping):
        if isinstance(value, list) and value and has_box(value[0]):
            return Sample(name, name, WholeImage(), (), {TRUTH: tuple(value)})
        return Sample(name, name, WholeImage(), _texts(value), _NOTHING)
    image, picture = _image_of(value, name), value.get("image")
    if isinstance(picture, str):
        found.pictures[image] = picture
    key = next((key for key in RECORD_KEYS if key in value), None)
    held = () if key is None else value[key]
    region: Region = WholeImage()
    if "region" in value:
        region, found.regions[name] = read_record(value["region"], folder), value["region"]
    info = {other: known for other, known in value.items() if other not in _ABOUT}
    sample = Sample(name, image, region, (), info or _NOTHING)
    if isinstance(held, list) and held and has_box(held[0]):
        return replace(sample, info={**info, TRUTH: tuple(held)})
    return replace(sample, references=_texts(held) if key is not None else ())


def _image_of(record: Mapping[str, Any], name: str) -> str:
    return id_of({"image_id": record["image_id"]}, name) if "image_id" in record else name


def _texts(value: Any) -> tuple[str, ...]:
    """Return reference captions: of a text, or of a list of texts or of records with a caption.

    Raises:
        DataError: One of them is no text.
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise DataError(f"{described(value)} where references belong")
    texts = []
    for at, one in enumerate(value):
        text = one.get("caption") if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            raise DataError(f"reference {at + 1} is {described(one)}, no text")
        texts.append(text)
    return tuple(texts)
