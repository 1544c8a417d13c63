"""Parts for the grid: a backbone, two bridges and three decoders at full size, which count what passes through them.

A model is built once and serves both sides, so that times are those of the stages alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from PIL import Image

from regionkit.core.contracts import BuildContext, Dataset, Metric, Sample, Score
from regionkit.core.features import Caption, Features, RegionTokens, Scene
from regionkit.core.plugin import hookimpl
from regionkit.core.regions import Box, Regions
from regionkit.core.spec import ComponentSpec, Port
from regionkit.core.testing import picture
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.memory import Memory
from regionkit.plugins.patchioner.patch_pool import PatchPool
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

IMAGE, TEXT = "clip-vit-b16/image[512]", "clip-vit-b16/text[512]"
#: Boxes of a picture.
BOXES = 4
#: Rows of the bank.
BANK = 20_000
#: What passed through the models: pictures through backbones, regions through the others.
SEEN: Counter[str] = Counter()
_BUILT: dict[tuple[type, Any], Any] = {}


class CountedVit(Clip):
    """CLIP B/16, untrained."""

    @classmethod
    def build(cls, config: ClipConfig, context: BuildContext) -> Self:
        return _once(cls, config, lambda: super(CountedVit, cls).build(config, context))

    def encode(self, images: Sequence[Image.Image]) -> Features:
        SEEN["backbone"] += len(images)
        return super().encode(images)


class CountedPool(PatchPool):
    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        SEEN["region_encoder"] += len(regions)
        return super().encode(scene, regions)


class CountedMemory(Memory):
    """A bank of random vectors."""

    @classmethod
    def build(cls, config: MemoryConfig, context: BuildContext) -> Self:
        def make() -> Self:
            bridge = cls(config, context.writes)
            bridge.fit(torch.randn(BANK, 512, generator=torch.Generator().manual_seed(3)), ())
            return bridge

        return _once(cls, config, make)

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        SEEN["bridge"] += len(tokens)
        return super().bridge(tokens)


class CountedDecap(Decap):
    """The released sizes, untrained; ``positions: 10`` makes captions of 10 tokens, which never end before."""

    @classmethod
    def build(cls, config: DecapConfig, context: BuildContext) -> Self:
        def make() -> Self:
            torch.manual_seed(config.max_length)
            decoder = cls(config, TEXT, ClipTokenizer()).eval()
            with torch.no_grad():
                decoder.clip_project.model[0].weight.mul_(20)
                decoder.decoder.transformer.wpe.weight.mul_(20)
            return decoder

        return _once(cls, config, make)

    def generate(self, inputs: Any, prompt: Any = None, options: Any = None) -> list[Caption]:
        SEEN["decoder"] += len(inputs)
        return super().generate(inputs, prompt, options)


def _once(cls: type, config: Any, make: Any) -> Any:
    key = (cls, config)
    if key not in _BUILT:
        _BUILT[key] = make()
    return _BUILT[key]


def forget() -> None:
    """Let go of the models."""
    _BUILT.clear()


@dataclass(frozen=True)
class PicturesConfig:
    pictures: int = 2


class Pictures(Dataset):
    """Pictures of coloured blocks, four boxes each."""

    splits = ("test",)

    def __init__(self, config: PicturesConfig) -> None:
        self.config = config

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> list[Sample]:
        corners = [(24 * number, 16 * number) for number in range(BOXES)]
        return [
            Sample(f"{image}/{x}", str(image), Box(x, y, x + 130, y + 90), (f"a thing at {x}",))
            for image in range(self.config.pictures)
            for x, y in corners
        ]

    def image(self, image_id: str) -> Image.Image:
        return picture((320, 240), int(image_id))

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        return f"{task}/{split}/{seed}/{limit}/{self.config}"

    def lexicon(self, kind: str) -> Mapping[str, str]:
        return super().lexicon(kind)


class Letters(Metric):
    """Mean length of a caption in characters: a metric that costs nothing."""

    def __init__(self) -> None:
        self.lengths: list[float] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        self.lengths += [float(len(caption)) for caption in captions]

    def compute(self) -> Score:
        return Score(sum(self.lengths) / len(self.lengths), tuple(self.lengths), "b-letters")


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    here, patchioner = __name__, "regionkit.plugins.patchioner"
    return [
        ComponentSpec(
            "backbone",
            "b-vit",
            f"{here}:CountedVit",
            f"{patchioner}.backbones.clip_config:ClipConfig",
            writes=Port(IMAGE),
            text=TEXT,
        ),
        ComponentSpec(
            "region_encoder",
            "b-pool",
            f"{here}:CountedPool",
            f"{patchioner}.configs:PatchPoolConfig",
            accepts=PatchPool.accepts,
            reads=Port("image"),
            writes=Port("image"),
        ),
        ComponentSpec(
            "bridge",
            "b-memory",
            f"{here}:CountedMemory",
            f"{patchioner}.configs:MemoryConfig",
            reads=Port("image"),
            writes=Port("text"),
        ),
        ComponentSpec(
            "decoder", "b-decap", f"{here}:CountedDecap", f"{patchioner}.decap_config:DecapConfig", reads=Port(TEXT)
        ),
        ComponentSpec("metric", "b-letters", f"{here}:Letters"),
        ComponentSpec("dataset", "b-pictures", f"{here}:Pictures", f"{here}:PicturesConfig", accepts=("box",)),
    ]
