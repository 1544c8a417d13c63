"""Text-only training: a decoder learns to write a sentence back from the sentence's own, corrupted embedding.

Li et al., DeCap, arXiv 2303.03032 (memory: clean embeddings); Nukrai et al., CapDec, arXiv 2211.00575 (noise).
What the corruption is, is the bridge's to say, so the same recipe trains the decoder of every bridge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from regionkit.core.contracts import (
    BuildContext,
    Component,
    GapBridge,
    Recipe,
    TrainSettings,
    WeightArtifact,
    iter_batches,
)
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.features import RegionTokens
from regionkit.core.seeds import generator_of
from regionkit.core.texts import BATCH, embed_texts
from regionkit.plugins.patchioner.decap_config import TextOnlyConfig

#: Captions that :meth:`TextOnly.evaluate` writes back.
_EVALUATED = 256


class TextOnly(Recipe):
    """Train a decoder on the sentences of a corpus.

    Args:
        config: Optimisation options.
        decoder: A decoder with a ``loss`` on tokens and an ``artifact``; it is an ``nn.Module``.
        bridge: Corrupts the embeddings.
        embeddings: (n, d) text embeddings.
        texts: The n sentences.
        space: Space of the embeddings, ``name[dim]``.
        seed: Seed of order and corruption.
    """

    def __init__(
        self,
        config: TextOnlyConfig,
        decoder: Any,
        bridge: GapBridge,
        embeddings: Tensor,
        texts: Sequence[str],
        *,
        space: str,
        seed: int = 0,
    ) -> None:
        if len(texts) < config.batch_size:
            raise DataError(
                f"recipe 'text-only': {len(texts)} captions are fewer than a batch of {config.batch_size}",
                "lower recipe.batch_size, or take a larger corpus",
            )
        self.config = config
        self.decoder = decoder
        self.bridge = bridge
        self.embeddings = embeddings
        self.texts = texts
        self.space = space
        self.seed = seed
        self._epoch: tuple[int, Tensor] | None = None
        self._drawn = [self._corrupted_all(draw) for draw in range(config.draws)]
        self.settings = TrainSettings(
            steps=config.steps or config.epochs * self.steps_an_epoch,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            schedule=config.schedule,
            clip=config.clip,
        )

    @classmethod
    def build(cls, config: TextOnlyConfig, context: BuildContext) -> Self:
        """Encode the corpus of ``context.parts`` with its backbone and set up training.

        Raises:
            RegionkitError: The decoder cannot be trained by this recipe.
            FeatureError: The backbone has no text tower, or its embeddings are not finite.
        """
        parts = context.parts
        decoder, backbone = parts["decoder"], parts["backbone"]
        learns = isinstance(decoder, torch.nn.Module) and isinstance(decoder, Component)
        if not learns or type(decoder).artifact is Component.artifact:
            raise RegionkitError(
                f"recipe 'text-only' cannot train decoder '{type(decoder).__name__}': it cannot export its weights",
                "decoders for this recipe have a method artifact() -> WeightArtifact, as decap has",
            )
        texts = list(parts["corpus"].texts())
        if config.limit and config.limit < len(texts):
            order = torch.randperm(len(texts), generator=generator_of(context.seed, "limit"))
            texts = [texts[index] for index in order[: config.limit].tolist()]
        embeddings = embed_texts(backbone, texts)
        return cls(config, decoder, parts["bridge"], embeddings, texts, space=backbone.text_space, seed=context.seed)

    @property
    def steps_an_epoch(self) -> int:
        """Full batches in one pass over the corpus."""
        return len(self.texts) // self.config.batch_size

    @property
    def module(self) -> torch.nn.Module:
        """The decoder."""
        module: torch.nn.Module = self.decoder
        return module

    def batch(self, step: int) -> tuple[RegionTokens, list[str]]:
        """Return corrupted embeddings (batch_size, 1, d) and their sentences, from the seed and the step alone."""
        epoch, position = divmod(step, self.steps_an_epoch)
        start = position * self.config.batch_size
        chosen = self._order(epoch)[start : start + self.config.batch_size]
        if self._drawn:
            vectors = self._drawn[epoch % len(self._drawn)][chosen]
        else:
            vectors = self.bridge.corrupt(self.embeddings[chosen], generator_of(self.seed, "corrupt", step))
        return RegionTokens.single(vectors, self.space), [self.texts[index] for index in chosen.tolist()]

    def loss(self, batch: tuple[RegionTokens, list[str]]) -> tuple[Tensor, Mapping[str, float]]:
        """Return the decoder's loss; the loop shows it, there is nothing to add."""
        return self.decoder.loss(*batch), {}

    def export(self) -> Sequence[WeightArtifact]:
        """Return the decoder's weights for the space of the embeddings.

        Names of the corpus and of the corruption are known to whoever assembled the parts and are added there.
        """
        artifact: WeightArtifact = self.decoder.artifact()
        return [dataclasses.replace(artifact, header=dataclasses.replace(artifact.header, space=self.space))]

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Return the share of sentences that come back word for word from their clean embedding.

        Spaces and case do not count: tokenizers set punctuation apart.
        """
        chosen = self._order(0)[:_EVALUATED]
        clean = torch.nn.functional.normalize(self.embeddings[chosen], dim=-1)
        was_training = self.decoder.training
        self.decoder.eval()
        captions = self.decoder.generate(RegionTokens.single(clean, self.space))
        self.decoder.train(was_training)
        said = [_letters(caption.text) for caption in captions]
        wanted = [_letters(self.texts[index]) for index in chosen.tolist()]
        same = sum(first == second for first, second in zip(said, wanted, strict=True))
        yield "written back", same / len(said)

    def _corrupted_all(self, draw: int) -> Tensor:
        """Return one corrupted version of every embedding (n, d)."""
        parts = [
            self.bridge.corrupt(self.embeddings[part], generator_of(self.seed, "draw", draw, part.start))
            for part in iter_batches(len(self.embeddings), BATCH)
        ]
        return torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, torch.randperm(len(self.texts), generator=generator_of(self.seed, "order", epoch)))
        return self._epoch[1]


def _letters(text: str) -> str:
    return "".join(text.lower().split())
