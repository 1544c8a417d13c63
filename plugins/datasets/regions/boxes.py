"""Boxes, sizes and file names of records, checked: a box without area or outside its picture is a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from regionkit.core.data.records import Unusable

#: Pixels that a box may stand out: files round coordinates, or count the last pixel in.
TOLERANCE = 1.0
#: Letters of a picture's file name.
_LONGEST = 500


def from_xywh(value: Any, size: tuple[int, int], *, clip: bool = False) -> dict[str, list[float]]:
    """Return the region record of a box of corner and size; see :func:`from_corners`."""
    x, y, width, height = four(value)
    return from_corners((x, y, x + width, y + height), size, clip=clip)


def from_corners(value: Any, size: tuple[int, int], *, clip: bool = False) -> dict[str, list[float]]:
    """Return the region record of a box.

    Args:
        value: ``x1, y1, x2, y2`` in pixels of the picture, half-open.
        size: Width and height of the picture.
        clip: Cut a box at the border of the picture, however far it stands out.

    Returns:
        ``{"box": [x1, y1, x2, y2]}``, inside the picture; what stands out by a pixel or less is cut off.

    Raises:
        Unusable: It has no area, or stands out by more.
    """
    corners = four(value)
    x1, y1, x2, y2 = corners
    if not (x2 > x1 and y2 > y1):
        raise Unusable(f"its box {shown(corners)} has no area")
    far = max(-x1, -y1, x2 - size[0], y2 - size[1])
    if far > TOLERANCE and not clip:
        raise Unusable(f"its box {shown(corners)} leaves its picture of {size[0]} x {size[1]} pixels")
    cut = [max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))]
    if not (cut[2] > cut[0] and cut[3] > cut[1]):
        raise Unusable(f"its box {shown(corners)} is outside its picture of {size[0]} x {size[1]} pixels")
    return {"box": cut}


def four(value: Any) -> tuple[float, float, float, float]:
    """Return the four numbers of a box.

    Raises:
        Unusable: They are no four numbers that pixels can have.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence) or len(value) != 4:
        raise Unusable("its box is no list of four numbers")
    return (number(value[0]), number(value[1]), number(value[2]), number(value[3]))


def number(value: Any) -> float:
    """Return a coordinate.

    Raises:
        Unusable: It is no number, NaN, or larger than any picture.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unusable(f"its box has {value!r:.40} where a number is expected")
    if not -1e9 <= value <= 1e9:  # whole numbers of thousands of digits, which cannot be written either
        raise Unusable("its box has a number that is no coordinate of a picture")
    return float(value)


def whole(record: Mapping[str, Any], key: str) -> int:
    """Return a number of a record that is an id.

    Raises:
        KeyError: There is none.
        Unusable: It is no whole number.
    """
    value = record[key]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**18:
        raise Unusable(f"its '{key}' is no whole number")
    return value


def text(record: Mapping[str, Any], key: str) -> str:
    """Return a text of a record without blanks around it.

    Raises:
        KeyError: There is none.
        Unusable: It is no text, or an empty one.
    """
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"its '{key}' is {'empty' if isinstance(value, str) else 'no text'}")
    return value.strip()


def picture_name(value: Any) -> str:
    """Return the file name of a picture, which may not lead out of the folder of pictures.

    Raises:
        Unusable: It is none.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > _LONGEST:
        raise Unusable("its picture has no file name")
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise Unusable(f"its picture's file name {value[:80]!r} leads out of the folder of pictures")
    return value


def shown(corners: Sequence[float]) -> str:
    """Return a box as messages show it."""
    return ",".join(f"{corner:g}" for corner in corners)
