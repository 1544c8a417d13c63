"""Which pictures a benchmark is made of: lists of ids in the forms that splits are handed round in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from regionkit.core.data.records import Unusable
from regionkit.core.data.streams import text_lines
from regionkit.core.errors import DataError
from regionkit.core.json_files import load
from regionkit.plugins.datasets.narratives.release import checked_image_id

#: Splits of Karpathy's file that a split is made of.
_KARPATHY = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
_FORM = (
    'a list of pictures is an id a line, or JSON {"images": [{"id": 139}, ...]}, with "split" as in Karpathy\'s file'
)


def picture_ids(path: Path, source: str, split: str) -> frozenset[str]:
    """Return the ids of the pictures of a split, as narratives write them.

    Args:
        path: Text with an id a line; Karpathy's ``dataset_coco.json`` or ``dataset_flickr30k.json``, of which the split
            is taken; or COCO's form, of which all are.
        source: ``coco`` or ``flickr30k``.
        split: ``train`` (with Karpathy's ``restval``), ``val`` or ``test``.

    Raises:
        DataError: The file cannot be read, an entry has no id, or none is of that split.
    """
    found = set()
    for place, value in _listed(path, source, split):
        try:
            found.add(checked_image_id(source, value))
        except Unusable as error:
            raise DataError(f"{place}: {error.message}", _FORM) from None
    if not found:
        raise DataError(f"{path}: there is no picture of the split '{split}' in this list", _FORM)
    return frozenset(found)


def _listed(path: Path, source: str, split: str) -> list[tuple[str, Any]]:
    """Return places and ids."""
    if path.suffix.lower() == ".txt":
        return [(f"{path}:{number}", line.strip()) for number, line in text_lines(path)]
    value = load(path).value
    images = value.get("images") if isinstance(value, Mapping) else None
    if not isinstance(images, list):
        raise DataError(f"{path}: there are no images in this file", _FORM)
    found = []
    for number, image in enumerate(images):
        place = f"{path}: images[{number}]"
        if not isinstance(image, Mapping):
            raise DataError(f"{place} is no object", _FORM)
        if "split" not in image or image["split"] in _KARPATHY[split]:
            found.append((place, _id(image, source)))
    return found


def _id(image: Mapping[str, Any], source: str) -> Any:
    if source == "coco":
        return image.get("cocoid", image.get("id"))
    name = image.get("filename", image.get("file_name", image.get("id")))
    return PurePosixPath(name).stem if isinstance(name, str) else name
