"""What both stages do alike: draw regions of pictures, show them to the decoder, and say what there is to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from regionkit.core.contracts import Backbone, Dataset, Decoder, GapBridge, RegionEncoder, Sample
from regionkit.core.errors import DataError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.geometry import patch_weights
from regionkit.core.regions import Regions
from regionkit.core.seeds import generator_of
from regionkit.core.spec import Space

Inputs = RegionTokens | RegionViews


@dataclass(frozen=True)
class Batch:
    """Regions of some pictures.

    Attributes:
        step: The step that it belongs to; what is drawn for it follows from that.
        samples: r samples of the data set.
        images: The pictures, each once.
        regions: r regions in them.
    """

    step: int
    samples: tuple[Sample, ...]
    images: tuple[Image.Image, ...]
    regions: Regions


class Pictures:
    """The regions of a data set, a batch at a time; a batch is a function of seed and step alone.

    Args:
        dataset: Where they come from.
        config: ``task``, ``split``, ``data_seed``, ``images`` and ``batch_size``.
        seed: Of the order.
        recipe: Name of the recipe, for messages.

    Raises:
        DataError: There are fewer regions than a batch has.
    """

    def __init__(self, dataset: Dataset, config: Any, seed: int, recipe: str) -> None:
        self.dataset = dataset
        self.samples = dataset.samples(config.task, config.split, config.data_seed, config.images or None)
        self.size: int = config.batch_size
        self.seed = seed
        self._epoch: tuple[int, Tensor] | None = None
        if len(self.samples) < self.size:
            raise DataError(
                f"recipe '{recipe}': {len(self.samples)} regions are fewer than a batch of {self.size}",
                "lower recipe.batch_size, or take more pictures: recipe.images",
            )

    @property
    def steps_an_epoch(self) -> int:
        """Full batches in one pass."""
        return len(self.samples) // self.size

    def batch(self, step: int) -> Batch:
        """Return the regions of a step (0-based)."""
        epoch, place = divmod(step, self.steps_an_epoch)
        return self._load(step, self._order(epoch)[place * self.size : (place + 1) * self.size].tolist())

    def first(self, count: int) -> list[Batch]:
        """Return the first regions in batches, for figures after training; the last may be smaller."""
        count = min(count, len(self.samples))
        return [self._load(0, range(start, min(start + self.size, count))) for start in range(0, count, self.size)]

    def _load(self, step: int, chosen: Sequence[int]) -> Batch:
        samples = tuple(self.samples[index] for index in chosen)
        keys = list(dict.fromkeys(sample.image_id for sample in samples))
        places = {key: place for place, key in enumerate(keys)}
        regions = Regions(tuple(one.region for one in samples), tuple(places[one.image_id] for one in samples))
        return Batch(step, samples, tuple(self.dataset.image(key) for key in keys), regions)

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, torch.randperm(len(self.samples), generator=generator_of(self.seed, "order", epoch))
        return self._epoch[1]


class Eyes:
    """The frozen part of a captioner: what stands before its decoder, and what the visual features are.

    Args:
        parts: Backbone, region encoder, bridge and decoder, by kind.
        target: ``image`` or ``region``.
    """

    def __init__(self, parts: Mapping[str, Any], target: Literal["image", "region"]) -> None:
        self.backbone: Backbone = parts["backbone"]
        self.region_encoder: RegionEncoder = parts["region_encoder"]
        self.bridge: GapBridge = parts["bridge"]
        self.decoder: Decoder = parts["decoder"]
        self.target = target
        for part in (self.backbone, self.region_encoder, self.bridge):
            if isinstance(part, nn.Module):
                part.eval()

    @torch.no_grad()
    def look(self, batch: Batch) -> tuple[Inputs, Tensor, str]:
        """Return what the decoder reads of r regions, their visual features F_I (r, d_v), and the space of those.

        Source: F_I = V(I), Byun et al., arXiv 2510.12931, section 3.1, as the mean over tokens before the connector.
        """
        scene = Scene(batch.images, self.backbone)
        encoded = self.region_encoder.encode(scene, batch.regions)
        if isinstance(encoded, RegionViews):
            seen = self.decoder.visual_features(encoded)
            return encoded, seen, str(Space(f"{type(self.decoder).__name__.lower()}/vision", seen.shape[1]))
        return self.bridge.bridge(encoded), self._patches(scene, batch.regions), self.backbone.space

    def _patches(self, scene: Scene, regions: Regions) -> Tensor:
        features = scene.features
        patches = features.patches[torch.tensor(regions.image, device=features.patches.device, dtype=torch.long)]
        if self.target == "image":
            return patches.mean((1, 2))
        pairs = zip(regions.items, regions.image, strict=True)
        weights = torch.stack([torch.from_numpy(patch_weights(one, features.frames[index])) for one, index in pairs])
        weights = (weights / weights.sum((1, 2), keepdim=True)).to(patches)
        return (patches * weights.unsqueeze(-1)).sum((1, 2))


def nothing(count: int, like: Inputs) -> RegionTokens:
    """Return no tokens at all for each of ``count`` regions: a decoder that is given them reads the text alone."""
    if isinstance(like, RegionViews):
        return RegionTokens(torch.zeros(count, 0, 1), torch.zeros(count, 0, dtype=torch.bool), "none[1]")
    return RegionTokens(like.tokens[:, :0], like.mask[:, :0], like.space)


@torch.no_grad()
def write(decoder: Decoder, inputs: Inputs, prompt: str | None, options: GenerateOptions) -> list[str]:
    """Let a decoder write captions as it would at inference, whatever mode it is in."""
    with evaluating(decoder):
        return [caption.text for caption in decoder.generate(inputs, prompt, options)]


@contextmanager
def evaluating(part: object) -> Iterator[None]:
    """Put a part into evaluation mode for a while."""
    training = isinstance(part, nn.Module) and part.training
    if isinstance(part, nn.Module):
        part.eval()
    try:
        yield
    finally:
        if isinstance(part, nn.Module):
            part.train(training)
