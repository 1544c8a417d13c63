"""Training the diffusion bridge: a denoiser of text embeddings learns from texts alone.

Lee et al., Diffusion Bridge, CVPR 2025. With a data set, pictures give the mean image vector beside it; their captions
are not read.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, mse_loss, normalize

from regionkit.core.contracts import (
    Backbone,
    BuildContext,
    Dataset,
    Recipe,
    RegionEncoder,
    Sample,
    TrainSettings,
    WeightArtifact,
    iter_batches,
)
from regionkit.core.errors import DataError, FeatureError, RegionkitError
from regionkit.core.features import RegionTokens, Scene
from regionkit.core.regions import Regions
from regionkit.core.seeds import generator_of
from regionkit.core.texts import draw_rows, embed_texts
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import TextDiffusionConfig
from regionkit.plugins.patchioner.diffusion_unet import Unet1d

#: Texts that are noised and denoised at the end.
_EVALUATED = 256
#: Pictures that are encoded together for the mean image vector.
_TOGETHER = 16


@dataclass(frozen=True)
class DiffusionBatch:
    """What a step learns from: texts x_0 (n, 1, d), the step (n,) that each is noised to, and the noise."""

    clean: Tensor
    step: Tensor
    noise: Tensor
    number: int


class _Averaged(nn.Module):
    """The network that is trained beside the moving average of its weights, which are checkpointed together."""

    def __init__(self, network: Unet1d) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def fold(self, kept: float) -> None:
        """Let the average keep this share of itself and take the rest from the network."""
        for average, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
            average.lerp_(weight, 1 - kept)


class TextDiffusion(Recipe):
    """Train the network of a diffusion bridge on the embeddings of a corpus.

    Args:
        config: Optimisation options.
        bridge: The bridge; its means are taken already.
        embeddings: (n, d) text embeddings.
        seed: Seed of order, steps and noise.

    Raises:
        DataError: There are fewer texts than a batch takes.
    """

    def __init__(self, config: TextDiffusionConfig, bridge: Diffusion, embeddings: Tensor, seed: int = 0) -> None:
        if len(embeddings) < config.batch_size:
            raise DataError(
                f"recipe 'text-diffusion': {len(embeddings)} captions are fewer than a batch of {config.batch_size}",
                "lower recipe.batch_size, or take a larger corpus",
            )
        self.config = config
        self.bridge = bridge
        self.clean = bridge.centred(embeddings, bridge.mean_text, "embedding")
        self.seed = seed
        self._module = _Averaged(bridge.unet.requires_grad_(True))
        self._epoch: tuple[int, Tensor] | None = None
        self._done = self._folded = 0
        self.settings = TrainSettings(
            steps=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=0.0,  # which makes AdamW the Adam of the release
            betas=(0.9, 0.99),  # released trainer, adam_betas
            warmup=config.warmup,
            schedule=config.schedule,
            clip=config.clip,
        )

    @classmethod
    def build(cls, config: TextDiffusionConfig, context: BuildContext) -> Self:
        """Encode the corpus, take the means, and set up training.

        Raises:
            RegionkitError: The bridge is another one than ``diffusion``.
            DataError: There are too few captions or no pictures.
            FeatureError: The backbone has no text tower, or features are not finite.
        """
        parts = context.parts
        bridge, backbone = parts["bridge"], parts["backbone"]
        if not isinstance(bridge, Diffusion):
            raise RegionkitError(
                f"recipe 'text-diffusion' trains bridge 'diffusion', and was given '{type(bridge).__name__}'",
                "write bridge: {name: diffusion}",
            )
        texts = list(parts["corpus"].texts())
        if config.limit and config.limit < len(texts):
            texts = [texts[row] for row in draw_rows(len(texts), config.limit, context.seed, "the corpus", "limit")]
        embeddings = embed_texts(backbone, texts)
        if not texts:
            raise DataError("recipe 'text-diffusion': the corpus holds no captions", "take another corpus")
        bridge.fit(embeddings, texts)
        if "dataset" in parts:
            bridge.fit_images(region_vectors(config, backbone, parts["region_encoder"], parts["dataset"]))
        bridge.reads, bridge.space = bridge.reads or backbone.space, bridge.space or backbone.text_space
        return cls(config, bridge, embeddings, context.seed)

    @property
    def module(self) -> nn.Module:
        """The network and the moving average of its weights."""
        return self._module

    def batch(self, step: int) -> DiffusionBatch:
        """Return texts, the steps that they are noised to, and noise, from the seed and the step alone."""
        epoch, position = divmod(step, len(self.clean) // self.config.batch_size)
        start = position * self.config.batch_size
        chosen = self._order(epoch)[start : start + self.config.batch_size]
        clean = self.clean[chosen.to(self.clean.device)].unsqueeze(1)
        generator = generator_of(self.seed, "noise", step)
        times = torch.randint(0, self.bridge.config.timesteps, (len(chosen),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        return DiffusionBatch(clean, times.to(clean.device), noise.to(clean), step)

    def loss(self, batch: DiffusionBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Return the squared error of predicted x_0, weighted with the signal-to-noise ratio of each row's step.

        The step before this one, which is over now, goes into the moving average first.
        """
        self._fold(batch.number)
        schedule, scale = self.bridge.schedule, self.bridge.config.scale
        noisy = schedule.noised(batch.clean, batch.step, batch.noise)
        found = self._module.network(scale * normalize(noisy, dim=-1), batch.step)
        error = mse_loss(found, batch.clean, reduction="none").mean(dim=(1, 2))
        weight = schedule.signal_to_noise(batch.step)
        if self.config.snr_limit:
            weight = weight.clamp(max=self.config.snr_limit)
        self._done = batch.number + 1
        return (error * weight).mean(), {}

    def export(self) -> Sequence[WeightArtifact]:
        """Return the bridge with the averaged weights."""
        self._finish()
        artifact = self.bridge.artifact()
        if not self.config.average:
            return [artifact]
        average = {f"unet.{name}": tensor for name, tensor in self._module.average.state_dict().items()}
        return [dataclasses.replace(artifact, tensors={**artifact.tensors, **average})]

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Return the mean cosine of texts with what is made of them when noised and denoised: averaged weights.

        Once from the step at which region vectors enter, once from the one that a decoder's texts are noised to.
        """
        self._finish()
        config, schedule = self.bridge.config, self.bridge.schedule
        network = self._module.average if self.config.average else self._module.network
        clean = self.clean[:_EVALUATED].unsqueeze(1)
        noise = torch.randn(clean.shape, generator=generator_of(self.seed, "evaluated")).to(clean)
        for step in dict.fromkeys((config.inference_step, config.augment_step)):
            noisy = schedule.noised(clean, step - 1, noise)
            found = torch.cat(
                [
                    schedule.denoised(noisy[part], step, config.steps, config.scale, network)
                    for part in iter_batches(len(noisy), config.batch)
                ]
            )
            yield f"cosine from step {step}", float(cosine_similarity(found, clean, dim=-1).mean())

    def _fold(self, done: int) -> None:
        """Take the weights after ``done`` steps into the average, once, where the average is due."""
        last = done - 1
        if done <= self._folded or not self.config.average or last % self.config.average_every:
            return
        self._folded = done
        past = last - self.config.average_after
        kept = min(self.config.average, 1 - (1 + past) ** (-2 / 3)) if past > 0 else 0.0  # the library's ramp
        self._module.fold(kept)

    def _finish(self) -> None:
        self._fold(self._done)

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, torch.randperm(len(self.clean), generator=generator_of(self.seed, "order", epoch)))
        return self._epoch[1]


@torch.no_grad()
def region_vectors(config: TextDiffusionConfig, backbone: Backbone, encoder: RegionEncoder, dataset: Dataset) -> Tensor:
    """Return the vectors (n, d) of all regions of ``config.tasks`` in the first pictures of a split.

    Raises:
        DataError: The data set has no such split, or no sample of these tasks.
        FeatureError: The region encoder makes pictures, and no vectors.
    """
    split = config.split if config.split in dataset.splits else ""
    if not split:
        raise DataError(
            f"recipe 'text-diffusion-pictures': the data set has no split '{config.split}'",
            f"recipe.split is one of: {', '.join(dataset.splits)}",
        )
    samples: list[Sample] = []
    for task in config.tasks:
        samples += dataset.samples(task, split, 0, config.pictures)
    if not samples:
        raise DataError(f"the data set has no samples of {', '.join(config.tasks)} in split '{split}'")
    samples.sort(key=lambda sample: sample.image_id)
    groups = [(image, list(group)) for image, group in groupby(samples, key=lambda sample: sample.image_id)]
    found = [_vectors(groups[part], backbone, encoder, dataset) for part in iter_batches(len(groups), _TOGETHER)]
    return torch.cat(found)


def _vectors(
    groups: Sequence[tuple[str, list[Sample]]], backbone: Backbone, encoder: RegionEncoder, dataset: Dataset
) -> Tensor:
    scene = Scene([dataset.image(image) for image, _ in groups], backbone)
    tokens = encoder.encode(scene, Regions.of([[sample.region for sample in group] for _, group in groups]))
    if not isinstance(tokens, RegionTokens):
        raise FeatureError(
            f"recipe 'text-diffusion-pictures' needs vectors, region encoder '{type(encoder).__name__}' makes pictures",
            "choose one that pools, such as patch-pool",
        )
    return tokens.tokens[tokens.mask]
