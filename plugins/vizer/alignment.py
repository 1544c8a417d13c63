"""ViZer's first stage: the mapper learns to say, from a caption's hidden states, what the vision encoder saw.

Byun et al., Unifying Vision-Language Latents for Zero-label Image Caption Enhancement, arXiv 2510.12931, section 3.1.
Everything but the mapper is frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from regionkit.core.contracts import BuildContext, Recipe, TrainSettings, WeightArtifact
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.seeds import generator_of
from regionkit.plugins.vizer.collapse import Alignment, alignment_of
from regionkit.plugins.vizer.configs import AlignmentConfig
from regionkit.plugins.vizer.mapper import NOTES, Mapper
from regionkit.plugins.vizer.pictures import Batch, Eyes, Pictures, evaluating, nothing, write

#: Regions that the figures after training are taken from.
_EVALUATED = 256


class MapperAlignment(Recipe):
    """Train a mapper between a decoder's hidden states and visual features.

    Args:
        config: Options.
        parts: Backbone, region encoder, bridge, decoder, dataset and mapper, by role.
        seed: Of order and drawn references.

    Raises:
        RegionkitError: The part ``mapper`` is another bridge.
        DataError: There are too few regions.
        FeatureError: The decoder shows no hidden states.
    """

    def __init__(self, config: AlignmentConfig, parts: Mapping[str, Any], seed: int = 0) -> None:
        self.config = config
        self.mapper = mapper_of(parts, "mapper-alignment")
        self.decoder = parts["decoder"]
        self.eyes = Eyes(parts, config.target)
        self.pictures = Pictures(parts["dataset"], config, seed, "mapper-alignment")
        self.seed = seed
        self.settings = settings_of(config, self.pictures)
        self._found: Alignment | None = None
        # How wide states and features are is known only now: the first region says it.
        fit_mapper(self.mapper, self.eyes, self.pictures, config.prompt or None)

    @classmethod
    def build(cls, config: AlignmentConfig, context: BuildContext) -> Self:
        """Train with the parts of the context."""
        return cls(config, context.parts, context.seed)

    @property
    def module(self) -> nn.Module:
        """The mapper."""
        return self.mapper

    def batch(self, step: int) -> Batch:
        """Return the regions of a step, from the seed and the step alone."""
        return self.pictures.batch(step)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Return 1 - cos of mapped captions and visual features; figures tell whether the mapper collapses.

        Raises:
            DataError: ``variant: GT`` and a sample has no caption.
        """
        states, targets = self._read(batch)
        loss = self.mapper.alignment_loss(states, targets)
        return loss, self._alignment(states, targets).figures()

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Measure the trained mapper on the first regions; ``collapsed`` is among the figures where it is true.

        With the picture in context a mapper may read that instead of the caption. The cosine with captions exchanged
        among pictures tells: where it is as high, the mapper cannot tell a good caption from a bad one.
        """
        found = self.found()
        yield "cosine", 1 - found.loss
        yield "cosine with captions exchanged", self._exchanged()
        yield from found.figures().items()
        yield "chance R@1", found.chance

    def found(self) -> Alignment:
        """Return how well the mapper aligns the first regions, measured once."""
        if self._found is None:
            mapped, targets = [], []
            with torch.no_grad(), evaluating(self.mapper):
                for batch in self.pictures.first(_EVALUATED):
                    states, seen = self._read(batch)
                    mapped.append(self.mapper.bridge(states).vectors().float())
                    targets.append(self.mapper.centred(seen))
            self._found = alignment_of(torch.cat(mapped), torch.cat(targets))
        return self._found

    def export(self) -> Sequence[WeightArtifact]:
        """Return the mapper's weights; their header says how they were trained and whether they collapsed."""
        found = self.found()
        chosen = ("variant", "context", "positions", "target", "prompt")
        notes = {name: getattr(self.config, name) for name in chosen}
        notes |= {"collapsed": found.collapsed, "R@1": found.recall, "chance": found.chance, "spread": found.spread}
        artifact = self.mapper.artifact()
        header = replace(artifact.header, extra={**artifact.header.extra, NOTES: notes})
        return [WeightArtifact(artifact.tensors, header)]

    def _exchanged(self) -> float:
        """Return the mean cosine on the first regions when each is given the caption of the next one of its batch."""
        cosines = []
        with torch.no_grad(), evaluating(self.mapper):
            for batch in self.pictures.first(_EVALUATED):
                states, seen = self._read(batch, shift=1)
                mapped = self.mapper.bridge(states).vectors().to(self.mapper.mean)
                cosines.append(self.mapper.similarity(mapped, self.mapper.centred(seen)))
        return float(torch.cat(cosines).mean())

    @torch.no_grad()
    def _read(self, batch: Batch, shift: int = 0) -> tuple[RegionTokens, Tensor]:
        """Return hidden states of one caption a region, or of that ``shift`` regions on, and the visual features."""
        inputs, targets, _ = self.eyes.look(batch)
        prompt, options = self.config.prompt or None, GenerateOptions(max_tokens=self.config.max_tokens)
        written = self.config.variant == "G"
        texts = write(self.decoder, inputs, prompt, options) if written else self._references(batch)
        texts = [*texts[shift:], *texts[:shift]]
        context, prompt = (nothing(len(texts), inputs), None) if self.config.context == "text" else (inputs, prompt)
        with evaluating(self.decoder):
            return self.decoder.hidden_states(context, texts, prompt, self.config.positions), targets

    def _references(self, batch: Batch) -> list[str]:
        lots = torch.rand(len(batch.samples), generator=generator_of(self.seed, "reference", batch.step)).tolist()
        texts = []
        for sample, lot in zip(batch.samples, lots, strict=True):
            if not sample.references:
                raise DataError(
                    f"sample '{sample.id}' has no caption, and variant GT reads captions",
                    "set recipe.variant: G, which reads what the decoder writes",
                )
            texts.append(sample.references[int(lot * len(sample.references))])
        return texts

    @torch.no_grad()
    def _alignment(self, states: RegionTokens, targets: Tensor) -> Alignment:
        with evaluating(self.mapper):  # the running mean has taken these targets in already
            return alignment_of(self.mapper.bridge(states).vectors(), self.mapper.centred(targets))


def mapper_of(parts: Mapping[str, Any], recipe: str) -> Mapper:
    """Return the part ``mapper``.

    Raises:
        RegionkitError: It is another bridge.
    """
    mapper = parts["mapper"]
    if not isinstance(mapper, Mapper):
        raise RegionkitError(
            f"recipe '{recipe}' got {type(mapper).__name__} for its mapper, which maps no captions",
            "write mapper: {name: mapper}",
        )
    return mapper


def settings_of(config: Any, pictures: Pictures) -> TrainSettings:
    """Return how a recipe is optimised."""
    return TrainSettings(
        steps=config.steps or config.epochs * pictures.steps_an_epoch,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
        schedule=config.schedule,
        clip=config.clip,
    )


@torch.no_grad()
def fit_mapper(mapper: Mapper, eyes: Eyes, pictures: Pictures, prompt: str | None) -> None:
    """Give an untrained mapper the widths of states and features; refuse a trained one of others.

    Raises:
        FeatureError: The decoder shows no hidden states.
        WeightsError: The mapper's weights were made for another decoder or backbone.
    """
    inputs, _, space = eyes.look(pictures.first(1)[0])
    with evaluating(eyes.decoder):
        states = eyes.decoder.hidden_states(inputs, [""], prompt)
    mapper.fit_to(states.space, space)
