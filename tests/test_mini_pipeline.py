"""The shipped pipeline as a whole: one forward pass an image, captions that no batch mate changes, and its floor."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from regionkit.core.regions import Box, Mask, Patch, Point, Trace, WholeImage
from regionkit.registry import load
from regionkit.registry.assembly import build
from regionkit.registry.cli import root


@pytest.fixture(scope="module")
def pipeline():
    return load("mini")


@pytest.fixture(scope="module")
def dataset():
    return build("dataset", "mini")


@pytest.fixture
def crowded(dataset):
    """Return the picture of a scene with many objects."""
    sample = max(dataset.samples("box-set", "clutter", 0, 20), key=lambda sample: len(sample.info["nouns"]))
    return dataset.image(sample.image_id)


def fifty_boxes():
    """Return boxes of many sizes all over a picture of 96 x 96."""
    generator = torch.Generator().manual_seed(0)
    boxes = []
    while len(boxes) < 50:
        x, y, width, height = (torch.rand(4, generator=generator) * torch.tensor([80.0, 80.0, 40.0, 40.0])).tolist()
        boxes.append(Box(x, y, min(x + 8 + width, 96.0), min(y + 8 + height, 96.0)))
    return boxes


def test_fifty_boxes_of_one_scene_share_one_forward_pass(pipeline, crowded):
    passes = []
    network = pipeline.backbone.network
    hook = network.stem.register_forward_hook(lambda module, inputs, output: passes.append(inputs[0].shape))
    try:
        captions = pipeline.caption(crowded, fifty_boxes())
        assert passes == [(1, 3, 96, 96)]
        alone = [pipeline.caption(crowded, [box])[0] for box in fifty_boxes()]
    finally:
        hook.remove()
    assert len(passes) == 51
    assert [caption.tokens for caption in captions] == [caption.tokens for caption in alone]
    # A memory of temperature 0.01 makes a hundred of every rounding of a cosine.
    assert [caption.score for caption in captions] == pytest.approx([caption.score for caption in alone], rel=2e-3)
    assert len({caption.text for caption in captions}) >= 10


def test_images_of_a_batch_do_not_touch_each_other(pipeline, dataset):
    samples = dataset.samples("mask", "test", 3, 8)
    images = [dataset.image(sample.image_id) for sample in samples]
    regions = [[sample.region, WholeImage(), Patch(5, 5, 12, 12)] for sample in samples]
    together = pipeline.caption(images, regions)
    alone = [pipeline.caption(image, found) for image, found in zip(images, regions, strict=True)]
    assert [[c.tokens for c in row] for row in together] == [[c.tokens for c in row] for row in alone]


def test_the_same_thing_pointed_at_in_different_ways(pipeline, dataset):
    """A big object is named by box, mask, click and trace alike, which fails as soon as one of them is shifted."""
    regions = {task: dataset.samples(task, "test", 5, 60) for task in ("box", "mask", "point", "trace")}
    agree = total = 0
    for samples in zip(*regions.values(), strict=True):
        if "big" not in samples[0].references[0] or len({sample.info["nouns"] for sample in samples}) != 1:
            continue
        kinds = [type(sample.region) for sample in samples]
        assert kinds == [Box, Mask, Point, Trace]
        noun = next(iter(samples[0].info["nouns"]))
        captions = pipeline.caption(dataset.image(samples[0].image_id), [sample.region for sample in samples])
        agree += sum(noun in caption.text.split() for caption in captions)
        total += len(captions)
    assert total >= 60
    assert agree / total >= 0.8


@pytest.mark.parametrize("task", ["box", "mask"])
def test_floor_of_the_shipped_models(task, pipeline, dataset):
    """Noun-F1 of mini-dense, patch-pool and memory on the test split is at least 0.75."""
    from regionkit.core.contracts import BuildContext
    from regionkit.registry.assembly import build_part
    from regionkit.registry.schema import fill

    metric = build_part(fill("metric", "noun-f1"), BuildContext(parts={"dataset": dataset}))
    samples = dataset.samples(task, "test", 0, 150)
    captions = pipeline.caption([dataset.image(sample.image_id) for sample in samples], [[s.region] for s in samples])
    metric.update(samples, [caption.text for (caption,) in captions])
    assert metric.compute().value >= 0.75


def test_run_prints_a_table():
    result = CliRunner().invoke(root, ["run", "mini", "--data", "box@mini,image@mini", "--limit", "20"])
    assert result.exit_code == 0, result.output
    assert "| box@mini" in result.output
    assert "never that a paper's numbers were reached" in result.output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_captions_on_a_gpu_are_those_of_the_cpu(pipeline, crowded):
    on_gpu = load("mini", device="cuda").caption(crowded, fifty_boxes())
    assert [caption.tokens for caption in on_gpu] == [c.tokens for c in pipeline.caption(crowded, fifty_boxes())]
