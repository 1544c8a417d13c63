"""Wide scenes: the objects of ordinary ones, few and small in a picture of sixteen times the area."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.frames import Frame
from regionkit.plugins.mini.config import MiniDatasetConfig
from regionkit.plugins.mini.data import MiniDataset
from regionkit.plugins.mini.drawing import TILE, paint_background, tile
from regionkit.plugins.mini.layout import SIDE, SIDES, WIDE_SIDE, make_layout, without
from regionkit.plugins.mini.lexicon import BACKGROUNDS
from regionkit.plugins.mini.samples import TASKS, make_samples
from regionkit.plugins.mini.scene import is_marked, make_scene, render

WIDE = ["wide-train", "wide"]


@pytest.mark.parametrize("split", WIDE)
def test_five_to_eight_objects_of_the_usual_sides(split: str) -> None:
    layouts = [make_layout(split, 3, index) for index in range(300)]
    assert {len(layout.objects) for layout in layouts} == {5, 6, 7, 8}
    for layout in layouts:
        assert layout.side == WIDE_SIDE == 384
        assert layout.relation is None
        for item in layout.objects:
            assert item.side in SIDES[item.size]
            assert min(item.left, item.top) >= 0
            assert max(item.left, item.top) + item.side <= WIDE_SIDE
        kinds = [item.kind for item in layout.objects]
        assert len({kind[0] for kind in kinds}) == len(set(kinds))


def test_cells_share_at_most_a_third_of_a_side_and_some_do() -> None:
    shared = 0
    for index in range(300):
        objects = make_layout("wide", 4, index).objects
        for at, one in enumerate(objects):
            for other in objects[:at]:
                across = min(one.left + one.side, other.left + other.side) - max(one.left, other.left)
                down = min(one.top + one.side, other.top + other.side) - max(one.top, other.top)
                assert 3 * min(across, down) <= min(one.side, other.side)
                shared += min(across, down) > 0
    assert shared > 50


def test_objects_huddle() -> None:
    """Most objects have another one within a focal crop of three times their side."""
    near = total = 0
    for index in range(200):
        objects = make_layout("wide", 5, index).objects
        for one in objects:
            total += 1
            near += any(
                max(abs(one.left - other.left), abs(one.top - other.top)) < 1.5 * one.side
                for other in objects
                if other is not one
            )
    assert near / total > 0.5


def test_an_object_is_a_few_pixels_once_the_picture_is_squashed() -> None:
    frame = Frame.squash((WIDE_SIDE, WIDE_SIDE), (SIDE, SIDE), (12, 12))
    for sample in make_samples("box", "wide", 0, 50):
        x1, y1, x2, y2 = sample.objects[0].box
        (left, top), (right, bottom) = frame.to_frame(x1, y1), frame.to_frame(x2, y2)
        assert max(right - left, bottom - top) <= max(SIDES["big"]) / 4


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_ground_repeats_without_a_seam(kind: str) -> None:
    wide = paint_background(kind, 100, 30, 256, WIDE_SIDE)
    assert wide.shape == (WIDE_SIDE, WIDE_SIDE, 3)
    ground = np.minimum(tile(kind), 255)
    rows, columns = (30 + np.arange(WIDE_SIDE)) % TILE, (100 + np.arange(WIDE_SIDE)) % TILE
    np.testing.assert_array_equal(wide, ground[np.ix_(rows, columns)])
    # Neighbours across the edge of the tile differ no more than neighbours inside it.
    steps = np.abs(np.diff(tile(kind).astype(int), axis=1)).mean(axis=(0, 2))
    seam = np.abs(tile(kind)[:, 0].astype(int) - tile(kind)[:, -1]).mean()
    assert seam <= 1.5 * steps.max()


def test_a_scene_without_an_object_differs_in_its_cell_only() -> None:
    scene = make_scene("wide", 2, 0)
    changed = (scene.pixels != render(without(scene.layout, 0))).any(axis=2)
    placed = scene.layout.objects[0]
    rows, columns = np.nonzero(changed)
    assert placed.top <= rows.min() <= rows.max() < placed.top + placed.side
    assert placed.left <= columns.min() <= columns.max() < placed.left + placed.side


@pytest.mark.parametrize("task", TASKS)
def test_every_task_poses_its_question(task: str) -> None:
    samples = MiniDataset(MiniDatasetConfig()).samples(task, "wide", seed=1, limit=3)
    assert len({sample.image_id for sample in samples}) == 3
    assert all(sample.references for sample in samples)


def test_folder_is_made_and_verified(tmp_path: Path) -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    assert dataset.make(tmp_path, "wide-train", 1, 2) == {"pictures": 2}
    assert dataset.verify(tmp_path) == []
    with Image.open(tmp_path / "wide-train-1-0.png") as picture:
        assert picture.size == (WIDE_SIDE, WIDE_SIDE)
        assert is_marked(picture)
    lines = [json.loads(line) for line in (tmp_path / "regions.jsonl").read_text().splitlines()]
    referring = [line for line in lines if line["task"] == "ris"]
    assert len(referring) == 2
    assert all(len(line["candidates"]) == len(line["overlaps"]) > 10 for line in referring)
    assert not any("candidates" in line for line in lines if line["task"] != "ris")
