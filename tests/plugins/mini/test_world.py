"""The world is the same everywhere, and its captions, masks and regions tell the truth."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.errors import DataError
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Trace
from regionkit.plugins.mini.captions import corpus, picture_caption, split_caption
from regionkit.plugins.mini.config import MiniCaptionsConfig, MiniDatasetConfig
from regionkit.plugins.mini.data import MiniCaptions, MiniDataset
from regionkit.plugins.mini.drawing import PAINT, sprite, tile
from regionkit.plugins.mini.layout import SIDE, SPLITS, make_layout
from regionkit.plugins.mini.lexicon import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT_COLOURS,
    HELD_OUT_SIZES,
    NOUNS,
    PAINTABLE,
    is_held_out,
    nouns_in,
    unknown_words,
    vocabulary,
)
from regionkit.plugins.mini.samples import PATCH_GRID, TASKS, make_samples
from regionkit.plugins.mini.scene import is_marked, make_scene, save_png


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        pytest.param("train", "411a1db232fa4fa3", id="train"),
        pytest.param("test", "80568f2f0d721970", id="test"),
        pytest.param("clutter", "feaea3ba2362dffd", id="clutter"),
        pytest.param("held-out", "954ff0cc897a0af4", id="held-out"),
        pytest.param("wide-train", "58e5274c3499e746", id="wide-train"),
        pytest.param("wide", "dfb62d311a0b6d64", id="wide"),
    ],
)
def test_same_bytes_on_every_machine(split: str, digest: str) -> None:
    found = hashlib.sha256()
    for index in range(6):
        scene = make_scene(split, 0, index)
        found.update(scene.pixels.tobytes())
        found.update(repr((scene.layout, [item.box for item in scene.objects])).encode())
    assert found.hexdigest()[:16] == digest


@pytest.mark.parametrize("task", TASKS)
def test_same_regions_on_every_call(task: str) -> None:
    first, second = (list(make_samples(task, "test", 3, 5)) for _ in range(2))
    assert [sample.id for sample in first] == [sample.id for sample in second]
    assert [sample.references for sample in first] == [sample.references for sample in second]
    assert [_plain(sample.region) for sample in first] == [_plain(sample.region) for sample in second]


def _plain(region: object) -> object:
    return region.bitmap.tobytes() if isinstance(region, Mask) else region


def test_seeds_and_splits_differ() -> None:
    layouts = [make_layout(split, seed, 0) for split in SPLITS for seed in range(3)]
    assert len({layout.id for layout in layouts}) == len(set(layouts)) == 3 * len(SPLITS) == 18


def test_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"no split named 'tset'.*train, test, clutter, held-out, wide-train, wide"):
        make_layout("tset", 0, 0)


def test_a_task_that_nobody_poses_is_told_with_those_that_are_posed() -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    for ask in (dataset.samples, dataset.fingerprint):
        with pytest.raises(DataError, match="the mini-world has no task 'nope'\n  tasks are: point, box, mask, trace"):
            ask("nope", "test", 0, 5)
        with pytest.raises(DataError, match="no task 'maks'\n  did you mean: mask"):
            ask("maks", "test", 0, 5000)


def test_size_of_the_language() -> None:
    assert len(NOUNS) == len(set(NOUNS)) == 64
    assert len(BACKGROUNDS) == 8
    assert len(vocabulary()) == len(set(vocabulary())) == 156


@pytest.mark.parametrize("split", SPLITS)
def test_masks_and_boxes_are_exact(split: str) -> None:
    for index in range(40):
        scene = make_scene(split, 1, index)
        total = np.zeros((scene.layout.side, scene.layout.side), dtype=int)
        for item in scene.objects:
            x1, y1, x2, y2 = item.box
            inside = item.mask[y1:y2, x1:x2]
            assert inside.sum() == item.mask.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            total += item.mask
        assert total.max() == 1


def test_mask_is_what_is_painted() -> None:
    """Without the object, exactly the pixels of its sprite change, and its mask covers all that changed strongly."""
    from regionkit.plugins.mini.layout import without
    from regionkit.plugins.mini.scene import render

    for index in range(20):
        scene = make_scene("test", 2, index)
        item = scene.objects[-1]
        placed = item.placement
        changed = scene.pixels != render(without(scene.layout, len(scene.objects) - 1))
        cell = np.zeros((SIDE, SIDE), dtype=bool)
        cell[placed.top : placed.top + placed.side, placed.left : placed.left + placed.side] = True
        assert not (changed.any(axis=2) & ~cell).any()
        assert not (item.mask & ~cell).any()
        assert changed.any(axis=2)[item.mask].mean() > 0.9


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("noun", PAINTABLE)
def test_colour_words_are_true_of_pixels(noun: str, colour: str) -> None:
    rgb, alpha = sprite(noun, colour, 44)
    pixels = rgb[alpha[..., 0] > 200].astype(float)
    chroma = pixels.max(axis=1) - pixels.min(axis=1)
    # The strongest third of the pixels has the paint's hue: the angle between their colour and the paint is small.
    strong = pixels[chroma >= np.quantile(chroma, 0.67)]
    paint = np.asarray(PAINT[colour], dtype=float)
    hues = [vector - vector.min(axis=-1, keepdims=True) for vector in (strong, paint)]
    cosine = hues[0] @ hues[1] / (np.linalg.norm(hues[0], axis=1) * np.linalg.norm(hues[1]) + 1e-9)
    assert np.median(cosine) > 0.97


def test_backgrounds_tile_and_differ() -> None:
    means = [tuple(tile(kind).mean(axis=(0, 1)).astype(int)) for kind in BACKGROUNDS]
    assert len(set(means)) == len(BACKGROUNDS)


@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_are_true(split: str) -> None:
    for index in range(300):
        layout = make_layout(split, 5, index)
        caption = picture_caption(layout)
        assert nouns_in(caption) == {item.noun for item in layout.objects}
        assert layout.background in caption.split()
        assert unknown_words([caption]) == set()
        for item in layout.objects:
            assert item.size in caption.split()
            assert item.colour is None or item.colour in caption.split()


def test_relations_are_true() -> None:
    told = [layout for index in range(600) if (layout := make_layout("test", 0, index)).relation]
    assert len(told) > 20
    for layout in told:
        first, second = layout.objects
        right, down = first.left - second.left, first.top - second.top
        truth = {"left of": right < 0, "right of": right > 0, "above": down < 0, "below": down > 0}
        assert truth[layout.relation or ""] or abs(first.side - second.side) > min(abs(right), abs(down))


def test_counts_are_true() -> None:
    for index in range(300):
        layout = make_layout("test", 0, index)
        kinds = [item.kind for item in layout.objects]
        doubled = len(set(kinds)) < len(kinds)
        assert ("two" in picture_caption(layout).split()) == doubled


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        pytest.param("a big dog on grass", ["a big dog on grass"], id="one"),
        pytest.param("there is a small red car on sand", ["a small red car on sand"], id="there-is"),
        pytest.param("snow with two small cats", ["two small cats on snow"], id="with"),
        pytest.param(
            "a big dog left of a small bus on wood", ["a big dog on wood", "a small bus on wood"], id="relation"
        ),
        pytest.param(
            "a big dog , a big bee and a big key on snow",
            ["a big dog on snow", "a big bee on snow", "a big key on snow"],
            id="three",
        ),
    ],
)
def test_captions_split_into_phrases(caption: str, parts: list[str]) -> None:
    assert split_caption(caption) == parts


@pytest.mark.parametrize("split", ["train", "test", "clutter", "wide-train", "wide"])
def test_held_out_pairs_are_held_out(split: str) -> None:
    shown = (item for index in range(1500) for item in make_layout(split, 0, index).objects)
    assert not any(is_held_out(*item.kind) for item in shown)


def test_held_out_pairs_are_in_no_text() -> None:
    pairs = HELD_OUT_COLOURS | HELD_OUT_SIZES
    for caption in corpus(0, 4000):
        words = caption.split()
        for at, word in enumerate(words):
            for noun in nouns_in(word):
                assert not {(before, noun) for before in words[max(0, at - 2) : at]} & pairs or words[at - 2] == "and"


def test_held_out_split_asks_for_them() -> None:
    for sample in make_samples("box", "held-out", 0, 100):
        assert is_held_out(*sample.objects[0].placement.kind)


@pytest.mark.parametrize("split", SPLITS)
def test_clicks_and_traces_stay_inside(split: str) -> None:
    for sample in [*make_samples("point", split, 0, 40), *make_samples("trace", split, 0, 40)]:
        assert isinstance(sample.region, Point | Trace)
        mask = sample.objects[0].mask
        assert all(mask[int(y), int(x)] for x, y in sample.region.points)
        if isinstance(sample.region, Trace):
            assert sample.region.times is not None
            assert list(sample.region.times) == sorted(set(sample.region.times))


@pytest.mark.parametrize("split", ["test", "wide"])
def test_other_regions_show_their_objects(split: str) -> None:
    for box, chosen, patch in zip(
        *(make_samples(task, split, 0, 60) for task in ("box", "box-set", "patch")), strict=True
    ):
        assert isinstance(box.region, Box)
        assert box.region.corners == box.objects[0].box
        assert isinstance(chosen.region, BoxSet)
        assert len(chosen.region.boxes) == len(chosen.objects) == min(2, len(chosen.scene.objects))
        assert isinstance(patch.region, Patch)
        assert patch.region.rows == PATCH_GRID
        row, column, step = patch.region.row, patch.region.column, len(patch.objects[0].mask) // PATCH_GRID
        assert patch.objects[0].mask[row * step : (row + 1) * step, column * step : (column + 1) * step].any()
        assert box.scene.layout == chosen.scene.layout == patch.scene.layout


@pytest.mark.parametrize("size", [40, 5_000_000])
def test_captions_of_a_corpus_of_any_size_are_found_by_number(size: int) -> None:
    made = MiniCaptions(MiniCaptionsConfig(size=size, seed=3))
    rows, texts = made.rows(), made.texts()
    assert len(rows) == len(texts) == size
    first = list(islice(corpus(3, size), 40))
    assert list(islice(made.stream(), 40)) == [rows[place] for place in range(40)] == list(texts[:40]) == first
    assert rows[size - 1] == rows[-1] == texts[-1]
    with pytest.raises(IndexError):
        rows[size]


def test_corpus_is_a_prefix_of_a_longer_corpus() -> None:
    assert list(corpus(0, 50)) == list(islice(corpus(0, 500), 50))
    assert list(corpus(0, 50)) != list(corpus(1, 50))


def test_mark_survives_a_file(tmp_path) -> None:
    scene = make_scene("test", 0, 0)
    save_png(scene.image, tmp_path / "scene.png")
    with Image.open(tmp_path / "scene.png") as picture:
        assert is_marked(picture)
        assert (np.asarray(picture) == scene.pixels).all()


def test_a_slip_of_the_finger_is_told_and_not_drawn(tmp_path: Path) -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    for draw in (
        lambda: dataset.samples("box", "test", 0, 10**12),
        lambda: dataset.make(tmp_path, "test", 0, 10**12),
    ):
        with pytest.raises(DataError, match="the mini-world draws at most 100000 scenes, 1000000000000 were asked for"):
            draw()
