"""Backbones, data set and corpus keep the toolkit's contracts; photographs are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import DataError, ImageError
from regionkit.plugins.mini.backbones import MiniBackbone, MiniClip, MiniDense, MiniLocal, MiniMean, MiniVit
from regionkit.plugins.mini.config import (
    MiniBackboneConfig,
    MiniCaptionsConfig,
    MiniContrastConfig,
    MiniDatasetConfig,
)
from regionkit.plugins.mini.data import MiniCaptions, MiniDataset
from regionkit.plugins.mini.recipe import MiniContrast
from regionkit.plugins.mini.samples import TASKS
from regionkit.plugins.mini.scene import make_scene
from regionkit.plugins.mini.words import Words

ALL = [pytest.param(kind, id=kind.name) for kind in (MiniClip, MiniMean, MiniLocal, MiniDense, MiniVit)]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(kind: type[MiniBackbone], **options: bool) -> MiniBackbone:
    return kind.build(MiniBackboneConfig(**options), BuildContext(seed=0))


@pytest.mark.parametrize("kind", ALL)
def test_shapes_and_spaces(kind: type[MiniBackbone]) -> None:
    backbone = build(kind)
    features = backbone.encode([make_scene("test", 0, index).image for index in range(3)])
    assert features.patches.shape == (3, 12, 12, 128)
    assert backbone.space == f"{kind.name}/image[128]"
    assert backbone.encode_text(["a small dog on grass", "snow"]).shape == (2, 128)
    assert backbone.encode_text([]).shape == (0, 128)
    if kind in (MiniClip, MiniDense, MiniVit):
        assert features.cls is not None
        assert features.attention is not None
        assert features.cls.shape == (3, 128)
        torch.testing.assert_close(features.attention.sum(dim=(1, 2)), torch.ones(3))
    else:
        assert features.cls is None
        assert features.attention is None


@pytest.mark.parametrize("kind", ALL)
def test_features_do_not_depend_on_batch_mates(kind: type[MiniBackbone]) -> None:
    backbone = build(kind)
    images = [make_scene("test", 0, index).image for index in range(3)]
    together, alone = backbone.encode(images), backbone.encode(images[1:2])
    torch.testing.assert_close(together.patches[1:2], alone.patches, atol=1e-5, rtol=1e-4)
    texts = ["a small dog on grass", "there are a big cat , a small bus and a big key on wood"]
    torch.testing.assert_close(backbone.encode_text(texts)[:1], backbone.encode_text(texts[:1]), atol=1e-5, rtol=1e-4)


def test_other_sizes_are_squashed() -> None:
    frame = build(MiniDense).frame((192, 48))
    assert frame.size == (96, 96)
    assert frame.to_grid(192, 48) == (12.0, 12.0)


def test_photographs_are_refused() -> None:
    images = [make_scene("test", 0, 0).image, Image.new("RGB", (96, 96))]
    with pytest.raises(ImageError) as caught:
        build(MiniDense).check_images(images)
    assert "'mini-dense' knows only pictures of the mini-world, and picture 2 of 2 is not one" in str(caught.value)
    assert "--force" in str(caught.value)
    build(MiniDense).check_images(images[:1])
    build(MiniDense, force=True).check_images(images)


def test_crops_of_mini_pictures_are_accepted() -> None:
    build(MiniDense).check_images([make_scene("test", 0, 0).image.crop((10, 10, 40, 40)).resize((96, 96))])


@pytest.mark.parametrize("kind", ALL)
def test_recipe_learns_and_repeats(kind: type[MiniBackbone]) -> None:
    losses = []
    for _ in range(2):
        recipe = MiniContrast.build(
            MiniContrastConfig(steps=3, batch_size=8, texts=200, other_texts=16),
            BuildContext(parts={"backbone": build(kind)}, seed=0),
        )
        optimiser = torch.optim.AdamW(recipe.module.parameters(), lr=1e-3)
        for _ in range(3):
            loss, figures = recipe.loss(recipe.batch(0))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        parts = {"parts"} if kind in (MiniDense, MiniVit) else set()
        assert set(figures) == set(recipe.backbone.network.config.objectives) | parts
    assert losses[2] < losses[0]
    assert losses[:3] == losses[3:]


def test_recipe_header_names_the_spaces() -> None:
    recipe = MiniContrast.build(MiniContrastConfig(texts=10), BuildContext(parts={"backbone": build(MiniDense)}))
    header = recipe.export()[0].header
    assert (header.kind, header.name) == ("backbone", "mini-dense")
    assert (header.space, header.writes) == ("mini-dense/image[128]", "mini-dense/text[128]")


def test_words() -> None:
    words = Words.of_language()
    assert len(words) == 160
    assert words.pad(["a dog", ""], 8) == [words.encode("a dog"), [0, 0]]
    assert words.encode("A Dog.") == words.encode("a dog")
    assert words.encode("zeppelin") == [3]


def test_dense_samples_say_all_that_is_in_their_scene() -> None:
    samples = MiniDataset(MiniDatasetConfig()).samples("dense", "test", seed=0, limit=8)
    for image_id in {sample.image_id for sample in samples}:
        same = [sample for sample in samples if sample.image_id == image_id]
        (told,) = {repr(sample.info["ground_truth"]): sample.info["ground_truth"] for sample in same}.values()
        boxes = [(sample.region.x1, sample.region.y1, sample.region.x2, sample.region.y2) for sample in same]
        assert [entry["box"] for entry in told] == boxes
        assert [entry["caption"] for entry in told] == [sample.references for sample in same]


@pytest.mark.parametrize("task", TASKS)
def test_dataset(task: str) -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    # Of these eight scenes only three pose the question of ris: the others show one object or two of a kind.
    samples = dataset.samples(task, "test", seed=0, limit=8)
    assert len({sample.image_id for sample in samples}) == (3 if task == "ris" else 8)
    assert dataset.image(samples[0].image_id).size == (96, 96)
    assert set(samples[0].info["nouns"]) <= set(dataset.lexicon("nouns").values())
    assert all(set(sample.info["nouns"]) <= set(sample.info["objects"]) for sample in samples)
    assert set(samples[0].info["attributes"]) <= set(dataset.lexicon("attributes").values())
    prints = {dataset.fingerprint(task, "test", seed, limit) for seed in (0, 1) for limit in (4, 5)}
    assert len(prints) == 4


def test_dataset_refuses_what_it_has_not() -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    with pytest.raises(DataError, match="test/0/17"):
        dataset.image("test-0-17")
    with pytest.raises(DataError, match="it has: nouns, attributes"):
        dataset.lexicon("verbs")


def test_folder_is_made_and_verified(tmp_path) -> None:
    dataset = MiniDataset(MiniDatasetConfig())
    assert dataset.make(tmp_path, "held-out", 1, 3) == {"pictures": 3}
    assert dataset.verify(tmp_path) == []
    Image.new("RGB", (96, 96)).save(tmp_path / "held-out-1-2.png")
    (tmp_path / "held-out-1-0.png").unlink()
    faults = dataset.verify(tmp_path)
    assert any("held-out-1-2.png: its pixels are not those of scene held-out/1/2" in fault for fault in faults)
    assert any("held-out-1-0.png" in fault for fault in faults)


def test_corpus_size() -> None:
    assert len(MiniCaptions(MiniCaptionsConfig(size=30)).texts()) == 30


def test_listing_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, regionkit.plugins.mini as mini, regionkit.plugins.mini.config;"
        "mini.regionkit_components(); mini.regionkit_presets(); mini.regionkit_weights();"
        "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
