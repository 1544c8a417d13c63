"""Dense captioning: boxes and captions as data sets write them, read with the image's name at hand."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.regions.dense_matching import Floats

_RECORD = '{"box": [x1, y1, x2, y2], "caption": "..."}'


def ground_truth(entries: Any, where: str) -> tuple[Floats, tuple[tuple[str, ...], ...]]:
    """Read the ground truth of an image.

    Args:
        entries: Of each of m boxes a mapping with ``box`` and ``caption``, or ``(x1, y1, x2, y2, caption)``; a caption
            is a text or several.
        where: Names the image in messages.

    Returns:
        Boxes (m, 4), ``x1, y1, x2, y2`` in pixels, and the captions of each.

    Raises:
        DataError: An entry is something else.
    """
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Sequence):
        raise DataError(f"{where}: its ground truth is no list of boxes with captions", f"an entry is {_RECORD}")
    boxes, captions = [], []
    for at, entry in enumerate(entries):
        if isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 5:
            entry = {"box": entry[:4], "caption": entry[4]}
        boxes.append(box_of(entry, f"{where}: ground-truth box {at}"))
        captions.append(captions_of(entry, f"{where}: ground-truth box {at}"))
    return np.array(boxes, np.float64).reshape(-1, 4), tuple(captions)


def box_of(record: Any, where: str) -> tuple[float, float, float, float]:
    """Return the corners of a record: its ``box``, or its ``bbox``, which is corner and size as in COCO files.

    Raises:
        DataError: It has neither or both, or no four numbers there.
    """
    keys = [key for key in ("box", "bbox") if isinstance(record, Mapping) and key in record]
    if len(keys) != 1:
        raise DataError(
            f"{where} has {'both box and bbox' if keys else 'neither box nor bbox'}", f"write it as {_RECORD}"
        )
    value = record[keys[0]]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not (isinstance(value, Sequence) and len(value) == 4 and all(map(_is_number, value))):
        raise DataError(f"{where}: {keys[0]} is no list of four numbers", f"write it as {_RECORD}")
    x, y, third, fourth = map(float, value)
    return (x, y, third, fourth) if keys[0] == "box" else (x, y, x + third, y + fourth)


def captions_of(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the caption of a record, or its captions.

    Raises:
        DataError: It has none, or something else than text.
    """
    value = record.get("caption")
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where} has no caption", f'write it as {_RECORD}, or "caption": ["...", "..."]')
    return tuple(texts)


def confidence_of(value: Any, where: str) -> float:
    """Return a confidence, on any scale.

    Raises:
        DataError: It is no number, or NaN.
    """
    if not _is_number(value) or value != value:
        raise DataError(f"{where} has the confidence {value!r:.40}, and must have a number")
    return float(value)


def load_json(path: Path) -> Any:
    """Read a JSON file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: It cannot be read, or is no JSON.
    """
    try:
        content = path.read_bytes()
        return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is no JSON: {error}") from None


def _is_number(value: Any) -> bool:
    """Say whether a value is a number that a float can hold; a file may spell an integer of a thousand digits."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**1000
    return isinstance(value, (float, np.integer, np.floating))
