"""Small parts to run ViZer's recipes on: a captioner of region tokens on a tiny language model, and data that tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from regionkit.core.contracts import BuildContext, Dataset, RegionEncoder
from regionkit.core.features import RegionTokens, RegionViews, Scene
from regionkit.core.regions import Box, Region, Regions
from regionkit.core.testing import GridBackbone, Pooled, Relabel, Sentences, picture
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens
from regionkit.plugins.vizer.configs import MapperConfig
from regionkit.plugins.vizer.mapper import Mapper
from regionkit.plugins.vlm.config import VlmConfig
from regionkit.plugins.vlm.decoder import Vlm

WORDS = ("red dog", "blue cat", "green car", "small boat", "old tree", "white cup")


@dataclass(frozen=True)
class Blind:
    """A sample whose captions nobody may read."""

    id: str
    image_id: str
    region: Region

    @property
    def references(self) -> tuple[str, ...]:
        raise AssertionError("a caption of the data was read")

    @property
    def info(self) -> dict[str, Any]:
        raise AssertionError("what is known of a sample was read")


@dataclass(frozen=True)
class Told(Blind):
    """A sample with captions."""

    said: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        return self.said


class Pictures(Dataset):
    """Twelve drawn pictures, each with a caption of its own, or captions that raise when they are read."""

    def __init__(self, *, blind: bool = False, count: int = 12) -> None:
        self.blind, self.count = blind, count

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Any]:
        region = Box(4, 4, 40, 30)
        plain = [(f"{task}/{index}", str(index), region) for index in range(min(limit or self.count, self.count))]
        if self.blind:
            return [Blind(*given) for given in plain]
        return [Told(*given, (WORDS[int(given[1]) % len(WORDS)],)) for given in plain]

    def image(self, image_id: str) -> Image.Image:
        return picture(seed=int(image_id))

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        return str(self.count)


class Shown(RegionEncoder):
    """Hands whole pictures on."""

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens | RegionViews:
        return RegionViews(tuple(scene.images[index] for index in regions.image))


def context(seed: int = 0) -> BuildContext:
    return BuildContext(reads="grid/text[16]", parts={"corpus": Sentences((*Sentences().texts(), *WORDS))}, seed=seed)


def lm(seed: int = 0, **options: Any) -> LmTokens:
    given = {"weights": "none", "hidden": 16, "layers": 2, "heads": 2, "intermediate": 24, "positions": 64, "lora": 4}
    return LmTokens.build(LmTokensConfig(**{**given, **options}), context(seed))


def vlm(seed: int = 0, **options: Any) -> Vlm:
    given = {"weights": "none", "hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 128}
    given |= {"picture": 16, "patch": 4, "merge": 2, "vision_hidden": 16, "vision_layers": 1, "vision_heads": 2}
    given |= {"vision_intermediate": 24, "lora": 4}
    return Vlm.build(VlmConfig(**{**given, **options}), context(seed))


def mapper(seed: int = 0, reads: str = "", writes: str = "", **options: Any) -> Mapper:
    return Mapper(MapperConfig(weights="none", **options), reads, writes, seed)


def parts(decoder: Any, *, blind: bool = False, **others: Any) -> dict[str, Any]:
    """Return the parts of a recipe around a decoder of tokens or of pictures."""
    backbone = GridBackbone()
    return {
        "backbone": backbone,
        "region_encoder": Shown() if isinstance(decoder, Vlm) else Pooled(),
        "bridge": Relabel(backbone.text_space),
        "decoder": decoder,
        "dataset": Pictures(blind=blind),
        "mapper": mapper(),
        **others,
    }


def follow(recipe: Any, steps: int, rate: float, seed: int = 0) -> list[float]:
    """Train a recipe's module for some steps of Adam, and return the losses."""
    module = recipe.module
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=rate)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module.train()
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss, _ = recipe.loss(recipe.batch(step))
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        module.eval()
    return losses
