"""The recipe ``contrast``: batches, loss, what it learns, what it exports, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy, normalize

from regionkit.core.contracts import BuildContext, Dataset, Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import GridBackbone
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.clip_text import encode_texts
from regionkit.plugins.patchioner.contrast import Contrast, ContrastBatch
from regionkit.plugins.patchioner.contrast_config import ContrastConfig

param = pytest.param
TINY = ClipConfig(
    weights="none", resolution=32, width=64, layers=1, dim=16, text_width=64, text_layers=1, vocabulary=514
)
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}
CONFIG = ContrastConfig(images=8, batch_size=4, steps=6, evaluated=4)


class Colours(Dataset):
    """Plain pictures whose captions say the colour, two wordings each."""

    splits = ("train", "test")

    def __init__(self) -> None:
        self.opened: list[str] = []

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        names = list(COLOURS) * 4
        return [
            Sample(f"{split}/{place}", f"{split}/{name}/{place}", WholeImage(), (name, f"all {name}"))
            for place, name in enumerate(names[:limit])
        ]

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        return "colours"

    def image(self, image_id: str) -> Image.Image:
        self.opened.append(image_id)
        return Image.new("RGB", (32, 32), COLOURS[image_id.split("/")[1]])


def recipe(config: ContrastConfig = CONFIG, dataset: Dataset | None = None, seed: int = 0) -> Contrast:
    parts = {"backbone": Clip.build(TINY, BuildContext()), "dataset": dataset or Colours()}
    return Contrast.build(config, BuildContext(parts=parts, seed=seed))


def said(batch: ContrastBatch) -> list[tuple[int, ...]]:
    return [image.getpixel((0, 0)) for image in batch.images]  # type: ignore[misc]


def test_a_batch_is_a_function_of_seed_and_step_and_a_pass_shows_every_picture_once():
    one, other = recipe(), recipe()
    assert one.batch(3).texts == other.batch(3).texts
    assert said(one.batch(3)) == said(other.batch(3))
    assert one.steps_an_epoch == 2
    shown = Colours()
    made = recipe(dataset=shown)
    made.batch(0)
    made.batch(1)
    assert sorted(shown.opened) == sorted(sample.image_id for sample in shown.samples("image", "train", 0, 8))
    for image, text in zip(one.batch(0).images, one.batch(0).texts, strict=True):
        assert image.getpixel((0, 0)) == COLOURS[text.removeprefix("all ")]
    wordings = {text.startswith("all ") for step in range(4) for text in one.batch(step).texts}
    assert wordings == {True, False}
    assert [recipe(seed=1).batch(step).texts for step in range(3)] != [one.batch(step).texts for step in range(3)]


def test_pictures_are_kept_as_far_as_asked_and_kept_ones_are_the_same():
    shown, plain = Colours(), recipe()
    made = recipe(dataclasses.replace(CONFIG, keep=5), shown)
    for step in range(6):
        assert said(made.batch(step)) == said(plain.batch(step))
        assert made.batch(step).texts == plain.batch(step).texts
    # Two passes for each of three epochs; five of eight pictures are opened once.
    assert len(shown.opened) == 5 + 3 * 6


def test_the_loss_is_symmetric_cross_entropy_where_all_captions_differ():
    made = recipe()
    images = tuple(Image.new("RGB", (32, 32), colour) for colour in COLOURS.values())
    loss, figures = made.loss(ContrastBatch(images, tuple(COLOURS)))
    backbone = made.backbone
    with torch.no_grad():
        seen = normalize(backbone.encode(images).cls, dim=-1)
        texts = normalize(encode_texts(backbone.text, backbone.tokenizer, list(COLOURS)), dim=-1)
    logits = seen @ texts.T / 0.07
    wanted = (cross_entropy(logits, torch.arange(4)) + cross_entropy(logits.T, torch.arange(4))) / 2
    torch.testing.assert_close(loss.detach(), wanted, rtol=0, atol=1e-4)
    assert figures == {"picked": (logits.argmax(1) == torch.arange(4)).float().mean().item()}


def test_pictures_of_one_caption_are_right_for_each_other():
    made = recipe()
    images = tuple(Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    loss, figures = made.loss(ContrastBatch(images, ("same", "same")))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert figures == {"picked": 1.0}


def test_both_towers_and_the_temperature_learn():
    made = recipe(dataclasses.replace(CONFIG, learning_rate=2e-3, batch_size=8))
    optimiser = torch.optim.AdamW(made.module.parameters(), lr=2e-3)
    losses = []
    for step in range(40):
        loss, _ = made.loss(made.batch(step))
        optimiser.zero_grad()
        loss.backward()
        still = [name for name, weight in made.module.named_parameters() if weight.grad is None]
        assert still == []
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    ((name, share),) = made.evaluate()
    assert (name, share) == ("own caption of 4", 1.0)


def test_the_artifact_is_that_of_the_backbone():
    made = recipe()
    (artifact,) = made.export()
    assert (artifact.header.kind, artifact.header.name, artifact.header.space) == (
        "backbone",
        "clip",
        "clip-vit-b16/image[16]",
    )
    assert not any("scale" in name for name in artifact.tensors)


def test_what_does_not_go_is_refused():
    context = BuildContext(parts={"backbone": GridBackbone(), "dataset": Colours()})
    with pytest.raises(RegionkitError) as caught:
        Contrast.build(CONFIG, context)
    assert str(caught.value) == (
        "recipe 'contrast' cannot train backbone 'GridBackbone'\n"
        "  it trains a class token and a text tower from nothing: write backbone: {name: clip}"
    )
    with pytest.raises(DataError, match="recipe 'contrast': 8 samples are fewer than a batch of 64"):
        recipe(dataclasses.replace(CONFIG, batch_size=64))
    with pytest.raises(DataError, match="the data set has no split 'val'\n  splits are: train, test"):
        recipe(dataclasses.replace(CONFIG, splits=("val",)))
    with pytest.raises(DataError, match="the data set has no split 'val'"):
        recipe(dataclasses.replace(CONFIG, evaluated_splits=("val",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"batch_size": 1}, "batch_size: 1 must be 2 or more", id="batch"),
        param({"steps": 0}, "steps: 0 must be 1 or more", id="steps"),
        param({"keep": -1}, "keep: -1 must be 0 or more", id="keep"),
        param({"learning_rate": 0.0}, "learning_rate: 0.0 must be more than 0", id="rate"),
        param({"temperature": 0.0}, "temperature: 0.0 must be from 0.01 to 1", id="temperature"),
        param({"tasks": ()}, "tasks: name at least one of the data set's", id="tasks"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ContrastConfig(**options)
