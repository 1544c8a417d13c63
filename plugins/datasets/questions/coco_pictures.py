"""Pictures of COCO, wherever one of the usual layouts has put them."""

from __future__ import annotations

from typing import Any

from regionkit.core.errors import DataError

#: Digits of a picture's number; Python refuses to read those of thousands of digits.
_MOST_DIGITS = 12

_FOLDERS = ("", "images/", "../coco/", "../coco/images/")
_YEARS_2014 = ("val2014", "train2014", "test2015")
_YEARS_2017 = ("val2017", "train2017", "test2017")
#: COCO's numbers are unique over its splits, so that the first file of that number is the one. Releases from 2017 on
#: have no prefix, and the same pictures in other splits.
PLACES_2014 = tuple(f"{folder}{year}/COCO_{year}_{{number:012d}}.jpg" for folder in _FOLDERS for year in _YEARS_2014)
PLACES_2017 = tuple(f"{folder}{year}/{{number:012d}}.jpg" for folder in _FOLDERS for year in _YEARS_2017)


def coco_number(image_id: str) -> dict[str, Any]:
    """Return what the patterns use: ``number``, the key of a picture as a number.

    Raises:
        DataError: The key is no number.
    """
    if not (image_id.isascii() and image_id.isdigit() and len(image_id) <= _MOST_DIGITS):
        raise DataError(f"'{image_id[:60]}' is no picture of COCO: they are known by numbers, such as 391895")
    return {"number": int(image_id)}
