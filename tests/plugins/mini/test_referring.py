"""Referring segmentation: an expression, the region that it means, and regions that it does not mean."""

from __future__ import annotations

import numpy as np
import pytest

from regionkit.core.contracts import Sample
from regionkit.core.regions import Mask
from regionkit.plugins.mini.captions import describe
from regionkit.plugins.mini.config import MiniDatasetConfig
from regionkit.plugins.mini.data import MiniDataset
from regionkit.plugins.mini.layout import SPLITS, Layout, Placement, make_layout
from regionkit.plugins.mini.referring import targets
from regionkit.plugins.mini.samples import make_samples
from regionkit.plugins.mini.scene import make_scene


def placement(noun: str, left: int) -> Placement:
    return Placement(noun, "small", None, left, 0, 24, False)


@pytest.mark.parametrize(
    ("nouns", "found"),
    [
        pytest.param(["dog"], (), id="nothing-to-tell-it-from"),
        pytest.param(["dog", "dog"], (), id="two-of-a-kind"),
        pytest.param(["dog", "cat"], (0, 1), id="two-kinds"),
        pytest.param(["dog", "dog", "cat"], (2,), id="a-pair-and-one"),
    ],
)
def test_an_expression_means_one_object(nouns: list[str], found: tuple[int, ...]) -> None:
    objects = tuple(placement(noun, 30 * at) for at, noun in enumerate(nouns))
    assert targets(Layout("test/0/0", "grass", (0, 0, 256), objects, None)) == found


@pytest.mark.parametrize("split", SPLITS)
def test_candidates_are_objects_halves_and_ground(split: str) -> None:
    for sample in make_samples("ris", split, 1, 25):
        (item,) = sample.objects
        scene = sample.scene
        assert isinstance(sample.region, Mask)
        np.testing.assert_array_equal(sample.region.bitmap, item.mask)
        assert [other.placement.kind for other in scene.objects].count(item.placement.kind) == 1
        assert sample.references[0] == f"{describe(item.placement.kind)} on {scene.background}"
        masks = {mask.bitmap.tobytes() for mask in sample.candidates}
        assert len(masks) == len(sample.candidates)
        whole = {other.mask.tobytes() for other in scene.objects}
        ground = ~np.any([other.mask for other in scene.objects], axis=0)
        assert whole | {ground.tobytes()} <= masks
        halves = [mask.bitmap for mask in sample.candidates if mask.bitmap.tobytes() not in whole | {ground.tobytes()}]
        assert len(halves) == len(scene.objects)
        for half in halves:
            (owner,) = [other for other in scene.objects if not (half & ~other.mask).any()]
            rest = owner.mask & ~half
            sides = np.flatnonzero(half.any(axis=0)), np.flatnonzero(rest.any(axis=0))
            assert sides[0].max() < sides[1].min() or sides[1].max() < sides[0].min()


def test_overlaps_are_the_iou_with_the_target() -> None:
    for sample in make_samples("ris", "test", 2, 40):
        assert isinstance(sample.region, Mask)
        target = sample.region.bitmap
        for candidate, overlap in zip(sample.candidates, sample.overlaps, strict=True):
            both, either = (candidate.bitmap & target).sum(), (candidate.bitmap | target).sum()
            assert type(overlap) is float
            assert overlap == pytest.approx(both / either)
        assert sorted(sample.overlaps)[-1] == 1.0
        assert 0.2 < sorted(sample.overlaps)[-2] < 0.8


def test_the_target_stands_anywhere_among_its_candidates() -> None:
    places = {sample.overlaps.index(1.0) for sample in make_samples("ris", "wide", 0, 60)}
    assert len(places) > 8


def test_scenes_that_pose_no_question_are_left_out() -> None:
    shown = {sample.scene.id for sample in make_samples("ris", "test", 0, 60)}
    asking = {f"test/0/{index}" for index in range(60) if targets(make_layout("test", 0, index))}
    assert shown == asking
    assert 20 < len(shown) < 60


def _plain(sample: Sample) -> tuple[object, ...]:
    masks = tuple(one.bitmap.tobytes() for one in (sample.region, *sample.candidates) if isinstance(one, Mask))
    return sample.id, sample.image_id, sample.references, masks, dict(sample.info)


def test_samples_are_a_list_that_is_made_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    drawn: list[int] = []

    def counted(split: str, seed: int, index: int) -> object:
        drawn.append(index)
        return make_scene(split, seed, index)

    monkeypatch.setattr("regionkit.plugins.mini.samples.make_scene", counted)
    samples = dataset.samples("ris", "wide", seed=3, limit=200)
    assert len(samples) == 200
    assert drawn == []
    assert _plain(samples[-1]) == _plain(samples[199])
    assert drawn == [199, 199]
    assert [_plain(one) for one in samples[1:3]] == [_plain(samples[1]), _plain(samples[2])]
    assert [one.id for one in dataset.samples("ris", "test", limit=12)] == [
        one.id for one in make_samples("ris", "test", 0, 12)
    ]
    with pytest.raises(IndexError):
        samples[200]


def test_samples_carry_candidates_and_overlaps_for_this_task_only() -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    (sample,) = dataset.samples("ris", "wide", limit=1)
    assert len(sample.candidates) == len(sample.info["overlaps"])
    (other,) = dataset.samples("mask", "wide", limit=1)
    assert other.candidates == ()
    assert "overlaps" not in other.info


def test_fingerprint_changes_with_seed_and_limit() -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    assert len({dataset.fingerprint("ris", "wide", seed, limit) for seed in (0, 1) for limit in (2, 3)}) == 4
