"""ViZer's second stage: a decoder learns from pictures alone to write what the mapper finds in them.

Byun et al., Unifying Vision-Language Latents for Zero-label Image Caption Enhancement, arXiv 2510.12931, section 3.2.
Only the decoder's adapter is trained; with the adapter off it is the model that it was, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from regionkit.core.contracts import BuildContext, Recipe, WeightArtifact
from regionkit.core.errors import RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.seeds import generator_of
from regionkit.plugins.vizer.alignment import fit_mapper, mapper_of, settings_of
from regionkit.plugins.vizer.collapse import MapperCollapsed
from regionkit.plugins.vizer.configs import ZeroLabelConfig
from regionkit.plugins.vizer.mapper import NOTES, Mapper
from regionkit.plugins.vizer.pictures import Batch, Eyes, Inputs, Pictures, evaluating, nothing, write

#: Regions that the figures after training are taken from.
_EVALUATED = 128


class ZeroLabel(Recipe):
    """Train the adapter of a decoder to agree with a frozen mapper. No caption of the data is ever read.

    The one exception is ``reward: references``, a control that is no zero-label training.

    Args:
        config: Options.
        parts: Backbone, region encoder, bridge, decoder, dataset and mapper, by role.
        seed: Of order, samples and shuffles.

    Raises:
        RegionkitError: The decoder has no adapter, or cannot do what an option asks for; the mapper is no mapper or
            untrained by oversight.
        MapperCollapsed: Stage 1 found the mapper to be collapsed.
        DataError: There are too few regions.
    """

    def __init__(self, config: ZeroLabelConfig, parts: Mapping[str, Any], seed: int = 0) -> None:
        self.mapper = mapper_of(parts, "zero-label")
        _check_mapper(self.mapper, config)
        self.config = _as_trained(config, self.mapper)
        self.decoder = _with_adapter(parts["decoder"], config)
        self.eyes = Eyes(parts, "region" if self.config.target == "region" else "image")
        self.pictures = Pictures(parts["dataset"], config, seed, "zero-label")
        self.seed = seed
        self.prompt = config.prompt or None
        self.settings = settings_of(config, self.pictures)
        fit_mapper(self.mapper, self.eyes, self.pictures, self.prompt)
        self.mapper.eval().requires_grad_(False)
        self._found: dict[str, float] = {}

    @classmethod
    def build(cls, config: ZeroLabelConfig, context: BuildContext) -> Self:
        """Train with the parts of the context."""
        return cls(config, context.parts, context.seed)

    @property
    def module(self) -> nn.Module:
        """The decoder, of which only the adapter takes gradients."""
        return self.decoder  # type: ignore[no-any-return]

    def batch(self, step: int) -> Batch:
        """Return the regions of a step, from the seed and the step alone."""
        return self.pictures.batch(step)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Write captions of the regions, and return how little they agree with what is seen there.

        The loss falls whether captions get better or worse: look at them, and at ``distinct`` and ``generic``.
        """
        inputs, targets, _ = self.eyes.look(batch)
        targets = self._controlled(targets, batch.step)
        texts = write(self.decoder, inputs, self.prompt, self._options())
        figures = _figures(texts)
        if self.config.estimator == "reinforce":
            loss, more = self._reinforced(batch, inputs, targets, texts)
            figures |= more
        else:
            loss = self.mapper.alignment_loss(self._states(inputs, texts), targets)
        if self.config.kl:
            divergence = self._divergence(inputs, texts)
            loss = loss + self.config.kl * divergence
            figures["kl"] = float(divergence.detach())
        return loss, figures

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Describe captions of the first regions, with and without the adapter; the latter are named ``base``."""
        with torch.no_grad(), evaluating(self.decoder):
            texts, cosines = self._written()
            with self.decoder.without_adapter():
                base, base_cosines = self._written()
        same = sum(one == other for one, other in zip(texts, base, strict=True))
        self._found = {**_figures(texts), "cosine": sum(cosines) / len(cosines), "changed": 1 - same / len(texts)}
        self._found |= {f"base {name}": value for name, value in _figures(base).items()}
        self._found["base cosine"] = sum(base_cosines) / len(base_cosines)
        return self._found.items()

    def export(self) -> Sequence[WeightArtifact]:
        """Return the decoder with its adapter; the header says what it was trained with."""
        chosen = ("estimator", "reward", "control", "positions", "target", "context", "prompt", "kl")
        notes: dict[str, Any] = {name: getattr(self.config, name) for name in chosen}
        notes["mapper"] = dict(self.mapper.notes) if self.mapper.trained and self.mapper.notes else "untrained"
        artifact: WeightArtifact = self.decoder.artifact()
        header = replace(artifact.header, extra={**artifact.header.extra, NOTES: notes})
        return [WeightArtifact(artifact.tensors, header)]

    def _written(self) -> tuple[list[str], list[float]]:
        """Return captions of the first regions and how well each agrees with its target."""
        texts: list[str] = []
        cosines: list[float] = []
        for batch in self.pictures.first(_EVALUATED):
            inputs, targets, _ = self.eyes.look(batch)
            written = write(self.decoder, inputs, self.prompt, self._options())
            cosines += self._cosines(inputs, written, targets).tolist()
            texts += written
        return texts, cosines

    def _options(self, **more: Any) -> GenerateOptions:
        return GenerateOptions(max_tokens=self.config.max_tokens, **more)

    def _states(self, inputs: Inputs, texts: Sequence[str]) -> RegionTokens:
        """Read captions back. They are texts again: special tokens that a decoder wrote do not survive that."""
        positions = "tok" if self.config.positions == "tok" else "pred"
        if self.config.context == "text":
            return self.decoder.hidden_states(nothing(len(texts), inputs), texts, None, positions)  # type: ignore[no-any-return]
        return self.decoder.hidden_states(inputs, texts, self.prompt, positions)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _cosines(self, inputs: Inputs, texts: Sequence[str], targets: Tensor) -> Tensor:
        """Return (r,) cosines of captions, read as at inference, and targets."""
        with evaluating(self.decoder):
            mapped = self.mapper.bridge(self._states(inputs, texts)).vectors()
        return self.mapper.similarity(mapped.to(self.mapper.mean), self.mapper.centred(targets))

    def _controlled(self, targets: Tensor, step: int) -> Tensor:
        """Give every region the target of another one where the control asks for that."""
        if self.config.control == "none":
            return targets
        shift = int(torch.randint(1, len(targets), (), generator=generator_of(self.seed, "shuffle", step)))
        return targets.roll(shift, 0)

    def _reinforced(
        self, batch: Batch, inputs: Inputs, targets: Tensor, greedy: Sequence[str]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss whose gradient is that of the expected reward, the greedy caption's taken off.

        Source: Rennie et al., Self-critical Sequence Training for Image Captioning, arXiv 1612.00563, eq. 7.
        """
        seed = int(torch.randint(2**31, (), generator=generator_of(self.seed, "sample", batch.step)))
        sampled = write(self.decoder, inputs, self.prompt, self._options(temperature=1.0, seed=seed))
        reward, baseline = (self._rewards(batch, inputs, texts, targets) for texts in (sampled, greedy))
        likelihood = self.decoder.log_likelihood(inputs, sampled, self.prompt)
        loss = -((reward - baseline).to(likelihood) * likelihood).mean()
        return loss, {"reward": float(baseline.mean()), "advantage": float((reward - baseline).mean())}

    def _rewards(self, batch: Batch, inputs: Inputs, texts: Sequence[str], targets: Tensor) -> Tensor:
        if self.config.reward == "alignment":
            return self._cosines(inputs, texts, targets)
        pairs = zip(texts, batch.samples, strict=True)
        return torch.tensor(
            [max((word_f1(text, one) for one in sample.references), default=0.0) for text, sample in pairs]
        )

    def _divergence(self, inputs: Inputs, texts: Sequence[str]) -> Tensor:
        """Return KL(adapted || base) of the next token, the mean over the captions' tokens."""
        states = self.decoder.hidden_states(inputs, texts, self.prompt, "pred")
        with torch.no_grad(), self.decoder.without_adapter(), evaluating(self.decoder):
            base = self.decoder.hidden_states(inputs, texts, self.prompt, "pred")
            wanted = self.decoder.logits(base.tokens[base.mask]).float().log_softmax(-1)
        said = self.decoder.logits(states.tokens[states.mask]).float().log_softmax(-1)
        divergence: Tensor = (said.exp() * (said - wanted)).sum(-1).mean()
        return divergence


def word_f1(text: str, reference: str) -> float:
    """Return the F1 of the words of a text and a reference, each counted as often as it stands there."""
    said, wanted = Counter(text.lower().split()), Counter(reference.lower().split())
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total()) if shared else 0.0


def _figures(texts: Sequence[str]) -> dict[str, float]:
    """Return what shows a decoder that stops looking: few distinct captions, one of them everywhere, odd lengths."""
    counts = Counter(texts)
    total = max(len(texts), 1)
    return {
        "distinct": len(counts) / total,
        "generic": max(counts.values(), default=0) / total,
        "words": sum(len(text.split()) for text in texts) / total,
    }


def _check_mapper(mapper: Mapper, config: ZeroLabelConfig) -> None:
    """Refuse a mapper that is untrained by oversight, or that its own recipe found to be collapsed."""
    if not mapper.trained and mapper.config.weights != "none":
        raise RegionkitError(
            "recipe 'zero-label' follows a mapper, and this one is not trained",
            "train one with the recipe mapper-alignment and name it: mapper: {name: mapper, weights: file:PATH}",
            "for the control of a random mapper write weights: none",
        )
    notes = mapper.notes or {}
    if notes.get("collapsed") and not config.allow_collapsed:
        raise MapperCollapsed(
            f"the mapper is collapsed: it finds the right picture for {notes.get('R@1', 0.0):.1%} of captions, and a "
            f"constant answer would for {notes.get('chance', 0.0):.1%}",
            "train another with mapper.center: true, more pictures or more steps",
            "to go on all the same write recipe.allow_collapsed: true",
        )


def _as_trained(config: ZeroLabelConfig, mapper: Mapper) -> ZeroLabelConfig:
    """Fill in what is to be as in the mapper's training."""
    notes = mapper.notes or {}
    positions = notes.get("positions", "pred") if config.positions == "auto" else config.positions
    target = notes.get("target", "image") if config.target == "auto" else config.target
    return replace(config, positions=positions, target=target)


def _with_adapter(decoder: Any, config: ZeroLabelConfig) -> Any:
    """Return a decoder whose adapter can be trained as the options ask.

    Raises:
        RegionkitError: It has none, it is switched off, or it lacks what an option needs.
    """
    name = type(decoder).__name__
    options = getattr(decoder, "config", None)
    if (
        not hasattr(decoder, "without_adapter")
        or not getattr(options, "lora", 0)
        or not getattr(options, "adapter", True)
    ):
        raise RegionkitError(
            f"recipe 'zero-label' trains the adapter of a decoder, and {name} has none, or it is off",
            "choose a decoder with adapters, such as lm-tokens or vlm, and write: decoder.lora: 32",
        )
    needed = {"kl": "logits"} if config.kl else {}
    needed |= {"estimator": "log_likelihood"} if config.estimator == "reinforce" else {}
    for option, method in needed.items():
        if not hasattr(decoder, method):
            raise RegionkitError(f"{name} has no method {method}, which recipe.{option} needs", "take another decoder")
    return decoder
