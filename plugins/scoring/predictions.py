"""Predicted captions: by id, as a list of records as COCO's result files are, or detections with captions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError, RegionError
from regionkit.core.json_files import Loaded, load
from regionkit.core.regions import Box
from regionkit.plugins.scoring.words import described, short

#: Keys under which a record names what it is about, the first that is there counts.
ID_KEYS = ("image_id", "id", "image")
#: Keys of a record that hold references, the first that is there counts.
RECORD_KEYS = ("references", "captions", "caption")
_FORMS = 'write {"ID": "caption", ...}, or a list of {"image_id": ID, "caption": "..."}, or one such object a line'


@dataclass(frozen=True, slots=True)
class Detection:
    """A box with a caption, and how sure its model is of it, None where it does not say."""

    box: Box
    caption: str
    confidence: float | None = None


@dataclass(slots=True)
class Predictions:
    """What a file of predictions holds.

    Attributes:
        name: How messages call the file.
        captions: Captions by id.
        detections: For dense captioning, the detections of each image; those of an empty list are none.
        refused: Ids whose value is no caption, and why.
    """

    name: str
    captions: dict[str, str] = field(default_factory=dict)
    detections: dict[str, tuple[Detection, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """Every id of the file."""
        return {*self.captions, *self.detections, *self.refused}


def read_predictions(path: Path) -> Predictions:
    """Read a file of predictions, ``-`` for standard input; see :func:`predictions_of`."""
    return predictions_of(load(path))


def predictions_of(loaded: Loaded) -> Predictions:
    """Take predictions out of what a file holds.

    Raises:
        DataError: It is of another form, or an id has two captions.
    """
    found, value = Predictions(loaded.name), loaded.value
    rows = rows_of(value)
    if rows is not None:
        _take_rows(loaded, rows, found)
    elif isinstance(value, Mapping):
        for name, said in value.items():
            _take(name, said, found)
    else:
        raise DataError(f"{loaded.name}: expected captions by id, found {described(value)}", _FORMS)
    if not found.ids:
        raise DataError(f"{loaded.name}: there is no caption in it", _FORMS)
    empty = {name for name, boxes in found.detections.items() if not boxes}
    if len(empty) == len(found.detections):  # nothing else in the file says that it is about detections
        found.refused |= dict.fromkeys(empty, "an empty list where a caption belongs")
        found.detections.clear()
    if found.captions and found.detections:
        raise DataError(
            f"{loaded.name}: '{short(next(iter(found.captions)))}' has a caption of the whole picture, "
            f"'{short(next(iter(found.detections)))}' has boxes",
            "score captions of pictures and of boxes apart",
        )
    return found


def rows_of(value: Any) -> Sequence[Any] | None:
    """Return the records of a list, of the ``annotations`` of a COCO file, or a lone record; None for other forms."""
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping):
        inner = value.get("annotations")
        # A picture may be called "annotations": its captions are texts.
        if isinstance(inner, list) and not any(isinstance(one, str) for one in inner):
            return inner
        if any(key in value for key in RECORD_KEYS) and any(isinstance(value.get(key), (str, int)) for key in ID_KEYS):
            return [value]  # JSON lines of one line
    return None


def id_of(record: Mapping[str, Any], where: str) -> str:
    """Return the id that a record names, as text.

    Raises:
        DataError: It names none, or something that is neither text nor a whole number.
    """
    # Annotation files number their captions as well: there the picture is what a caption is about.
    keys = ID_KEYS if "caption" in record or has_box(record) else ("id", "image_id", "image")
    key = next((key for key in keys if key in record), None)
    if key is None:
        raise DataError(f"{where}: no {ID_KEYS[0]} says what this record is about; found {described(record)}")
    name = record[key]
    if isinstance(name, bool) or not isinstance(name, (int, str)):
        raise DataError(f"{where}: {key} is {described(name)}, and ids are text or whole numbers")
    return str(name)


def records(loaded: Loaded, rows: Sequence[Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Yield index, id and record of every row.

    Raises:
        DataError: A row is no record, or names no id.
    """
    for index, record in enumerate(rows):
        if not isinstance(record, Mapping):
            raise DataError(f"{loaded.place(index)}: expected an object with an image_id, found {described(record)}")
        yield index, id_of(record, loaded.place(index)), record


def _take_rows(loaded: Loaded, rows: Sequence[Any], found: Predictions) -> None:
    first: dict[str, int] = {}
    boxes: dict[str, list[Any]] = {}
    for index, name, record in records(loaded, rows):
        if has_box(record):
            boxes.setdefault(name, []).append(record)
        elif name in first:
            raise DataError(
                f"{loaded.place(index)}: '{short(name)}' has a caption already, at {loaded.place(first[name])}",
                "keep one caption an id; records are told apart by image_id, by id where there is none",
            )
        else:
            first[name] = index
            _take(name, record, found)
    for name, held in boxes.items():
        if name in first:
            raise DataError(f"{loaded.name}: '{short(name)}' has a caption of the whole picture and boxes as well")
        _take(name, held, found)


def has_box(record: Any) -> bool:
    """Say whether a record is about a box rather than about a picture."""
    return isinstance(record, Mapping) and ("box" in record or "bbox" in record)


def _take(name: str, value: Any, found: Predictions) -> None:
    """Put the value of an id where it belongs."""
    if isinstance(value, list) and (not value or has_box(value[0])):
        try:
            found.detections[name] = tuple(_detection(one, at) for at, one in enumerate(value))
        except RegionError as error:
            found.refused[name] = error.message
        return
    if isinstance(value, list) and len(value) == 1:  # {id: ["caption"]} and {id: [{"caption": ...}]} of other tools
        value = value[0]
    if isinstance(value, Mapping):
        if "caption" not in value and isinstance(value.get("captions"), list) and len(value["captions"]) == 1:
            value = value["captions"][0]  # a line of `toolkit caption --json`
        if isinstance(value, Mapping):
            if "caption" not in value:
                found.refused[name] = f"{described(value)}, and no caption"
                return
            value = value["caption"]
    if isinstance(value, str):
        found.captions[name] = value
    else:
        found.refused[name] = f"{described(value)} where a caption belongs"


def _detection(record: Any, at: int) -> Detection:
    """Read a detection.

    Raises:
        RegionError: Its box, caption or confidence is none.
    """
    if not has_box(record):
        raise RegionError(f'detection {at}: {described(record)}, and no "box": [x1, y1, x2, y2]')
    key = "box" if "box" in record else "bbox"
    corners, caption = record[key], record.get("caption")
    sure = record.get("score", record.get("confidence"))
    if not (isinstance(corners, list) and len(corners) == 4 and all(map(_is_number, corners))):
        raise RegionError(f"detection {at}: its {key} is {described(corners)}, no four numbers")
    if not isinstance(caption, str):
        raise RegionError(f"detection {at}: {described(caption)} where a caption belongs")
    if sure is not None and not _is_number(sure):
        raise RegionError(f"detection {at}: its score is {described(sure)}")
    try:
        x, y, third, fourth = map(float, corners)
        # COCO files have the corner and the size under this key.
        box = Box(x, y, third, fourth) if key == "box" else Box(x, y, x + third, y + fourth)
        return Detection(box, caption, None if sure is None else float(sure))
    except RegionError as error:
        raise RegionError(f"detection {at}: {error.message}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
