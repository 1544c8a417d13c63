"""Regions of an image or clip.

All coordinates are pixels of the original image: origin at the top left, x to the right, y down. Boxes are
``x1, y1, x2, y2``, half-open, so a box that covers a whole image of size (W, H) is ``0, 0, W, H``. Other conventions
(``xywh``, normalised values) are converted once, by the constructors named ``from_...``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import RegionError

#: Pixels of a mask, as many as Pillow opens; a hostile run-length encoding of a few bytes could claim any number.
_MOST_PIXELS = 89_478_485
#: Bits of one run length; a hostile string could spell a number that takes minutes to add up.
_MOST_BITS = 40


def _finite(kind: str, values: Iterable[float], what: str = "coordinate") -> None:
    if not all(math.isfinite(value) for value in values):
        raise RegionError(f"a {kind} has a {what} that is not a finite number")


@dataclass(frozen=True, slots=True)
class Point:
    """One point or several clicks on one thing, each ``(x, y)`` in pixels."""

    points: tuple[tuple[float, float], ...]
    kind: ClassVar[str] = "point"

    def __post_init__(self) -> None:
        if not self.points:
            raise RegionError("a point region holds no point", "give at least one x,y")
        _finite(self.kind, (value for point in self.points for value in point))

    @classmethod
    def at(cls, x: float, y: float) -> Self:
        """Make a single click."""
        return cls(((float(x), float(y)),))


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel box, ``x1, y1, x2, y2`` in pixels, half-open."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: ClassVar[str] = "box"

    def __post_init__(self) -> None:
        _finite(self.kind, self.corners)
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise RegionError(
                f"box {self.x1:g},{self.y1:g},{self.x2:g},{self.y2:g} has no area",
                "boxes are x1,y1,x2,y2 with x2 > x1 and y2 > y1",
                "from x,y,width,height write x,y,x+width,y+height, in Python Box.from_xywh(x, y, width, height)",
            )

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)``."""
        return (self.x1, self.y1, self.x2, self.y2)

    @classmethod
    def from_xywh(cls, x: float, y: float, width: float, height: float) -> Self:
        """Make a box from its top left corner and its size, as COCO files store it."""
        return cls(float(x), float(y), float(x + width), float(y + height))

    @classmethod
    def from_normalised(cls, corners: Sequence[float], image_size: tuple[int, int]) -> Self:
        """Make a box from ``x1, y1, x2, y2`` in 0..1 of an image of ``(width, height)`` pixels."""
        (x1, y1, x2, y2), (width, height) = corners, image_size
        return cls(x1 * width, y1 * height, x2 * width, y2 * height)


@dataclass(frozen=True, slots=True)
class BoxSet:
    """Several boxes that get one caption together."""

    boxes: tuple[Box, ...]
    kind: ClassVar[str] = "box-set"

    def __post_init__(self) -> None:
        if not self.boxes:
            raise RegionError("a box set holds no box", "give at least one box x1,y1,x2,y2")


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """A free-form region: a boolean bitmap (H, W) of the original image."""

    bitmap: NDArray[np.bool_]
    kind: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        if self.bitmap.ndim != 2 or self.bitmap.dtype != np.bool_:
            raise RegionError(
                f"a mask is a boolean array (height, width), this one is {self.bitmap.dtype} {self.bitmap.shape}",
                "threshold it first, for example: Mask(array > 0)",
            )
        if not self.bitmap.any():
            raise RegionError("a mask covers no pixel", "leave the region out, or use the whole image")

    @classmethod
    def from_rle(cls, rle: Mapping[str, Any]) -> Self:
        """Read a COCO run-length encoding: ``size`` (H, W) and ``counts``, a list or the compressed string.

        Raises:
            RegionError: The counts do not add up to the size, or the string is not one of COCO's.
        """
        try:
            height, width = (int(value) for value in rle["size"])
            counts = rle["counts"]
            if isinstance(counts, bytes):
                counts = counts.decode("ascii")
            runs = _rle_string(counts) if isinstance(counts, str) else [int(run) for run in counts]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RegionError(f"a mask's run-length encoding is unreadable: {error}") from None
        if height * width > _MOST_PIXELS:
            raise RegionError(f"a mask of {height} x {width} pixels is larger than any picture that can be opened")
        if min(height, width, *runs, 0) < 0 or sum(runs) != height * width:
            raise RegionError(
                f"a mask's run lengths add up to {sum(runs)}, its size {height} x {width} needs {height * width}"
            )
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return cls(flat.reshape(width, height).T.copy())  # COCO counts down the columns


def _rle_string(text: str) -> list[int]:
    """Decode COCO's compressed counts.

    Five bits a character, offset 48; from the fourth run on, the number is the difference to the run two before.
    """
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position >= len(text):
                raise ValueError("the string ends inside a number")
            if shift > _MOST_BITS:
                raise ValueError("a number in the string does not end")
            code = ord(text[position]) - 48
            if not 0 <= code < 64:
                raise ValueError(f"unexpected character {text[position]!r}")
            value |= (code & 0x1F) << shift
            more = bool(code & 0x20)
            shift += 5
            position += 1
            if not more and code & 0x10:
                value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


@dataclass(frozen=True, slots=True)
class Trace:
    """A mouse trace: points ``(x, y)`` in pixels in drawing order, with times in seconds where they are known."""

    points: tuple[tuple[float, float], ...]
    times: tuple[float, ...] | None = None
    kind: ClassVar[str] = "trace"

    def __post_init__(self) -> None:
        if not self.points:
            raise RegionError("a trace holds no point", "give at least one x,y")
        if self.times is not None and len(self.times) != len(self.points):
            raise RegionError(f"a trace has {len(self.points)} points and {len(self.times)} times")
        _finite(self.kind, (value for point in self.points for value in point))
        _finite(self.kind, self.times or (), "time")

    @classmethod
    def from_normalised(
        cls,
        points: Iterable[tuple[float, float]],
        image_size: tuple[int, int],
        times: Sequence[float] | None = None,
    ) -> Self:
        """Make a trace from points in 0..1 of an image of ``(width, height)`` pixels."""
        width, height = image_size
        scaled = tuple((x * width, y * height) for x, y in points)
        return cls(scaled, None if times is None else tuple(times))


@dataclass(frozen=True, slots=True)
class Patch:
    """One cell of the image divided into ``rows`` x ``columns``: the smallest thing a patch captioner can describe.

    On a backbone with that very grid it is exactly one patch; on another grid it is the patch under the cell's centre.
    """

    row: int
    column: int
    rows: int
    columns: int
    kind: ClassVar[str] = "patch"

    def __post_init__(self) -> None:
        if not (0 <= self.row < self.rows and 0 <= self.column < self.columns):
            raise RegionError(
                f"patch row {self.row}, column {self.column} is not in a grid of {self.rows} x {self.columns}",
                "rows and columns count from 0 at the top left",
            )


@dataclass(frozen=True, slots=True)
class WholeImage:
    """The whole picture."""

    kind: ClassVar[str] = "image"


@dataclass(frozen=True, eq=False, slots=True)
class MaskTrack:
    """One thing through a clip: a mask for each frame, None where it is out of sight."""

    masks: tuple[Mask | None, ...]
    kind: ClassVar[str] = "mask-track"

    def __post_init__(self) -> None:
        if not any(mask is not None for mask in self.masks):
            raise RegionError("a mask track holds no mask", "give a mask for at least one frame")


Region = Point | Box | BoxSet | Mask | Trace | Patch | WholeImage | MaskTrack


def area_of(region: Region) -> float | None:
    """Return the area of a region in square pixels; None for a kind without one, such as points and the whole picture.

    What boxes of a set share counts once. A track has the mean area of the frames in which it is seen.
    """
    match region:
        case Box():
            return (region.x2 - region.x1) * (region.y2 - region.y1)
        case BoxSet():
            return _union([box.corners for box in region.boxes])
        case Mask():
            return float(region.bitmap.sum())
        case MaskTrack():
            return float(np.mean([mask.bitmap.sum() for mask in region.masks if mask is not None]))
    return None


def _union(boxes: Sequence[tuple[float, float, float, float]]) -> float:
    """Return the area that boxes cover together, by the grid that their edges draw."""
    corners = np.array(boxes)
    across, down = np.unique(corners[:, [0, 2]]), np.unique(corners[:, [1, 3]])
    covered = np.zeros((len(down) - 1, len(across) - 1), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        covered |= ((down[:-1] >= y1) & (down[1:] <= y2))[:, None] & ((across[:-1] >= x1) & (across[1:] <= x2))
    return float((np.diff(down)[:, None] * np.diff(across) * covered).sum())


@dataclass(frozen=True, slots=True)
class Regions:
    """The r regions of a batch and the image that each belongs to.

    Attributes:
        items: The regions.
        image: (r,) index into the batch's images for each of them.
    """

    items: tuple[Region, ...]
    image: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.items) != len(self.image):
            raise ValueError(f"{len(self.items)} regions and {len(self.image)} image indices")

        for item in self.items:
            if not isinstance(item, Region):
                raise RegionError(
                    f"{item!r} is no region",
                    "regions are made with Box, Point, Mask, ... of regionkit.core.regions; "
                    "one picture takes one list of them, several pictures a list each",
                )

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, per_image: Sequence[Sequence[Region]]) -> Self:
        """Flatten one list of regions for each image.

        Raises:
            RegionError: A region stands where a list is expected, or a list holds something else.
        """
        for regions in per_image:
            if isinstance(regions, Region):
                raise RegionError(
                    f"a list of regions is expected, this is one region ({regions.kind})",
                    "write a list even for one region: [region]; several pictures take a list each",
                )
        pairs = [(region, index) for index, regions in enumerate(per_image) for region in regions]
        return cls(tuple(region for region, _ in pairs), tuple(index for _, index in pairs))

    def require(self, accepts: Iterable[str], who: str) -> None:
        """Check that every region is of a kind in ``accepts``.

        Raises:
            RegionError: One is not; the message names the kind and those that ``who`` takes.
        """
        allowed = tuple(accepts)
        for region in self.items:
            if region.kind not in allowed:
                raise RegionError(f"{who} does not take a {region.kind} region", f"it takes: {', '.join(allowed)}")
