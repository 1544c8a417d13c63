"""Text-only training: a decoder learns to write a sentence back from the sentence's own, corrupted embedding.

Li et al., DeCap, arXiv 2303.03032 (memory: clean embeddings); Nukrai et al., CapDec, arXiv 2211.00575 (noise).
What the corruption is, is the bridge's to say, so the same recipe trains the decoder of every bridge. A corpus may be
of any size: :mod:`regionkit.plugins.patchioner.text_sources`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from regionkit.core.contracts import (
    BuildContext,
    Component,
    Decoder,
    GapBridge,
    Recipe,
    TrainSettings,
    WeightArtifact,
    iter_batches,
)
from regionkit.core.data.permutation import Permutation
from regionkit.core.errors import RegionkitError
from regionkit.core.features import RegionTokens
from regionkit.core.seeds import generator_of
from regionkit.core.texts import BATCH, draw_rows
from regionkit.plugins.patchioner.decap_config import TextOnlyConfig
from regionkit.plugins.patchioner.text_sources import Embeddings, Held, Siblings, Source, check_count

#: Captions that :meth:`TextOnly.evaluate` writes back.
_EVALUATED = 256
#: Steps whose rows are found together: an order that is computed takes as long for one batch as for several.
_TOGETHER = 32


class TextOnly(Recipe):
    """Train a decoder on the sentences of a corpus.

    Args:
        config: Optimisation options.
        decoder: A decoder with a ``loss`` on tokens and an ``artifact``; it is an ``nn.Module``.
        bridge: Corrupts the embeddings.
        embeddings: (n, d) text embeddings, or what gives those of some rows.
        texts: The n sentences.
        space: Space of the embeddings, ``name[dim]``.
        seed: Seed of order and corruption.
        held: Whether sentences and embeddings are in memory. The order of a pass is then drawn as a whole; otherwise it
            is computed place by place, since a list of so many numbers would be the largest thing in memory.

    Raises:
        DataError: There are fewer captions than a batch takes.
        RegionkitError: Corrupted versions are to be held of what is too large to hold.
    """

    rows_apart: ClassVar[bool] = True

    def __init__(
        self,
        config: TextOnlyConfig,
        decoder: Any,
        bridge: GapBridge,
        embeddings: Tensor | Embeddings,
        texts: Sequence[str],
        *,
        space: str,
        seed: int = 0,
        held: bool = True,
    ) -> None:
        self.config = config
        self.decoder = decoder
        self.bridge = bridge
        self.embeddings = Held(embeddings) if isinstance(embeddings, Tensor) else embeddings
        self.texts = texts
        self.space = space
        self.seed = seed
        self.corpus = ""
        self._kept: object = None
        self._siblings: Siblings | None = None
        self._orders = _Drawn(len(texts), seed) if held else _Computed(len(texts), config.limit, seed)
        check_count(len(self._orders), config.batch_size)
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
        """Open the corpus of ``context.parts`` and set up training; a decoder with a memory is fitted to it.

        Raises:
            RegionkitError: The decoder cannot be trained by this recipe, or the disk has no room for the sentences.
            WeightsError: The bank is missing, damaged, or of another space.
            FeatureError: The backbone has no text tower, or its embeddings are not finite.
        """
        parts = context.parts
        decoder = parts["decoder"]
        learns = isinstance(decoder, torch.nn.Module) and isinstance(decoder, Component)
        if not learns or type(decoder).artifact is Component.artifact:
            raise RegionkitError(
                f"recipe 'text-only' cannot train decoder '{type(decoder).__name__}': it cannot export its weights",
                "decoders for this recipe have a method artifact() -> WeightArtifact, as decap has",
            )
        source = Source.of(config, context)
        texts, embeddings = source.texts, source.embeddings
        order: Tensor | None = None
        if source.held and config.limit and config.limit < len(texts):
            order = torch.randperm(len(texts), generator=generator_of(context.seed, "limit"))[: config.limit]
            texts, embeddings = [texts[row] for row in order.tolist()], Held(embeddings.of(order, []))
        made = cls(
            config, decoder, parts["bridge"], embeddings, texts, space=source.space, seed=context.seed, held=source.held
        )
        made.fingerprint, made.corpus, made._kept = source.fingerprint, source.corpus, source.keep
        if config.mix:
            made._siblings = Siblings.of(parts["corpus"], source.held, order)
        made._fit_memory()
        return made

    @property
    def steps_an_epoch(self) -> int:
        """Full batches in one pass over the corpus."""
        return len(self._orders) // self.config.batch_size

    @property
    def module(self) -> torch.nn.Module:
        """The decoder."""
        module: torch.nn.Module = self.decoder
        return module

    def batch(self, step: int) -> tuple[RegionTokens, list[str]]:
        """Return corrupted embeddings (batch_size, 1, d) and their sentences, from the seed and the step alone."""
        epoch, position = divmod(step, self.steps_an_epoch)
        chosen = self._orders.rows(epoch, position * self.config.batch_size, self.config.batch_size)
        texts = [self.texts[row] for row in chosen.tolist()]
        if self._siblings is not None:
            chosen = self._siblings.drawn(chosen, generator_of(self.seed, "sibling", step))
        if self._drawn:
            vectors = self._drawn[epoch % len(self._drawn)][chosen]
        else:
            clean = self.embeddings.of(chosen, texts)
            vectors = self.bridge.corrupt(clean, generator_of(self.seed, "corrupt", step))
        return RegionTokens.single(vectors, self.space), texts

    def loss(self, batch: tuple[RegionTokens, list[str]]) -> tuple[Tensor, Mapping[str, float]]:
        """Return the decoder's loss, and how many tokens, or whatever it counts, it is a mean of."""
        return self.decoder.loss(*batch), {"tokens": self.weight(batch)}

    def weight(self, batch: tuple[RegionTokens, list[str]]) -> float:
        """Return how many tokens the loss is a mean of."""
        return float(self.decoder.loss_terms(batch[1]))

    def export(self) -> Sequence[WeightArtifact]:
        """Return the decoder's weights for the space of the embeddings.

        Names of the corpus, unless a bank says it, and of the corruption are known to whoever assembled the parts and
        are added there.
        """
        artifact: WeightArtifact = self.decoder.artifact()
        header = dataclasses.replace(artifact.header, space=self.space, corpus=self.corpus or artifact.header.corpus)
        return [dataclasses.replace(artifact, header=header)]

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Return the share of sentences that come back word for word from their clean embedding.

        Spaces and case do not count: tokenizers set punctuation apart.
        """
        chosen = self._orders.rows(0, 0, min(_EVALUATED, len(self._orders)))
        texts = [self.texts[row] for row in chosen.tolist()]
        clean = torch.nn.functional.normalize(self.embeddings.of(chosen, texts), dim=-1)
        was_training = self.decoder.training
        self.decoder.eval()
        captions = self.decoder.generate(RegionTokens.single(clean, self.space))
        self.decoder.train(was_training)
        said, wanted = [_letters(caption.text) for caption in captions], [_letters(text) for text in texts]
        same = sum(first == second for first, second in zip(said, wanted, strict=True))
        yield "written back", same / len(said)

    def _fit_memory(self) -> None:
        """Give a decoder that retrieves texts the corpus, or as much of it as ``memory`` says."""
        if not isinstance(self.decoder, Decoder) or type(self.decoder).fit is Decoder.fit:
            return
        size = self.config.memory if self.config.memory < len(self.texts) else 0
        rows = torch.tensor(draw_rows(len(self.texts), size or None, self.seed, "the corpus", "recipe.memory"))
        texts = [self.texts[row] for row in rows.tolist()]
        parts = [self.embeddings.of(rows[part], texts[part]) for part in iter_batches(len(rows), BATCH)]
        self.decoder.fit(torch.cat(parts), texts)

    def _corrupted_all(self, draw: int) -> Tensor:
        """Return one corrupted version of every embedding (n, d)."""
        if not isinstance(self.embeddings, Held):
            raise RegionkitError(
                f"recipe 'text-only': draws: {self.config.draws} versions of every embedding are held in memory, and "
                f"this corpus of {len(self.texts)} captions is not",
                "write recipe.draws: 0, or recipe.embeddings: memory",
            )
        values = self.embeddings.values
        parts = [
            self.bridge.corrupt(values[part], generator_of(self.seed, "draw", draw, part.start))
            for part in iter_batches(len(values), BATCH)
        ]
        return torch.cat(parts)


class _Drawn:
    """Orders of all passes over n rows, each drawn as a whole."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epoch: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return self._count

    def rows(self, epoch: int, start: int, size: int) -> Tensor:
        """Return the rows (size,) at places from ``start`` on."""
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, torch.randperm(self._count, generator=generator_of(self._seed, "order", epoch)))
        return self._epoch[1][start : start + size]


class _Computed:
    """Orders of all passes over n rows, or over ``limit`` of them, computed where they are asked for."""

    def __init__(self, count: int, limit: int, seed: int) -> None:
        self._limit = Permutation(count, seed, "limit") if 0 < limit < count else None
        self._count, self._seed = limit if self._limit else count, seed
        self._order: tuple[int, Permutation] | None = None
        self._found: tuple[int, int, Tensor] | None = None

    def __len__(self) -> int:
        return self._count

    def rows(self, epoch: int, start: int, size: int) -> Tensor:
        """Return the rows (size,) at places from ``start`` on."""
        known = self._found
        if known is None or known[0] != epoch or not known[1] <= start <= start + size <= known[1] + len(known[2]):
            until = min(self._count, start + _TOGETHER * size)
            known = self._found = (epoch, start, self._computed(epoch, range(start, until)))
        return known[2][start - known[1] : start - known[1] + size]

    def _computed(self, epoch: int, places: range) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, Permutation(self._count, self._seed, "order", epoch))
        rows = self._order[1].at(places)
        return torch.from_numpy(rows if self._limit is None else self._limit.at(rows))


def _letters(text: str) -> str:
    return "".join(text.lower().split())
