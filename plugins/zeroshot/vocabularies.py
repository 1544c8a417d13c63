"""Words that may be entities: vocabularies that come with the toolkit, and files of words."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regionkit.core.data.places import data_file
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.language.options import FILE

#: The 80 categories of COCO, in alphabetical order, as the released code brings any vocabulary into.
COCO: tuple[str, ...] = (
    "airplane", "apple", "backpack", "banana", "baseball bat", "baseball glove", "bear", "bed", "bench", "bicycle",
    "bird", "boat", "book", "bottle", "bowl", "broccoli", "bus", "cake", "car", "carrot", "cat", "cell phone", "chair",
    "clock", "couch", "cow", "cup", "dining table", "dog", "donut", "elephant", "fire hydrant", "fork", "frisbee",
    "giraffe", "hair drier", "handbag", "horse", "hot dog", "keyboard", "kite", "knife", "laptop", "microwave",
    "motorcycle", "mouse", "orange", "oven", "parking meter", "person", "pizza", "potted plant", "refrigerator",
    "remote", "sandwich", "scissors", "sheep", "sink", "skateboard", "skis", "snowboard", "spoon", "sports ball",
    "stop sign", "suitcase", "surfboard", "teddy bear", "tennis racket", "tie", "toaster", "toilet", "toothbrush",
    "traffic light", "train", "truck", "tv", "umbrella", "vase", "wine glass", "zebra",
)  # fmt: skip
#: The nouns of the mini-world, in alphabetical order.
MINI: tuple[str, ...] = (
    "backpack", "ball", "balloon", "banana", "bear", "bee", "bell", "bicycle", "boat", "book", "bus", "butterfly",
    "cactus", "cake", "cap", "car", "carrot", "cat", "clock", "cow", "crab", "dog", "donut", "dress", "duck",
    "elephant", "flamingo", "fox", "frog", "guitar", "hat", "heart", "horse", "house", "key", "ladybug", "lemon",
    "lion", "monkey", "mushroom", "octopus", "owl", "panda", "parrot", "pear", "penguin", "pig", "pineapple", "pizza",
    "plane", "scooter", "shark", "sheep", "shoe", "snail", "snake", "strawberry", "tractor", "tree", "truck", "turtle",
    "umbrella", "watermelon", "zebra",
)  # fmt: skip
_SHIPPED = {"auto": COCO, "coco": COCO, "mini": MINI}
#: Where the words of other vocabularies stand in the files of their releases.
_RELEASED = {
    "visual_genome": "all_objects_attributes_relationships.pickle, of ViECap's release",
    "open_image": "oidv7-class-descriptions-boxable.csv, of Open Images",
    "vinvl_vg": "VG-SGG-dicts-vgoi6-clipped.json, of VinVL",
    "vinvl_vgoi": "vgcocooiobjects_v1_class2ind.json, of VinVL",
}
#: Keys under which the words lie, in files that hold more: Visual Genome's joint list of objects, VinVL's counts.
_INSIDE = ("objects", "joint", "object_count", "categories", "words")
_FORMS = "a vocabulary is one word a line (.txt), JSON (.json), a table (.csv), or a pickle of a release (.pickle)"


def read_vocabulary(name: str) -> tuple[str, ...]:
    """Return the words of a vocabulary in lower case, in alphabetical order, each once.

    Args:
        name: ``auto`` (which is ``coco``), ``coco``, ``mini``, or ``file:PATH``, relative to the working folder, then
            to $REGIONKIT_DATA.

    Raises:
        RegionkitError: The vocabulary is known by name alone, and its words are a file that its user has.
        DataError: The file is missing, damaged, or holds no words.
    """
    if name in _SHIPPED:
        return _SHIPPED[name]
    if name in _RELEASED:
        raise RegionkitError(
            f"the words of vocabulary '{name}' do not come with the toolkit",
            f"name their file: vocabulary: file:PATH ({_RELEASED[name]})",
        )
    return words_of(name)


def words_of(name: str) -> tuple[str, ...]:
    """Read the words of ``file:PATH``; raises as :func:`read_vocabulary`."""
    path = data_file(name.removeprefix(FILE))
    try:
        words = _cleaned(_listed(_read(path)))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(
            f"{path}: the vocabulary cannot be read: {' '.join(str(error).split())[:200]}", _FORMS
        ) from None
    if not words:
        raise DataError(f"{path}: there are no words in this vocabulary", _FORMS)
    return words


def _read(path: Path) -> Any:
    if path.suffix in (".pickle", ".pkl"):
        from regionkit.core.unpickling import plain, read_pickle  # torch's types

        return plain(read_pickle(path), path)
    text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the first word
    if "\0" in text:
        raise ValueError("it holds a character 0; if it is UTF-16, convert it: iconv -f utf-16 -t utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".csv":
        rows = [row for row in csv.reader(text.splitlines()) if row]
        heads = rows[0] if rows else []
        column = heads.index("DisplayName") if "DisplayName" in heads else 0
        return [row[column] for row in rows[int("DisplayName" in heads) :] if column < len(row)]
    return text.splitlines()


def _listed(found: Any) -> list[str]:
    """Return the words in what a file holds: a list, records with names, or a mapping from words."""
    if isinstance(found, Mapping):
        inner = next((found[key] for key in _INSIDE if isinstance(found.get(key), Mapping | list)), None)
        return _listed(inner) if inner is not None else _listed(list(found))
    if isinstance(found, list):
        words = [one.get("name") if isinstance(one, Mapping) else one for one in found]
        if all(isinstance(word, str) for word in words):
            return [str(word) for word in words]
    raise ValueError("it holds no list of words")


def _cleaned(words: Iterable[str]) -> tuple[str, ...]:
    """Return words in lower case, without remarks in brackets behind them, as Open Images has them."""
    plain = (word.lower().strip() for word in words)
    bare = (word.partition("(")[0].strip() if word.endswith(")") else word for word in plain)
    return tuple(sorted({word for word in bare if word}))
