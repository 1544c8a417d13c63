"""Masks of a segmenter as candidates of referring expressions, filtered as RegionVLM's protocol does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.data.masks import bitmap_record
from regionkit.core.data.records import Unusable
from regionkit.core.images import open_mask

#: Share of the picture that a mask must cover; where none does, the share that it must cover then.
#: Source: released code of RegionVLM (arXiv 2403.18260).
SMALLEST, SMALLEST_OF_ALL = 0.04, 0.01
#: Masks that are taken of a picture, the first ones. The release takes them in the order in which the disk lists them.
MOST = 20
#: Pixels of border that are looked at, and the share of a side that a mask may cover of them.
_BORDER, _COVERED = 2, 0.7
#: Files of masks of one picture: the finest settings of SAM give some hundreds.
_MOST_FILES = 10_000


def proposals(folder: Path, image_id: str, number: str, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the candidates of a picture, as region records.

    Args:
        folder: Folder with a folder of masks a picture.
        image_id: File name of the picture.
        number: Its number, by which its folder may be called as well, with or without zeros before it.
        size: Its width and height.

    Raises:
        Unusable: It has no folder, a mask is of another size, or none is large enough.
        ImageError: A file is no picture.
    """
    stem = PurePosixPath(image_id).stem
    places = [folder / name for name in dict.fromkeys((stem, number, number.lstrip("0") or number))]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise Unusable(f"there are no proposals for '{image_id}': looked for {', '.join(map(str, places))}")
    files = sorted(path for path in found.iterdir() if path.suffix.lower() == ".png")
    if len(files) > _MOST_FILES:
        raise Unusable(f"{found}: more than {_MOST_FILES} masks of one picture")
    kept = _first(files, size, SMALLEST, border=True) or _first(files, size, SMALLEST_OF_ALL, border=False)
    if not kept:
        raise Unusable(f"{found}: none of {len(files)} masks covers {SMALLEST_OF_ALL:.0%} of the picture")
    return kept


def _first(files: list[Path], size: tuple[int, int], smallest: float, *, border: bool) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for bitmap in _bitmaps(files, size):
        if bitmap.mean() >= smallest and not (border and covers_border(bitmap)):
            kept.append(bitmap_record(bitmap))
            if len(kept) == MOST:
                break
    return kept


def _bitmaps(files: list[Path], size: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    width, height = size
    for path in files:
        bitmap = open_mask(path)
        if bitmap.shape != (height, width):
            raise Unusable(
                f"{path}: the mask has {bitmap.shape[1]} x {bitmap.shape[0]} pixels, its picture {width} x {height}"
            )
        yield bitmap


def covers_border(bitmap: NDArray[np.bool_]) -> bool:
    """Say whether a mask (height, width) covers much of one of the four borders, as background does.

    The borders are two pixels thick, and the release measures rows by the height and columns by the width: in a square
    picture 35 % of a border is enough.
    """
    height, width = bitmap.shape
    rows = max(np.count_nonzero(bitmap[:_BORDER]), np.count_nonzero(bitmap[-_BORDER:]))
    columns = max(np.count_nonzero(bitmap[:, :_BORDER]), np.count_nonzero(bitmap[:, -_BORDER:]))
    return bool(rows > _COVERED * height or columns > _COVERED * width)
