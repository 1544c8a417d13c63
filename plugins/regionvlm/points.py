"""Regions as points: the one rule by which a region of any still kind becomes at most K places in its picture.

==============  =======================================================================================================
region          points
==============  =======================================================================================================
trace           K evenly spaced ones in temporal order, some of them twice where there are fewer. In training K drawn
                without replacement, still in temporal order. What lies outside the picture does not count.
point           The clicks as they are; of more than K, K evenly spaced ones (in training: drawn). None may lie outside.
mask, box,      K pixels drawn without replacement; of fewer pixels all, in the order in which they were drawn. The draw
box set, patch  follows from the pixels themselves, so two regions of equal pixels have equal points, whatever they are
                called and whoever their batch mates are. In training each call draws anew.
whole image     None: the empty text.
==============  =======================================================================================================

A pixel stands for its upper left corner, as in the released code: column / width, row / height. The paper says nothing
of it. Source: Lee et al., section 3.3; the released code for evenly spaced indices, order and drawing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionkit.core.geometry import bounding_box, region_mask
from regionkit.core.morphology import dilated
from regionkit.core.regions import Mask, Point, Region, Trace, WholeImage
from regionkit.plugins.regionvlm.configs import Order

#: Returns that many whole numbers, 0 or more, each drawn from far more than any picture has pixels.
Numbers = Callable[[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class PointRule:
    """How points are taken.

    Attributes:
        count: K, the most points.
        order: ``given``, ``scan`` (by row, then column) or ``random``.
        dilate: Side in pixels of the square kernel that masks are dilated with; 0 and 1 change nothing.
        seed: Of draws that follow from the region.
    """

    count: int = 10
    order: Order = "given"
    dilate: int = 0
    seed: int = 0


def region_points(
    region: Region, image_size: tuple[int, int], rule: PointRule | None = None, numbers: Numbers | None = None
) -> NDArray[np.float64]:
    """Return the points of a region.

    Args:
        region: A still region in pixels of the original image.
        image_size: (width, height) of that image.
        rule: How they are taken.
        numbers: Source of random numbers, for training; without it the points follow from the region.

    Returns:
        (k, 2) x and y in 0..1 of the image's own width and height, k at most ``rule.count``; k is 0 for a whole image.

    Raises:
        RegionError: The region lies outside its image, or is a mask track.
    """
    rule = rule or PointRule()
    if isinstance(region, WholeImage):
        return np.zeros((0, 2))
    size = np.array(image_size, dtype=np.float64)
    if isinstance(region, Point | Trace):
        places = _inside(region, image_size)
        draw = numbers or _follows_from(places.tobytes(), rule.seed)
        again = isinstance(region, Trace)
        places = places[_along(len(places), rule.count, again=again, numbers=numbers)]
    else:
        inside = _pixels(region, image_size, rule.dilate)
        pixels = np.flatnonzero(inside)
        draw = numbers or _follows_from(str(image_size).encode() + np.packbits(inside).tobytes(), rule.seed)
        chosen = pixels[sample(len(pixels), min(rule.count, len(pixels)), draw)]
        places = np.stack([chosen % image_size[0], chosen // image_size[0]], axis=1).astype(np.float64)
    if rule.order == "scan":
        places = places[np.lexsort((places[:, 0], places[:, 1]))]
    elif rule.order == "random":
        places = places[sample(len(places), len(places), draw)]
    unit: NDArray[np.float64] = (places / size).clip(0, 1)
    return unit


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return ``wanted`` indices into ``count`` points, first and last among them; a single one is the middle.

    The released code's rule, int((n - 1) / (k - 1) * j), which repeats some where there are fewer than wanted.
    """
    if wanted == 1:
        return [(count - 1) // 2]
    return [int((count - 1) / (wanted - 1) * step) for step in range(wanted)]


def sample(count: int, wanted: int, numbers: Numbers) -> list[int]:
    """Draw ``wanted`` of ``range(count)`` without replacement, in the order of the draw (the start of a shuffle)."""
    moved: dict[int, int] = {}
    drawn = []
    for step, number in enumerate(numbers(wanted)):
        other = step + int(number) % (count - step)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(step, step)
    return drawn


def _inside(region: Point | Trace, image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the points (n, 2) inside the image, by core's rule for traces and clicks."""
    bounding_box(region, image_size)  # refuses a click outside, and a trace that is nowhere inside
    places = np.array(region.points, dtype=np.float64)
    return places[((places >= 0) & (places <= image_size)).all(1)]


def _along(count: int, wanted: int, *, again: bool, numbers: Numbers | None) -> list[int]:
    """Return which points of a line are taken, in order; ``again`` takes some twice where there are too few."""
    if count <= wanted and not again:
        return list(range(count))
    if numbers is None or count < wanted:
        return evenly_spaced(count, wanted)
    return sorted(sample(count, wanted, numbers))


def _pixels(region: Region, image_size: tuple[int, int], dilate: int) -> NDArray[np.bool_]:
    inside = region_mask(region, image_size)
    return dilated(inside, dilate) if dilate > 1 and isinstance(region, Mask) else inside


def _follows_from(content: bytes, seed: int) -> Numbers:
    """Return a source of numbers that depends on a region's content and a seed alone, on any machine."""
    digest = hashlib.blake2b(content, digest_size=16, key=str(seed).encode()).digest()
    stream = np.random.PCG64(int.from_bytes(digest, "little"))  # raw numbers: numpy promises their stream for ever

    def numbers(count: int) -> Sequence[int]:
        return [int(number) for number in np.atleast_1d(stream.random_raw(count))]

    return numbers
