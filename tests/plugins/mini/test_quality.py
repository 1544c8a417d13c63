"""The shipped weights say what they should of regions; the floor is well below what README.md reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from regionkit.core.weights import read_header
from regionkit.plugins.mini.config import MiniDatasetConfig
from regionkit.plugins.mini.data import MiniDataset
from regionkit.plugins.mini.lexicon import nouns_in

WEIGHTS = Path(__file__).parents[3] / "plugins" / "mini" / "weights"
BACKBONES = ("mini-clip", "mini-mean", "mini-local", "mini-dense")


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_has_its_weights_and_decoders(name: str) -> None:
    headers = [header for path in WEIGHTS.glob("*.safetensors") if (header := read_header(path)) is not None]
    backbones = [header for header in headers if (header.kind, header.name) == ("backbone", name)]
    decoders = [header for header in headers if header.name == "decap" and header.space == f"{name}/text[128]"]
    assert [header.space for header in backbones] == [f"{name}/image[128]"]
    assert len({header.corruption for header in decoders}) == len(decoders) == (3 if name == "mini-dense" else 2)
    assert all("toolkit train examples/recipes/mini-" in header.recipe for header in [*backbones, *decoders])


def test_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*")) < 16_000_000
    assert (WEIGHTS / "mini-vit.safetensors").stat().st_size < 1_000_000


@pytest.mark.parametrize("task", ["box", "mask"])
def test_captions_name_what_regions_show(task: str) -> None:
    from regionkit.registry import load

    torch.set_num_threads(1)
    pipeline = load("mini", device="cpu")
    dataset = MiniDataset(MiniDatasetConfig())
    samples = dataset.samples(task, "test", seed=11, limit=80)
    images = [dataset.image(sample.image_id) for sample in samples]
    captions = pipeline.caption(images, [[sample.region] for sample in samples])
    scores = []
    for sample, (caption,) in zip(samples, captions, strict=True):
        named, truth = nouns_in(caption.text), set(sample.info["nouns"])
        scores.append(2 * len(named & truth) / (len(named) + len(truth)))
    assert sum(scores) / len(scores) > 0.65


@pytest.mark.parametrize("name", ["capdec", "close", "ifcap", "magic", "prefix-lm", "viecap"])
def test_each_zero_shot_decoder_has_weights_for_one_backbone(name: str) -> None:
    headers = [header for path in WEIGHTS.glob("*.safetensors") if (header := read_header(path)) is not None]
    (header,) = [header for header in headers if (header.kind, header.name) == ("decoder", name)]
    assert header.space == "mini-dense/text[128]"
    assert header.corpus == "mini-captions"
    assert header.recipe.startswith("toolkit train examples/recipes/mini-")
