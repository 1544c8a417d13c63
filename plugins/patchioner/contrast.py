"""Contrast between pictures and their captions: how a CLIP is trained from nothing.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021: of the pictures and
captions of a batch, each picture picks its caption and each caption its picture, by cosine over a learned temperature.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, Dataset, Recipe, Sample, TrainSettings, WeightArtifact
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.seeds import generator_of
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_text import encode_texts
from regionkit.plugins.patchioner.contrast_config import ContrastConfig

#: Cosines are never multiplied by more than this (CLIP).
_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class ContrastBatch:
    """The pictures of a step and a caption of each."""

    images: tuple[Image.Image, ...]
    texts: tuple[str, ...]


class _Trained(nn.Module):
    """Both towers, and the temperature that they are trained with; the latter is no part of the weights."""

    def __init__(self, backbone: Clip, temperature: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))


class Contrast(Recipe):
    """Train both towers of a CLIP on whole pictures and their captions; no region is ever given.

    Args:
        config: Data and optimisation.
        backbone: A CLIP; its class token meets the caption.
        dataset: Pictures with references.
        seed: Of the order, and of the references that are drawn.

    Raises:
        DataError: The data set has no such split, or fewer samples than a batch.
    """

    def __init__(self, config: ContrastConfig, backbone: Clip, dataset: Dataset, seed: int = 0) -> None:
        self.config = config
        self.backbone = backbone
        self.dataset = dataset
        self.seed = seed
        self._module = _Trained(backbone, config.temperature).train()
        self._pools = _samples(dataset, config.tasks, config.splits, config.images)
        self._evaluated = (
            _samples(dataset, config.tasks, config.evaluated_splits, config.evaluated) if config.evaluated else []
        )
        self._count = sum(map(len, self._pools))
        if self._count < config.batch_size:
            raise DataError(
                f"recipe 'contrast': {self._count} samples are fewer than a batch of {config.batch_size}",
                "lower recipe.batch_size, or take more pictures: recipe.images",
            )
        self._kept: dict[int, tuple[Image.Image, tuple[str, ...]]] = {}
        self._epoch: tuple[int, Tensor] | None = None
        self.settings = TrainSettings(
            steps=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            schedule=config.schedule,
            clip=config.clip,
        )

    @classmethod
    def build(cls, config: ContrastConfig, context: BuildContext) -> Self:
        """Take the backbone and the data set of ``context.parts``.

        Raises:
            RegionkitError: The backbone is no CLIP.
            DataError: As the constructor.
        """
        backbone = context.parts["backbone"]
        if not isinstance(backbone, Clip):
            raise RegionkitError(
                f"recipe 'contrast' cannot train backbone '{type(backbone).__name__}'",
                "it trains a class token and a text tower from nothing: write backbone: {name: clip}",
            )
        return cls(config, backbone, context.parts["dataset"], context.seed)

    @property
    def module(self) -> nn.Module:
        """Both towers and the temperature."""
        return self._module

    @property
    def steps_an_epoch(self) -> int:
        """Full batches in one pass over the samples."""
        return self._count // self.config.batch_size

    def batch(self, step: int) -> ContrastBatch:
        """Draw the pictures of a step from the seed and the step alone, each once in a pass."""
        epoch, position = divmod(step, self.steps_an_epoch)
        size = self.config.batch_size
        chosen = self._order(epoch)[position * size : (position + 1) * size].tolist()
        lots = torch.randint(1 << 20, (size,), generator=generator_of(self.seed, "wording", step)).tolist()
        opened = [self._open(place) for place in chosen]
        texts = (references[lot % len(references)] for (_, references), lot in zip(opened, lots, strict=True))
        return ContrastBatch(tuple(image for image, _ in opened), tuple(texts))

    def loss(self, batch: ContrastBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Return symmetric InfoNCE; pictures of one caption count as right for each other."""
        logits, right = self._logits(batch.images, batch.texts)
        loss = 0.5 * (_pick(logits, right) + _pick(logits.T, right.T))
        best = right.gather(1, logits.argmax(dim=1, keepdim=True)).float().mean()
        return loss, {"picked": best.item()}

    def _logits(self, images: Sequence[Image.Image], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return scaled cosines (b, b) of pictures and captions, and where the caption is the picture's own."""
        tower = self.backbone.text
        pixels, frames = self.backbone.preprocess(images)
        seen = self.backbone.read(pixels.to(tower.text_projection.weight), frames).cls
        assert seen is not None
        said = encode_texts(tower, self.backbone.tokenizer, texts)
        scale = self._module.scale.exp().clamp(max=_LARGEST_SCALE)
        right = torch.tensor([[one == other for other in texts] for one in texts], device=said.device)
        return scale * normalize(seen, dim=-1) @ normalize(said, dim=-1).T, right

    def export(self) -> Sequence[WeightArtifact]:
        """Return both towers."""
        return [self.backbone.artifact()]

    @torch.no_grad()
    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Yield the share of pictures of another split whose own caption is the nearest of all."""
        self._module.eval()
        for pool in self._evaluated:
            samples = pool[: self.config.evaluated]
            images = [self.dataset.image(sample.image_id) for sample in samples]
            texts = [sample.references[0] for sample in samples]
            seen = self.backbone.encode(images).cls
            assert seen is not None
            cosines = normalize(seen, dim=-1) @ normalize(self.backbone.encode_text(texts), dim=-1).T
            found = [texts[place] for place in cosines.argmax(dim=1).tolist()]
            right = sum(text == own for text, own in zip(found, texts, strict=True))
            yield f"own caption of {len(texts)}", right / len(texts)

    def _open(self, place: int) -> tuple[Image.Image, tuple[str, ...]]:
        """Return a picture and its captions, from memory where they were kept."""
        if place in self._kept:
            return self._kept[place]
        at = place
        for pool in self._pools:
            if at < len(pool):
                break
            at -= len(pool)
        sample = pool[at]
        opened = self.dataset.image(sample.image_id), tuple(sample.references)
        if len(self._kept) < self.config.keep:
            self._kept[place] = opened
        return opened

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, torch.randperm(self._count, generator=generator_of(self.seed, "order", epoch)))
        return self._epoch[1]


def _pick(logits: Tensor, right: Tensor) -> Tensor:
    """Return the mean over rows of minus the log of the share that the right answers get; both (n, m)."""
    kept = logits.masked_fill(~right, float("-inf"))
    return (logits.logsumexp(dim=1) - kept.logsumexp(dim=1)).mean()


def _samples(dataset: Dataset, tasks: Sequence[str], splits: Sequence[str], images: int) -> list[Sequence[Sample]]:
    """Return the samples of every task and split, or say what is wrong with asking for them."""
    unknown = [split for split in splits if split not in dataset.splits]
    if unknown:
        raise DataError(f"the data set has no split '{unknown[0]}'", f"splits are: {', '.join(dataset.splits)}")
    found = [dataset.samples(task, split, 0, images) for task in tasks for split in splits]
    return [samples for samples in found if samples]
