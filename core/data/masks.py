"""Masks as files of COCO's form hold them: polygons and run lengths, made into COCO's compressed run lengths.

pycocotools does the work. It is written in C and trusts what it is given, so everything is checked first: a polygon of
a few bytes may ask for more memory than there is, and four numbers, which are no polygon, are a box to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.data.records import Unusable
from regionkit.core.errors import MissingExtra
from regionkit.core.regions import Mask

#: Pixels of a picture, as many as Pillow opens.
_MOST_PIXELS = 89_478_485
#: Numbers of the polygons of one mask; the finest outlines of releases have some ten thousand.
_MOST_NUMBERS = 1_000_000
#: Pixels that a run length may have.
_MOST_RUNS = 1 << 22


def mask_record(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return a segmentation of COCO's form as a region record.

    Args:
        segmentation: Polygons ``[[x1, y1, x2, y2, ...], ...]``, which are joined, in pixels of the picture; or run
            lengths ``{"size": [height, width], "counts": ...}``, a list of numbers or the compressed string. What
            polygons have outside the picture is cut off, and those of fewer than three points have no area.
        height: Height of the picture.
        width: Width of the picture.

    Returns:
        ``{"mask": {"size": [height, width], "counts": "..."}}``, compressed.

    Raises:
        Unusable: It is neither, is of another size than the picture, or covers no pixel.
        MissingExtra: pycocotools is not installed.
    """
    size = checked_size(height, width)
    if isinstance(segmentation, Mapping):
        return _record(_of_runs(segmentation, size))
    if not isinstance(segmentation, (list, tuple)) or not segmentation:
        raise Unusable("its segmentation is neither polygons nor run lengths")
    tools = _tools()
    outlines = [outline for outline in (_outline(one, size) for one in segmentation) if len(outline) >= 6]
    if not outlines:
        raise Unusable("its polygons have fewer than three points each, and cover no pixel")
    if sum(map(len, outlines)) > _MOST_NUMBERS:
        raise Unusable(f"its polygons have more than {_MOST_NUMBERS} numbers")
    return _record(tools.merge(tools.frPyObjects(outlines, *size)))


def bitmap_record(bitmap: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a bitmap (height, width) as a region record with compressed run lengths.

    Raises:
        Unusable: It covers no pixel.
        MissingExtra: pycocotools is not installed.
    """
    return _record(_tools().encode(np.asfortranarray(bitmap, dtype=np.uint8)))


def overlaps(target: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the IoU, from 0 to 1, of a mask with each of some others, all of one size.

    Args:
        target: What :func:`mask_record` returned.
        others: The same of each of the others.

    Raises:
        MissingExtra: pycocotools is not installed.
    """
    if not others:
        return []
    runs = [_bytes(one["mask"]) for one in others]
    return [float(value) for value in _tools().iou(runs, [_bytes(target["mask"])], [0])[:, 0]]


def checked_size(height: Any, width: Any) -> tuple[int, int]:
    """Return height and width of a picture.

    Raises:
        Unusable: They are no size that a picture can have.
    """
    sides = []
    for side in (height, width):
        whole = isinstance(side, (int, float)) and not isinstance(side, bool) and 1 <= side <= _MOST_PIXELS
        if not whole or int(side) != side:
            raise Unusable(
                f"its picture has the height {_shown(height)} and the width {_shown(width)}, which is no size"
            )
        sides.append(int(side))
    if sides[0] * sides[1] > _MOST_PIXELS:
        raise Unusable(f"a picture of {sides[1]} x {sides[0]} pixels is larger than any that can be opened")
    return sides[0], sides[1]


def _outline(polygon: Any, size: tuple[int, int]) -> list[float]:
    """Return the numbers of a polygon, each checked to be near the picture: C would allocate what lies between."""
    if not isinstance(polygon, (list, tuple)) or len(polygon) % 2:
        raise Unusable("a polygon of its segmentation is no list of x, y, x, y, ...")
    height, width = size
    for at, value in enumerate(polygon):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise Unusable(f"a polygon of its segmentation has {_shown(value)} where a coordinate is expected")
        side = height if at % 2 else width
        if not -side <= value <= 2 * side:
            raise Unusable(f"a polygon of its segmentation has a point at {_shown(value)}, far outside the picture")
    return [float(value) for value in polygon]


def _of_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return run lengths as pycocotools has them; that they add up is checked by reading them."""
    stated = segmentation["size"]
    if not isinstance(stated, (list, tuple)) or len(stated) != 2 or checked_size(*stated) != size:
        raise Unusable(f"its mask has the size {_shown(stated)}, and its picture {list(size)}: height, width")
    counts = segmentation["counts"]
    if isinstance(counts, (list, tuple)):
        for run in counts:
            if isinstance(run, bool) or not isinstance(run, (int, float)) or not 0 <= run <= _MOST_PIXELS:
                raise Unusable(f"a run length of its mask is {_shown(run)}")
            if run != int(run):
                raise Unusable(f"a run length of its mask is {_shown(run)}")
        counts = [int(run) for run in counts]
    elif not isinstance(counts, (str, bytes)):
        raise Unusable("the run lengths of its mask are no list and no text")
    if len(counts) > _MOST_RUNS:
        raise Unusable(f"its mask has more than {_MOST_RUNS} run lengths")
    Mask.from_rle({"size": list(size), "counts": counts})
    if isinstance(counts, list):
        return dict(_tools().frPyObjects({"size": list(size), "counts": counts}, *size))
    return {"size": list(size), "counts": counts}


def _record(runs: Mapping[str, Any]) -> dict[str, Any]:
    if not _tools().area(_bytes(runs)):
        raise Unusable("its mask covers no pixel")
    counts = runs["counts"]
    return {
        "mask": {
            "size": [int(side) for side in runs["size"]],
            "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
        }
    }


def _bytes(runs: Mapping[str, Any]) -> dict[str, Any]:
    counts = runs["counts"]
    return {"size": list(runs["size"]), "counts": counts.encode("ascii") if isinstance(counts, str) else counts}


def _tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        raise MissingExtra("reading masks of polygons", "pycocotools", "data") from None
    return mask


def _shown(value: Any) -> str:
    """Return a value as a message may repeat it: Python refuses to write numbers of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    return f"{value!r:.60}"
