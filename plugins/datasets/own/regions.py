"""Regions of the user's own records: checked, brought to pixels, with masks of picture files taken in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Unusable
from regionkit.core.region_io import looks_normalised, read_record, to_record
from regionkit.core.regions import Box, BoxSet, Point, Region, Trace

_KINDS = {
    "point": "point", "points": "point", "box": "box", "bbox": "box", "boxes": "box-set", "mask": "mask",
    "trace": "trace", "patch": "patch", "whole": "image",
}  # fmt: skip


class OwnRegions:
    """Regions as the records of a data set write them.

    Args:
        data: The data set; sizes of its pictures are asked for where coordinates count in them.
        box_format: What ``bbox`` means: ``xyxy``, ``xywh``; empty where nobody said it.
        normalised: True where coordinates count in widths and heights of the picture.
    """

    def __init__(self, data: FileDataset, box_format: str, normalised: bool) -> None:
        self._data = data
        self._box_format = box_format
        self._normalised = normalised

    def kind(self, record: Any) -> str:
        """Return the kind of a region, by its key alone."""
        if isinstance(record, dict):
            for key in record:
                if key in _KINDS:
                    return _KINDS[key]
        read_record(record, self._data.root)  # says what is wrong with it
        raise Unusable(f"a region has one of the keys {', '.join(_KINDS)}")

    def held(self, record: Mapping[str, Any], image_id: str) -> Mapping[str, Any]:
        """Return the record of a region in pixels that needs no other file."""
        if len(record) == 1 and not self._normalised and _beyond_one(record.get("box")):
            return record  # as most are
        if "bbox" in record:
            record = self._box(record)
        if isinstance(record.get("mask"), str):
            return to_record(read_record(record, self._data.root))
        if "box" in record or "boxes" in record or "trace" in record or "point" in record or "points" in record:
            return self._in_pixels(record, image_id)
        return record

    def several(self, record: Mapping[str, Any], key: str, image_id: str) -> tuple[Mapping[str, Any], ...]:
        """Return the regions of a list, none where there is none."""
        if key not in record:
            return ()
        regions = record[key]
        if not isinstance(regions, list) or not all(isinstance(region, Mapping) for region in regions):
            raise Unusable(f"'{key}' is no list of regions")
        return tuple(self.held(region, image_id) for region in regions)

    def _box(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._box_format:
            raise Unusable(
                "'bbox' may be x1,y1,x2,y2 or x,y,width,height: say which with box_format: xyxy or box_format: xywh"
            )
        values = record["bbox"]
        box = read_record({"box": values}, self._data.root) if self._box_format == "xyxy" else _from_sides(values)
        return {**{key: value for key, value in record.items() if key != "bbox"}, **to_record(box)}

    def _in_pixels(self, record: Mapping[str, Any], image_id: str) -> Mapping[str, Any]:
        values = next(value for key, value in record.items() if key in _KINDS)
        if not self._normalised:
            # Most are told by their first number, without making the region, which is made once more in any case.
            if _beyond_one(values):
                return record
            if looks_normalised(read_record(record, self._data.root)):
                raise Unusable(
                    "all its coordinates are at most 1, as if they counted in widths and heights of the picture: "
                    "write pixels, or set coordinates: normalised"
                )
            return record
        region = read_record(record, self._data.root)
        if not looks_normalised(region):
            raise Unusable("coordinates: normalised counts in widths and heights of the picture; these are above 1")
        return to_record(_scaled(region, *self._data.size(image_id)))


def _beyond_one(values: Any) -> bool:
    """Say whether a coordinate above 1 is found at once; False says nothing."""
    if not isinstance(values, list):
        return False
    return any(map(_is_beyond_one, values))


def _is_beyond_one(value: Any) -> bool:
    return (type(value) is int or type(value) is float) and value > 1


def _from_sides(values: Any) -> Box:
    sound = isinstance(values, list) and len(values) == 4
    if not sound or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise Unusable("'bbox' is not x,y,width,height, four numbers")
    return Box.from_xywh(*values)


def _scaled(region: Region, width: int, height: int) -> Region:
    """Return a region of widths and heights in pixels of a picture of (width, height)."""
    match region:
        case Box():
            return Box.from_normalised(region.corners, (width, height))
        case BoxSet(boxes):
            return BoxSet(tuple(Box.from_normalised(box.corners, (width, height)) for box in boxes))
        case Point(points):
            return Point(_points(points, width, height))
        case Trace(points, times):
            return Trace(_points(points, width, height), times)
        case _:
            return region


def _points(points: Sequence[tuple[float, float]], width: int, height: int) -> tuple[tuple[float, float], ...]:
    return tuple((x * width, y * height) for x, y in points)
