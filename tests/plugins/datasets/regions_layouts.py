"""Small data sets of regions in the exact layouts of their releases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regionkit.core.contracts import Dataset
from regionkit.registry.assembly import build

#: What a pickle would run that is read by Python's own unpickler: it leaves a file behind.
MALICIOUS = b"cos\nsystem\n(S'touch ran'\ntR."


def dataset(name: str, **options: Any) -> Dataset:
    return build("dataset", {"name": name, **options})


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def picture(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (width, height, 7)).save(path)
    return path


def bitmap(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    made = np.zeros((height, width), dtype=bool)
    made[rows, columns] = True
    return made


def write_mask(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return path


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[list[float]]:
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def python2_pickle(value: Any) -> bytes:
    """Write a pickle of protocol 0 as Python 2 did, with byte strings, which is what REFER released."""
    return _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, Mapping):
        return b"(d" + b"".join(_python2(key) + _python2(held) + b"s" for key, held in value.items())
    if isinstance(value, (list, tuple)) and isinstance(value, Sequence):
        return b"(l" + b"".join(_python2(held) + b"a" for held in value)
    if isinstance(value, int):
        return f"I{value}\n".encode()
    if value.isascii():
        return f"S{value!r}\n".encode()
    return b"V" + value.encode("raw-unicode-escape") + b"\n"
