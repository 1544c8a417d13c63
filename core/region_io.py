"""Regions as text: command-line values and the records of JSONL files.

A record is a JSON object with one of these keys, in pixels of the original image::

    {"point": [x, y]}    {"points": [[x, y], ...]}    {"box": [x1, y1, x2, y2]}    {"boxes": [[x1, y1, x2, y2], ...]}
    {"trace": [[x, y], ...]}  or  [[x, y, seconds], ...]        {"mask": "file.png"}  or a COCO run-length encoding
    {"patch": [row, column, rows, columns]}           {"whole": true}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regionkit.core.errors import RegionError, did_you_mean
from regionkit.core.files import is_file
from regionkit.core.images import open_mask
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Region, Trace, WholeImage


def parse_point(text: str) -> Point:
    """Read ``x,y``, or several clicks on one thing as ``x,y x,y``."""
    return Point(tuple(_pairs(text, "--point")))


def parse_box(text: str) -> Box:
    """Read ``x1,y1,x2,y2``."""
    return Box(*_numbers(text, 4, "--box", "x1,y1,x2,y2"))


def parse_boxes(text: str) -> BoxSet:
    """Read ``x1,y1,x2,y2;x1,y1,x2,y2``, or a file with one box a line."""
    if ";" not in text and _is_file(text):
        rows = [line for line in _read(Path(text)).splitlines() if line.strip()]
    else:
        rows = [row for row in text.split(";") if row.strip()]
    return BoxSet(tuple(Box(*_numbers(row, 4, "--boxes", "x1,y1,x2,y2;x1,y1,x2,y2")) for row in rows))


def parse_trace(text: str) -> Trace:
    """Read ``x,y x,y ...``, or a file: JSON ``[[x, y], ...]`` or one ``x,y`` or ``x,y,seconds`` a line."""
    if "," in text and not _is_file(text):
        return Trace(tuple(_pairs(text, "--trace")))
    content = _read(Path(text))
    try:
        if content.lstrip().startswith("["):
            return _trace(json.loads(content))
        lines = (line for line in content.splitlines() if line.strip())
        return _trace([[_number(value, "--trace", text) for value in line.split(",")] for line in lines])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RegionError(f"--trace {text}: {error}", f"write it as {_FORMS['trace']}, or one x,y a line") from None


def parse_mask(text: str) -> Mask:
    """Read a mask picture, inside where it is neither black nor transparent, or a JSON file with COCO run lengths."""
    return _mask(text, Path())


def read_record(record: Any, folder: Path) -> Region:
    """Read a region from a JSON object; files named in it are looked up beside the JSONL, in ``folder``.

    Raises:
        RegionError: The object has no region, more than one, or a value of another form.
    """
    if not isinstance(record, Mapping):
        raise RegionError(f'a region is a JSON object such as {{"box": [x1, y1, x2, y2]}}, not {json.dumps(record)}')
    keys = [key for key in record if key in _READERS]
    if len(keys) != 1:
        unknown = next((did_you_mean(key, _READERS) for key in record if did_you_mean(key, _READERS)), "")
        raise RegionError(
            f"a region has exactly one of the keys {', '.join(_READERS)}; this one has {', '.join(record) or 'none'}",
            unknown,
        )
    key = keys[0]
    try:
        return _READERS[key](record[key], folder)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise RegionError(f"region '{key}' has an unexpected value: {error}", f"write it as {_FORMS[key]}") from None


def to_record(region: Region) -> dict[str, Any]:
    """Return the JSON object of a region; :func:`read_record` reads it back."""
    match region:
        case Point(points):
            return {"points": [list(point) for point in points]}
        case Box():
            return {"box": list(region.corners)}
        case BoxSet(boxes):
            return {"boxes": [list(box.corners) for box in boxes]}
        case Trace(points, times):
            if times is None:
                return {"trace": [list(point) for point in points]}
            return {"trace": [[*point, time] for point, time in zip(points, times, strict=True)]}
        case Mask(bitmap):
            return {"mask": run_lengths(bitmap)}
        case Patch():
            return {"patch": [region.row, region.column, region.rows, region.columns]}
        case WholeImage():
            return {"whole": True}
        case MaskTrack(masks):
            return {"mask_track": [None if mask is None else run_lengths(mask.bitmap) for mask in masks]}


def looks_normalised(region: Region) -> bool:
    """Say whether all coordinates of a region are at most 1, as if they counted in widths and heights of the image."""
    match region:
        case Box():
            values: Sequence[float] = region.corners
        case BoxSet(boxes):
            values = [value for box in boxes for value in box.corners]
        case Point(points) | Trace(points):
            values = [value for point in points for value in point]
        case _:
            return False
    return max(values) <= 1


def run_lengths(bitmap: np.ndarray) -> dict[str, Any]:
    """Encode a boolean bitmap (H, W) as COCO's uncompressed run lengths."""
    flat = bitmap.T.reshape(-1)
    starts = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], starts, [flat.size])))
    counts = ([0] if flat[0] else []) + [int(run) for run in runs]
    return {"size": list(bitmap.shape), "counts": counts}


def _trace(rows: Sequence[Sequence[float]]) -> Trace:
    lengths = {len(row) if isinstance(row, Sequence) else 0 for row in rows}
    if not lengths <= {2} and lengths != {3}:
        raise ValueError("every point of a trace is x,y, or every point is x,y,seconds")
    points = tuple((_real(row[0]), _real(row[1])) for row in rows)
    return Trace(points, tuple(_real(row[2]) for row in rows) if lengths == {3} else None)


def _mask(value: Any, folder: Path) -> Mask:
    if isinstance(value, Mapping):
        return Mask.from_rle(value)
    if not isinstance(value, str):
        raise TypeError(f"{json.dumps(value, default=str)[:60]} is no file name")
    path = folder / value
    if path.suffix.lower() == ".json":
        try:
            return Mask.from_rle(json.loads(_read(path)))
        except (ValueError, RecursionError) as error:
            raise RegionError(f"{path}: not JSON: {error}") from None
    return Mask(open_mask(path))


def _track(value: Any, folder: Path) -> MaskTrack:
    return MaskTrack(tuple(None if mask is None else _mask(mask, folder) for mask in value))


def _whole(value: Any, folder: Path) -> WholeImage:
    if value is not True:
        raise ValueError(json.dumps(value))
    return WholeImage()


def _points(value: Any, folder: Path) -> Point:
    return Point(tuple((_real(x), _real(y)) for x, y in value))


_READERS: dict[str, Callable[[Any, Path], Region]] = {
    "point": lambda value, folder: _points([value], folder),
    "points": _points,
    "box": lambda value, folder: Box(*_four(value)),
    "boxes": lambda value, folder: BoxSet(tuple(Box(*_four(box)) for box in value)),
    "trace": lambda value, folder: _trace(value),
    "mask": _mask,
    "patch": lambda value, folder: Patch(*_four_integers(value)),
    "whole": _whole,
    "mask_track": _track,
}

_FORMS = {
    "point": "[x, y]",
    "points": "[[x, y], ...]",
    "box": "[x1, y1, x2, y2]",
    "boxes": "[[x1, y1, x2, y2], ...]",
    "trace": "[[x, y], ...] or [[x, y, seconds], ...]",
    "mask": '"file.png" or {"size": [height, width], "counts": [...]}',
    "patch": "[row, column, rows, columns]",
    "whole": "true",
    "mask_track": "[mask or null, ...]",
}


def _real(value: Any) -> float:
    """Return a number of JSON; text and truth values would pass as numbers in Python, and mean something else here."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{json.dumps(value, default=str)[:60]} is not a number")
    return float(value)


def _four(value: Any) -> tuple[float, float, float, float]:
    numbers = [_real(number) for number in value]
    if len(numbers) != 4:
        raise ValueError(f"4 numbers are needed, here are {len(numbers)}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _four_integers(value: Any) -> tuple[int, int, int, int]:
    numbers = _four(value)
    if any(not number.is_integer() for number in numbers):
        raise ValueError(f"{json.dumps(value)} are not whole numbers")
    row, column, rows, columns = (int(number) for number in numbers)
    return row, column, rows, columns


def _is_file(text: str) -> bool:
    return is_file(Path(text))  # a trace of many points is longer than a file's name can be


def _number(text: str, option: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RegionError(f"{option} {whole}: '{text.strip()}' is not a number") from None


def _numbers(text: str, count: int, option: str, form: str) -> list[float]:
    values = text.strip("[]() ").replace(",", " ").split()
    if len(values) != count:
        raise RegionError(
            f"{option} {text}: {count} numbers are needed, here are {len(values)}", f"write {option} {form}"
        )
    return [_number(value, option, text) for value in values]


def _pairs(text: str, option: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in text.replace(";", " ").split()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise RegionError(f"{option} {text}: points are x,y", f"write {option} 'x,y' or {option} 'x,y x,y ...'")
    return [(_number(x, option, text), _number(y, option, text)) for x, y in pairs]


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise RegionError(f"{path}: this is a pipe or a device, not a file")
        return path.read_text(encoding="utf-8-sig")  # some editors begin files with a byte order mark
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RegionError(f"{path}: {reason}") from None
