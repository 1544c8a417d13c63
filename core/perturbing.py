"""Regions as a careless user or detector gives them: moved, too wide, too narrow, with points missing.

===============  ==================================  ==================================================================
perturbation     what it changes                     an amount a
===============  ==================================  ==================================================================
`jitter`         box, each box of a set, the box     every edge moves by its own uniform draw from -a to a, times the
                 around the points of a trace        side of the box that it bounds; points go along with their box
`dilate`         box, each box of a set              every edge moves outwards by a times the side
..               mask, each mask of a track          grows by a disc of radius a times the square root of its area
`dilate-pixels`  mask, each mask of a track          grows by a square kernel of a pixels, a whole number
`shrink`         box, each box of a set              every edge moves inwards by a times the side; a is at most 0.5
..               mask, each mask of a track          loses what a disc of radius a times the root of its area reaches
`drop-points`    points of a trace or of clicks      a share a of them is left out, rounded; one stays
`shift-points`   points of a trace or of clicks      x and y of each move by a normal draw with a standard deviation of
                                                     a times the diagonal of the box around them
===============  ==================================  ==================================================================

The amount 0 is the region itself. Everything ends at the edge of the picture, a box keeps a pixel (or its own side,
where that is less) and a mask keeps one, so no region is ever empty or outside. Points of a trace that lie outside the
picture do not count anywhere in the toolkit and stay as they are; a region that its picture does not hold is left for
the pipeline to refuse.

Draws follow from the perturbation's kind and seed, the sample's id and the region's place in the sample, and not from
the amount: more of a perturbation is further in the same direction, so that a curve over amounts is no noise of
different draws, and of the points that a small share leaves out, a larger share leaves out all.

Sources: noise in proportion to the sides of a box is that of Kirillov et al., Segment Anything, 2023, appendix A
(normal, standard deviation 0.1 a side, at most 20 pixels); a bounded draw makes the amount a bound. Places where hands
point are normally distributed (ISO 9241-411, effective target width). A square kernel on the proposal, and a score
by the mask that it was made of, is how Lee et al., arXiv 2403.18260, table 6, test noisy scribbles (3, 7, 15 pixels).
A single click has no extent of its own: it moves by a times the diagonal of its picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.errors import DataError, RegionError, RegionkitError, did_you_mean
from regionkit.core.geometry import bounding_box
from regionkit.core.images import image_size
from regionkit.core.morphology import dilated, grown, shrunk
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Point, Region, Trace
from regionkit.core.samples import LazySamples
from regionkit.core.tasks import regions_of

Size = tuple[int, int]
Floats = NDArray[np.float64]

#: The least side of a perturbed box in pixels, unless it was narrower before.
_LEAST_SIDE = 1.0
#: Bytes of perturbed masks that a sequence of samples holds, so that they are not made again on every look.
_HELD_BYTES = 16 << 20
#: Sizes of pictures that are remembered for a data set.
_MOST_SIZES = 100_000


@dataclass(frozen=True, slots=True)
class PerturbationKind:
    """A way to perturb regions.

    Attributes:
        takes: Kinds of regions that it changes; all others stay as they are.
        most: The largest amount that means anything.
        draws: Whether it draws, so that its seed matters.
        whole: Whether amounts are whole numbers.
    """

    takes: tuple[str, ...]
    most: float
    draws: bool = False
    whole: bool = False


_SHAPES = ("box", "box-set", "mask", "mask-track")
KINDS: Mapping[str, PerturbationKind] = {
    "jitter": PerturbationKind(("box", "box-set", "trace", "point"), 10.0, draws=True),
    "dilate": PerturbationKind(_SHAPES, 10.0),
    "dilate-pixels": PerturbationKind(("mask", "mask-track"), 10_000, whole=True),
    "shrink": PerturbationKind(_SHAPES, 0.5),
    "drop-points": PerturbationKind(("trace", "point"), 1.0, draws=True),
    "shift-points": PerturbationKind(("trace", "point"), 10.0, draws=True),
}


def wrong_amount(kind: str, amount: Any) -> str:
    """Say what keeps a value from being an amount of a known kind; empty where nothing does."""
    known = KINDS[kind]
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
        return f"'{amount}' is no number of 0 or more"
    if amount > known.most:
        return f"{amount:g} is more than {kind} can do: amounts go up to {known.most:g}"
    if known.whole and amount != int(amount):
        return f"{kind} counts pixels, and {amount:g} is no whole number"
    return ""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What happens to regions before a pipeline sees them.

    Attributes:
        kind: One of :data:`KINDS`.
        amount: How much, in the unit of the kind.
        seed: Of the draws; 0 for a kind that draws nothing.

    Raises:
        DataError: There is no such kind, or the amount or the seed is none.
    """

    kind: str
    amount: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hints = did_you_mean(self.kind, KINDS), f"perturbations are: {', '.join(KINDS)}"
            raise DataError(f"no perturbation '{self.kind}'", *(hint for hint in hints if hint))
        if reason := wrong_amount(self.kind, self.amount):
            raise DataError(f"{self.kind}: {reason}")
        if type(self.seed) is not int or self.seed < 0:
            raise DataError(f"{self.kind}: '{self.seed}' is no seed", "seeds are whole numbers from 0 on")

    @property
    def label(self) -> str:
        """The form ``jitter=0.1`` of tables and claims, ``jitter=0.1(seed=3)`` under another seed than 0."""
        return f"{self.kind}={self.amount:.12g}" + (f"(seed={self.seed})" if self.seed else "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the seed where it is not 0."""
        return {"kind": self.kind, "amount": float(self.amount), **({"seed": self.seed} if self.seed else {})}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Perturbation:
        """Read what :meth:`to_dict` wrote.

        Raises:
            DataError: It is no perturbation.
        """
        return cls(str(stored.get("kind", "")), stored.get("amount", ""), stored.get("seed", 0))

    def touches(self, region: Region) -> bool:
        """Say whether it can change a region: a single click has no points to lose, and no box around it."""
        if region.kind not in KINDS[self.kind].takes:
            return False
        if isinstance(region, Point | Trace):
            return self.kind == "shift-points" or len(set(region.points)) > 1
        return True


def perturb(region: Region, perturbation: Perturbation, size: Size | None, name: str = "") -> Region:
    """Return a region as a careless hand gives it.

    Args:
        region: Any region; one that the perturbation does not touch comes back as it is.
        perturbation: What happens to it.
        size: (width, height) of its picture. Masks know their own; None leaves everything else as it is.
        name: What draws follow from beside kind and seed: regions of one name move alike.
    """
    if not perturbation.amount or not perturbation.touches(region):
        return region
    match region:
        case Mask():
            return _mask(region, perturbation)
        case MaskTrack():
            return MaskTrack(tuple(None if mask is None else _mask(mask, perturbation) for mask in region.masks))
    if size is None:
        return region
    try:
        match region:
            case Box():
                return _box(region, perturbation, size, name)
            case BoxSet():
                boxes = enumerate(region.boxes)
                return BoxSet(tuple(_box(box, perturbation, size, f"{name}/{at}") for at, box in boxes))
            case Point() | Trace():
                return _points(region, perturbation, size, name)
    except RegionError:  # it lies outside its picture
        return region
    return region


def perturbed_sample(sample: Sample, perturbation: Perturbation, size: Size | None) -> Sample:
    """Return a sample whose regions that a pipeline encodes are perturbed, each by draws of its own.

    These are its candidates, the regions that a question mentions, or its region, as
    :func:`~regionkit.core.tasks.regions_of` has it. What else it holds stays: the region that is meant among
    candidates, and what is right.
    """
    regions = regions_of(sample)
    changed = tuple(
        perturb(region, perturbation, size, f"{sample.id}#{at}" if len(regions) > 1 else sample.id)
        for at, region in enumerate(regions)
    )
    if all(new is old for new, old in zip(changed, regions, strict=True)):
        return sample
    if sample.candidates:
        return replace(sample, candidates=changed)
    return replace(sample, mentioned=changed) if sample.mentioned else replace(sample, region=changed[0])


def perturbed(
    samples: Sequence[Sample], perturbation: Perturbation | Mapping[str, Any] | None, dataset: Dataset
) -> Sequence[Sample]:
    """Return samples as a pipeline is given them, each perturbed when it is looked at.

    Metrics judge by the samples that were handed in here, not by what comes out.

    Args:
        samples: Samples as their task asks them.
        perturbation: What happens to their regions, also as ``config["data"]["perturbation"]`` of a trial stores it;
            None for nothing.
        dataset: Where their pictures are, whose sizes bound the regions.

    Raises:
        DataError: A stored perturbation is none.
    """
    if perturbation is None:
        return samples
    if not isinstance(perturbation, Perturbation):
        perturbation = Perturbation.from_dict(perturbation)
    return PerturbedSamples(samples, perturbation, dataset)


class PerturbedSamples(LazySamples):
    """Samples that are perturbed when they are looked at; some perturbed masks are held, as they take long to make."""

    def __init__(self, samples: Sequence[Sample], perturbation: Perturbation, dataset: Dataset) -> None:
        self._samples, self._perturbation, self._dataset = samples, perturbation, dataset
        self._held: dict[int, Sample] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        for place, sample in enumerate(self._samples):  # walking along may be cheaper than asking for each place
            yield self._held.get(place) or self._make(place, sample)

    def sample(self, place: int) -> Sample:
        """Return the sample at a place, perturbed."""
        return self._held.get(place) or self._make(place, self._samples[place])

    def _make(self, place: int, sample: Sample) -> Sample:
        regions = regions_of(sample)
        touched = [region for region in regions if self._perturbation.touches(region)]
        sized = not all(isinstance(region, Mask | MaskTrack) for region in touched)
        made = perturbed_sample(sample, self._perturbation, size_of(self._dataset, sample.image_id) if sized else None)
        nbytes = sum(_nbytes(region) for region in regions_of(made))
        if nbytes and self._bytes + nbytes <= _HELD_BYTES:
            self._held[place] = made
            self._bytes += nbytes
        return made


_SIZES: WeakKeyDictionary[Dataset, dict[str, Size | None]] = WeakKeyDictionary()


def size_of(dataset: Dataset, image_id: str) -> Size | None:
    """Return (width, height) of a picture, by the head of its file where it is one; None where it cannot be read.

    A picture that cannot be read is the pipeline's to refuse, with its reason.
    """
    try:
        known = _SIZES.setdefault(dataset, {})
    except TypeError:  # a data set that cannot be a key
        known = {}
    if image_id not in known:
        if len(known) >= _MOST_SIZES:
            known.clear()
        known[image_id] = _size(dataset, image_id)
    return known[image_id]


def _size(dataset: Dataset, image_id: str) -> Size | None:
    try:
        path = dataset.picture(image_id)
        if path is not None:
            return image_size(path)
    except RegionkitError:
        pass  # a file that holds the picture among others, such as an archive or a clip
    try:
        return dataset.image(image_id).size
    except RegionkitError:
        return None


def _nbytes(region: Region) -> int:
    if isinstance(region, MaskTrack):
        return sum(mask.bitmap.nbytes for mask in region.masks if mask is not None)
    return region.bitmap.nbytes if isinstance(region, Mask) else 0


def _mask(mask: Mask, perturbation: Perturbation) -> Mask:
    if perturbation.kind == "dilate-pixels":
        return Mask(dilated(mask.bitmap, int(perturbation.amount)))
    radius = perturbation.amount * math.sqrt(int(mask.bitmap.sum()))
    return Mask((grown if perturbation.kind == "dilate" else shrunk)(mask.bitmap, radius))


def _box(box: Box, perturbation: Perturbation, size: Size, name: str) -> Box:
    """Move the edges of the part of a box that its picture holds.

    Raises:
        RegionError: The picture holds none of it.
    """
    corners = np.array(bounding_box(box, size).corners)
    sides = corners[2:] - corners[:2]
    moved = corners + perturbation.amount * _edges(perturbation, name) * np.tile(sides, 2)
    (x1, x2), (y1, y2) = (_kept(moved[axis], moved[axis + 2], sides[axis], size[axis]) for axis in (0, 1))
    return Box(x1, y1, x2, y2)


def _edges(perturbation: Perturbation, name: str) -> Floats:
    """Return (4,) how far the left, upper, right and lower edge move, in amounts."""
    if perturbation.kind == "jitter":
        return 2 * _draws(perturbation, name, 4) - 1
    outwards = np.array([-1.0, -1.0, 1.0, 1.0])
    return outwards if perturbation.kind == "dilate" else -outwards


def _kept(start: float, end: float, side: float, limit: int) -> tuple[float, float]:
    """Return an interval within 0..limit, no shorter than a pixel unless it was before; edges may have crossed."""
    low, high = (min(max(float(value), 0.0), float(limit)) for value in sorted((start, end)))
    least = min(_LEAST_SIDE, float(side))
    if high - low < least:
        low = min(max((low + high - least) / 2, 0.0), limit - least)
        high = low + least
    return low, high


def _points(region: Point | Trace, perturbation: Perturbation, size: Size, name: str) -> Point | Trace:
    """Move or leave out the points inside the picture.

    Raises:
        RegionError: A click, or every point of a trace, lies outside.
    """
    bounding_box(region, size)
    points = np.array(region.points, dtype=np.float64)
    inside = ((points >= 0) & (points <= size)).all(1)
    counted = points[inside]
    kept = np.ones(len(points), dtype=np.bool_)
    if perturbation.kind == "drop-points":
        count = len(counted)
        dropped = min(math.floor(perturbation.amount * count + 0.5), count - 1)
        kept[np.flatnonzero(inside)[np.argsort(_draws(perturbation, name, count), kind="stable")[:dropped]]] = False
    elif perturbation.kind == "shift-points":
        points[inside] = _shifted(counted, perturbation, size, name).clip(0, size)
    else:
        points[inside] = _carried(counted, perturbation, name).clip(0, size)
    places = tuple((float(x), float(y)) for x, y in points[kept])
    if isinstance(region, Point):
        return Point(places)
    times = region.times
    return Trace(places, None if times is None else tuple(time for time, one in zip(times, kept, strict=True) if one))


def _carried(points: Floats, perturbation: Perturbation, name: str) -> Floats:
    """Return points (n, 2) carried along by their jittered bounding box."""
    low, high = points.min(0), points.max(0)
    sides = high - low
    moves = perturbation.amount * _edges(perturbation, name).reshape(2, 2) * sides
    corners = np.sort(np.stack([low, high]) + moves, axis=0)
    share = np.divide(points - low, sides, out=np.zeros_like(points), where=sides > 0)
    carried: Floats = corners[0] + share * (corners[1] - corners[0])
    return carried


def _shifted(points: Floats, perturbation: Perturbation, size: Size, name: str) -> Floats:
    """Return points (n, 2) moved by normal draws (Box and Muller, 1958)."""
    diagonal = float(np.hypot(*(points.max(0) - points.min(0)))) or math.hypot(*size)
    draws = _draws(perturbation, name, 2 * len(points)).reshape(-1, 2)
    lengths, angles = np.sqrt(-2 * np.log(draws[:, 0])), 2 * math.pi * draws[:, 1]
    normal = np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1)
    shifted: Floats = points + perturbation.amount * diagonal * normal
    return shifted


def _draws(perturbation: Perturbation, name: str, count: int) -> Floats:
    """Return (count,) uniform draws between 0 and 1, both left out; the first ones do not depend on how many."""
    key = f"{perturbation.kind} {perturbation.seed} {name}".encode("utf-8", "surrogatepass")
    start = int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "little")
    raw = np.random.PCG64(start).random_raw(count)  # raw numbers: numpy promises their stream for ever
    drawn: Floats = ((np.asarray(raw) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return drawn
