"""A small plugin for the tests of the ablation runner: exact parts without weights, and a data set of colours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from regionkit.core.contracts import Dataset, GapBridge, Metric, RegionEncoder, Sample, Score
from regionkit.core.errors import DataError, FeatureError
from regionkit.core.features import Caption, Features, RegionTokens, Scene
from regionkit.core.plugin import hookimpl
from regionkit.core.regions import Box, Point, Region, Regions, WholeImage
from regionkit.core.spec import ComponentSpec, Port
from regionkit.core.testing import GridBackbone, NearestTextDecoder
from regionkit.core.testing.fakes import COLOURS

IMAGE, TEXT = "grid/image[16]", "grid/text[16]"
NAMES = tuple(sorted(COLOURS))
#: Sizes of the batches that each backbone encoded, by its ``grid`` option.
FORWARDS: dict[int, list[int]] = {}


@dataclass(frozen=True)
class GridConfig:
    grid: int = 4


class CountedGrid(GridBackbone):
    def __init__(self, config: GridConfig) -> None:
        super().__init__((config.grid, config.grid))
        self.config = config

    def encode(self, images: Sequence[Image.Image]) -> Features:
        FORWARDS.setdefault(self.config.grid, []).append(len(images))
        return super().encode(images)


@dataclass(frozen=True)
class PoolConfig:
    flip: bool = False


class Pool(RegionEncoder):
    """The patch in the middle of a region."""

    accepts = ("point", "box", "image")

    def __init__(self, config: PoolConfig) -> None:
        self.config = config

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        rows = []
        for region, image in zip(regions.items, regions.image, strict=True):
            frame = scene.features.frames[image]
            x, y = frame.to_grid(*_middle(region, frame.image_size))
            patches = scene.features.patches[image]
            row, column = min(int(y), patches.shape[0] - 1), min(int(x), patches.shape[1] - 1)
            rows.append(patches[-1 - row if self.config.flip else row, column])
        return RegionTokens.single(torch.stack(rows), scene.backbone.space)


class Global(RegionEncoder):
    """The mean of all patches; takes no points."""

    accepts = ("box", "image")

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        means = scene.features.patches.mean((1, 2))
        return RegionTokens.single(means[list(regions.image)], scene.backbone.space)

    @classmethod
    def build(cls, config: object, context: object) -> Global:
        return cls()


def _middle(region: Region, size: tuple[int, int]) -> tuple[float, float]:
    if isinstance(region, Box):
        return (region.x1 + region.x2) / 2, (region.y1 + region.y2) / 2
    if isinstance(region, Point):
        return region.points[0]
    return size[0] / 2, size[1] / 2


@dataclass(frozen=True)
class ShiftConfig:
    amount: float = 0.0
    corruption: str = "none"


class Shift(GapBridge):
    """Adds a constant; refuses to when it is negative, as a broken bridge would."""

    def __init__(self, config: ShiftConfig) -> None:
        self.config = config

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        if self.config.amount < 0:
            raise FeatureError("the shift is negative")
        return RegionTokens(tokens.tokens + self.config.amount, tokens.mask, TEXT)


@dataclass(frozen=True)
class NearestConfig:
    slow: float = 0.0


class Nearest(NearestTextDecoder):
    def __init__(self, config: NearestConfig) -> None:
        backbone = GridBackbone()
        super().__init__([f"a {name} thing" for name in NAMES], backbone.encode_text(NAMES))
        self.config = config

    def generate(self, *args, **kwargs):
        time.sleep(self.config.slow)
        return super().generate(*args, **kwargs)


@dataclass(frozen=True)
class ColoursConfig:
    scenes: int = 6
    broken: bool = False


class Colours(Dataset):
    """Pictures of 2 x 2 solid colours; every box or point is one of the four, the image is the first."""

    splits = ("test", "other")
    disclaimer = "Colours prove nothing."

    def __init__(self, config: ColoursConfig) -> None:
        self.config = config

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> list[Sample]:
        found = []
        for index in range(min(limit or self.config.scenes, self.config.scenes)):
            image = f"{split}/{seed}/{index}"
            for corner, name in enumerate(_colours(image)):
                x, y = 24 * (corner % 2), 24 * (corner // 2)
                regions: Mapping[str, Region] = {
                    "box": Box(x + 4, y + 4, x + 20, y + 20),
                    "point": Point.at(x + 12, y + 12),
                    "image": WholeImage(),
                }
                info = {"nouns": (name,)}
                said = (f"a {name} thing", f"something {name} here")
                found.append(Sample(f"{image}/{task}/{corner}", image, regions[task], said, info))
        return found

    def image(self, image_id: str) -> Image.Image:
        if self.config.broken and image_id.endswith("/1"):
            raise DataError(f"picture {image_id} is damaged")
        picture = Image.new("RGB", (48, 48))
        for corner, name in enumerate(_colours(image_id)):
            picture.paste(COLOURS[name], (24 * (corner % 2), 24 * (corner // 2), 48, 48))
        return picture

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        return f"{task}/{split}/{seed}/{limit}/{self.config}"

    def lexicon(self, kind: str) -> Mapping[str, str]:
        if kind != "nouns":
            return super().lexicon(kind)
        return {name: name for name in NAMES}


def _colours(image_id: str) -> list[str]:
    _, seed, index = image_id.split("/")
    start = 5 * int(seed) + 3 * int(index)
    return [NAMES[(start + step * step) % len(NAMES)] for step in range(4)]


class OtherText(Nearest):
    pass


#: What happened to metrics of this plugin, in order.
EVENTS: list[str] = []


class Lengths(Metric):
    """Mean and longest length of a caption in characters, and the mean score that its decoder gave it."""

    parts = ("", "longest", "score")
    higher_is_better = False

    def __init__(self) -> None:
        self.captions: list[Caption] = []

    def prepare(self) -> None:
        EVENTS.append("prepare")

    def update(self, samples, captions) -> None:
        self.update_from(samples, [Caption(caption, 0.0) for caption in captions])

    def update_from(self, samples, captions) -> None:
        EVENTS.append("update")
        self.captions += captions

    def compute(self) -> Score:
        lengths = [float(len(caption.text)) for caption in self.captions]
        scores = [float(caption.score) for caption in self.captions]
        mean = Score(sum(lengths) / len(lengths), tuple(lengths), "t-lengths|mean")
        longest = Score(max(lengths), None, "t-lengths|longest")
        score = Score(sum(scores) / len(scores), tuple(scores), "t-lengths|score")
        return Score(mean.value, mean.per_sample, mean.signature, {"": mean, "longest": longest, "score": score})


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    here = __name__
    encoder = {"kind": "region_encoder", "reads": Port("image"), "writes": Port("image")}
    return [
        ComponentSpec("backbone", "t-grid", f"{here}:CountedGrid", f"{here}:GridConfig", writes=Port(IMAGE), text=TEXT),
        ComponentSpec(
            name="t-pool", target=f"{here}:Pool", config=f"{here}:PoolConfig", accepts=Pool.accepts, **encoder
        ),
        ComponentSpec(name="t-global", target=f"{here}:Global", accepts=Global.accepts, **encoder),
        ComponentSpec(
            "bridge", "t-shift", f"{here}:Shift", f"{here}:ShiftConfig", reads=Port("image"), writes=Port("text")
        ),
        ComponentSpec("decoder", "t-nearest", f"{here}:Nearest", f"{here}:NearestConfig", reads=Port(TEXT)),
        ComponentSpec("decoder", "t-other", f"{here}:OtherText", f"{here}:NearestConfig", reads=Port("other/text[16]")),
        ComponentSpec("metric", "t-lengths", f"{here}:Lengths"),
        ComponentSpec(
            "dataset", "t-colours", f"{here}:Colours", f"{here}:ColoursConfig", accepts=("box", "point", "image")
        ),
    ]


#: The base pipeline of most tests.
BASE = """\
version: 1
base:
  backbone: t-grid
  region_encoder: t-pool
  bridge: t-shift
  decoder: t-nearest
"""


def write(folder: Path, text: str) -> Path:
    """Write an ablation file on the base pipeline."""
    path = folder / "ablation.yaml"
    path.write_text(BASE + text)
    return path
