"""What must hold of pooling in compat ``paper`` for any picture and any region, drawn by hypothesis."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

WIDTH, HEIGHT, DIM = 96, 60, 6
WEIGHTINGS = ("uniform", "gaussian", "attention", "central")


def scene_of(rows: int, columns: int, seed: int = 0) -> Scene:
    """One picture of 96 x 60 pixels with random features on any grid."""
    generator = torch.Generator().manual_seed(seed)
    frame = Frame.squash((WIDTH, HEIGHT), (columns * 14, rows * 14), (rows, columns))
    features = Features(
        patches=torch.randn(1, rows, columns, DIM, generator=generator),
        frames=(frame,),
        attention=torch.rand(1, rows, columns, generator=generator).add(0.01).div(rows * columns),
    )
    return Scene([picture((WIDTH, HEIGHT))], GridBackbone(), features)


def vector(scene: Scene, region, **options) -> torch.Tensor:
    return PatchPool(PatchPoolConfig(**options)).encode(scene, Regions((region,), (0,))).vectors()[0]


def touched_by(box: Box, grid: tuple[int, int]) -> np.ndarray:
    """The patches (h, w) that a box shares any area with, by exact arithmetic."""
    sides = ((box.y1, box.y2, HEIGHT, grid[0]), (box.x1, box.x2, WIDTH, grid[1]))
    spans = [
        (math.floor(Fraction(start) * count / size), math.ceil(Fraction(end) * count / size))
        for start, end, size, count in sides
    ]
    touched = np.zeros(grid, dtype=np.bool_)
    touched[slice(*spans[0]), slice(*spans[1])] = True
    return touched


# Coordinates never lie on the border of a patch, where two roundings may differ.
grids = st.tuples(st.integers(1, 9), st.integers(1, 9))
xs = st.integers(0, WIDTH - 2).map(lambda value: value + 0.37)
ys = st.integers(0, HEIGHT - 2).map(lambda value: value + 0.37)
sides = st.integers(1, 80)
boxes = st.builds(lambda x, y, w, h: Box(x, y, min(WIDTH, x + w), min(HEIGHT, y + h)), xs, ys, sides, sides)
points = st.tuples(xs, ys)


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@settings(max_examples=60)
@given(grid=grids, members=st.lists(boxes, min_size=1, max_size=5), twice=st.integers(0, 4))
def test_a_set_is_eq_1_every_occurrence_of_a_patch_counts(grid, members, twice):
    """A box that is named twice counts twice, and so does a patch that two boxes share."""
    members = [*members, members[twice % len(members)]]
    scene = scene_of(*grid)
    patches = scene.features.patches[0].double()
    total, count = torch.zeros(DIM, dtype=torch.float64), 0.0
    for box in members:
        touched = torch.from_numpy(touched_by(box, grid))
        total += patches[touched].sum(0)
        count += int(touched.sum())
    same(vector(scene, BoxSet(tuple(members))), (total / count).float())


@settings(max_examples=60)
@given(grid=grids, row=st.integers(0, 8), column=st.integers(0, 8), weighting=st.sampled_from(WEIGHTINGS))
def test_a_box_of_one_patch_is_that_patch(grid, row, column, weighting):
    rows, columns = grid
    row, column = row % rows, column % columns
    scene = scene_of(rows, columns)
    width, height = WIDTH / columns, HEIGHT / rows
    # A tenth of a patch inside its borders, so that rounding touches no neighbour.
    box = Box(*((column + 0.1) * width, (row + 0.1) * height), *((column + 0.9) * width, (row + 0.9) * height))
    same(vector(scene, box, weighting=weighting), scene.features.patches[0, row, column])


@settings(max_examples=60)
@given(grid=grids, path=st.lists(points, min_size=1, max_size=12))
def test_a_trace_is_the_mean_of_its_points(grid, path):
    scene = scene_of(*grid)
    single = [vector(scene, Point.at(*point)) for point in path]
    same(vector(scene, Trace(tuple(path))), torch.stack(single).mean(0))


@settings(max_examples=40)
@given(
    grid=grids, members=st.lists(boxes, min_size=2, max_size=5), weighting=st.sampled_from(WEIGHTINGS), data=st.data()
)
def test_the_order_of_a_set_does_not_matter(grid, members, weighting, data):
    scene = scene_of(*grid)
    shuffled = data.draw(st.permutations(members))
    one = vector(scene, BoxSet(tuple(members)), weighting=weighting)
    same(one, vector(scene, BoxSet(tuple(shuffled)), weighting=weighting))


@settings(max_examples=60)
@given(grid=grids, box=boxes, weighting=st.sampled_from(WEIGHTINGS))
def test_weights_are_shares_of_patches_that_the_region_touches(grid, box, weighting):
    scene = scene_of(*grid)
    pool = PatchPool(PatchPoolConfig(weighting=weighting))
    weights = pool.weights(scene.features, Regions((box,), (0,)))[0]
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert not weights[~touched_by(box, grid)].any()


@settings(max_examples=40)
@given(
    grid=grids,
    box=boxes,
    point=points,
    weighting=st.sampled_from(WEIGHTINGS),
    compat=st.sampled_from(["paper", "reference"]),
)
def test_nothing_of_the_callers_is_changed(grid, box, point, weighting, compat):
    """The released code rounds its caller's boxes, and normalises features and attention, in place."""
    scene = scene_of(*grid)
    features = scene.features
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    bitmap[10:30, 20:40] = True
    items = (box, BoxSet((box, box)), Point.at(*point), Trace((point, (1.0, 1.0))), Mask(bitmap), WholeImage())
    before = copy.deepcopy((items, features.patches, features.attention))
    PatchPool(PatchPoolConfig(weighting=weighting, compat=compat)).encode(scene, Regions(items, (0,) * len(items)))
    assert items[:4] == before[0][:4]
    assert np.array_equal(bitmap, before[0][4].bitmap)
    assert torch.equal(features.patches, before[1])
    assert torch.equal(features.attention, before[2])
