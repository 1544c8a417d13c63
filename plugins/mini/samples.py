"""Tasks of the mini-world: regions of a scene, as people would point at them, and what should be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Trace, WholeImage
from regionkit.plugins.mini.captions import references
from regionkit.plugins.mini.layout import Draws
from regionkit.plugins.mini.lexicon import is_held_out
from regionkit.plugins.mini.referring import candidates_of, targets
from regionkit.plugins.mini.scene import MiniObject, MiniScene, make_scene

#: Tasks, in the order that seeds count them: append only.
TASKS: tuple[str, ...] = ("point", "box", "mask", "trace", "box-set", "patch", "image", "dense", "ris")
#: Cells along each side of the grid that patch regions count in, whatever the size of the picture.
PATCH_GRID = 12
#: Points of a trace and the seconds between two of them.
_TRACE_LENGTH = 24
_TRACE_STEP = 0.05


@dataclass(frozen=True)
class MiniSample:
    """One question and its answers.

    Attributes:
        id: Scene id, task and number within the scene.
        scene: The scene; samples of one scene share the object.
        region: What is asked about, in pixels.
        references: Captions that are right, one a wording.
        objects: The objects that the region shows.
        candidates: For ``ris``, the regions among which the references pick this one.
        overlaps: For ``ris``, the IoU of each candidate with the region.
    """

    id: str
    scene: MiniScene
    region: Region
    references: tuple[str, ...]
    objects: tuple[MiniObject, ...]
    candidates: tuple[Mask, ...] = ()
    overlaps: tuple[float, ...] = ()

    @property
    def nouns(self) -> frozenset[str]:
        """Return the nouns of the region."""
        return frozenset(item.noun for item in self.objects)

    @property
    def everything(self) -> tuple[tuple[Box, tuple[str, ...]], ...]:
        """Return every object of the scene as its box and captions that are right for it."""
        items, background = self.scene.objects, self.scene.background
        return tuple((Box(*item.box), references([item.placement], background, None)) for item in items)

    @property
    def attributes(self) -> frozenset[str]:
        """Return the sizes and colours of the region's objects."""
        words = {word for item in self.objects for word in (item.size, item.colour)}
        return frozenset(word for word in words if word is not None)


def make_samples(task: str, split: str, seed: int, limit: int) -> Iterator[MiniSample]:
    """Yield the samples of the first ``limit`` scenes of a split.

    There is one a scene; for ``dense`` one an object, and for ``ris`` none where no expression can pick one object
    among others. A scene is the same for every task, so that its features can be shared.
    """
    if task not in TASKS:
        raise ValueError(f"no task named '{task}' in the mini-world; there are: {', '.join(TASKS)}")
    for index in range(limit):
        yield from samples_of(task, split, seed, index)


def samples_of(task: str, split: str, seed: int, index: int) -> Iterator[MiniSample]:
    """Yield the samples of one scene."""
    scene = make_scene(split, seed, index)
    draws = Draws(13, TASKS.index(task), seed, index)
    if task == "dense":
        for number, item in enumerate(scene.objects):
            yield _sample(scene, task, number, Box(*item.box), (item,))
    elif task == "ris":
        if targets(scene.layout):
            yield _referring(scene, draws)
    else:
        yield _sample(scene, task, 0, *_choose(task, scene, draws))


def _referring(scene: MiniScene, draws: Draws) -> MiniSample:
    """Draw one of the objects that an expression can pick, and the masks that it is to be picked from."""
    item = _one([scene.objects[at] for at in targets(scene.layout)], draws)
    masks, overlaps = candidates_of(scene, item, draws)
    sample = _sample(scene, "ris", 0, Mask(item.mask), (item,))
    return replace(sample, candidates=tuple(Mask(mask) for mask in masks), overlaps=overlaps)


def _sample(scene: MiniScene, task: str, number: int, region: Region, objects: tuple[MiniObject, ...]) -> MiniSample:
    """Put a sample together; only the caption of a whole picture tells the relation of its objects."""
    relation = scene.layout.relation if task == "image" else None
    said = references([item.placement for item in objects], scene.background, relation)
    return MiniSample(f"{scene.id}/{task}/{number}", scene, region, said, objects)


def _choose(task: str, scene: MiniScene, draws: Draws) -> tuple[Region, tuple[MiniObject, ...]]:
    """Choose objects of a scene and a region that shows them."""
    if task == "image":
        return WholeImage(), scene.objects
    if task == "box-set":
        some = _several(scene.objects, draws)
        return BoxSet(tuple(Box(*item.box) for item in some)), some
    item = _one(scene.objects, draws)
    return point_at(task, item, draws), (item,)


def _one(objects: Sequence[MiniObject], draws: Draws) -> MiniObject:
    """Draw an object; one with a held-out pair comes first where there is one."""
    unseen = [item for item in objects if is_held_out(item.noun, item.size, item.colour)]
    return draws.pick(unseen or objects)


def _several(objects: tuple[MiniObject, ...], draws: Draws) -> tuple[MiniObject, ...]:
    """Draw two objects of a scene that has more than two, otherwise take all."""
    if len(objects) <= 2:
        return objects
    left_out = {draws.below(len(objects))}
    while len(objects) - len(left_out) > 2:
        left_out.add(draws.below(len(objects)))
    return tuple(item for at, item in enumerate(objects) if at not in left_out)


def point_at(task: str, item: MiniObject, draws: Draws) -> Region:
    """Return a box, mask, point, trace or patch that shows one object."""
    if task == "box":
        return Box(*item.box)
    if task == "mask":
        return Mask(item.mask)
    if task == "point":
        x, y = inner_pixel(item.mask, draws)
        return Point.at(x + 0.5, y + 0.5)
    if task == "trace":
        points = walk(item.mask, draws)
        return Trace(
            tuple((x + 0.5, y + 0.5) for x, y in points),
            tuple(round(_TRACE_STEP * number, 2) for number in range(len(points))),
        )
    step = len(item.mask) // PATCH_GRID
    cells = item.mask.reshape(PATCH_GRID, step, PATCH_GRID, step).sum(axis=(1, 3))
    good = np.flatnonzero(cells.ravel() * 4 >= cells.max() * 3).tolist()
    row, column = divmod(draws.pick(good), PATCH_GRID)
    return Patch(row, column, PATCH_GRID, PATCH_GRID)


def inner_pixel(mask: NDArray[np.bool_], draws: Draws) -> tuple[int, int]:
    """Draw a pixel x, y of a mask, away from its edge where it can be: people click on a thing, not on its rim."""
    inner = mask
    for _ in range(3):
        padded = np.pad(inner, 1)
        smaller = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if not smaller.any():
            break
        inner = smaller
    rows, columns = np.nonzero(inner)
    at = draws.below(len(rows))
    return int(columns[at]), int(rows[at])


def walk(mask: NDArray[np.bool_], draws: Draws) -> list[tuple[int, int]]:
    """Draw a mouse-like walk x, y inside a mask: it keeps its direction, and turns where the next step would leave."""
    x, y = inner_pixel(mask, draws)
    path = [(x, y)]
    dx, dy = draws.below(5) - 2, draws.below(5) - 2
    while len(path) < _TRACE_LENGTH:
        if draws.chance(25):
            dx, dy = draws.below(5) - 2, draws.below(5) - 2
        if 0 <= x + dx < mask.shape[1] and 0 <= y + dy < mask.shape[0] and mask[y + dy, x + dx]:
            x, y = x + dx, y + dy
        else:
            dx, dy = draws.below(5) - 2, draws.below(5) - 2
        path.append((x, y))
    return path
