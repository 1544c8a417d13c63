"""The tree of stages: what trials have in common is computed once.

Trials that agree up to a stage share its output. Features of a picture are kept by backbone and picture, and serve all
region encoders, bridges, decoders, tasks and seeds; encoded and bridged regions are kept by the plan's key of that
stage and the samples, and serve what lies downstream.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from regionkit.core.contracts import Backbone, Sample
from regionkit.core.errors import RegionkitError
from regionkit.core.features import Caption, Features, RegionTokens, RegionViews, Scene
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Regions
from regionkit.plugins.ablation.asking import Asked, Batch, Prompts, by_prompt, together
from regionkit.plugins.ablation.batches import batches_of_one_grid, joined, rows
from regionkit.plugins.ablation.referring import Candidates, expression_scores
from regionkit.plugins.ablation.trials import Selection, Trial

Observe = Callable[[str, float, dict[str, Any]], None]
ImageKey = tuple[str, str]


class FeatureStore:
    """Features of single pictures of one backbone, in memory, up to a number of bytes.

    Trials walk through the pictures in the same order again and again. Dropping the oldest would then drop every
    picture just before it is asked for; instead, what is there stays, and what finds no room is computed again.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._backbone = ""
        self._wanted: frozenset[ImageKey] = frozenset()
        self._held: dict[ImageKey, Features] = {}

    def enter(self, backbone: str, wanted: frozenset[ImageKey]) -> None:
        """Say which backbone and pictures come next. Another backbone's features are dropped."""
        if backbone != self._backbone:
            self._held.clear()
            self.size = 0
        self._backbone, self._wanted = backbone, wanted

    def get(self, key: ImageKey) -> Features | None:
        """Return the features of a picture, a batch of one, where they are held."""
        return self._held.get(key)

    def put(self, key: ImageKey, features: Features) -> None:
        """Hold the features of a picture if there is room; those of pictures that are not wanted now make room."""
        size = nbytes(features)
        if self.size + size > self.limit:
            for other in [other for other in self._held if other not in self._wanted]:
                self.size -= nbytes(self._held.pop(other))
        if self.size + size <= self.limit and key not in self._held:
            self._held[key] = features
            self.size += size


def nbytes(features: Features) -> int:
    """Return the bytes that features take."""
    tensors = (features.patches, features.cls, features.attention)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


class SharedScene(Scene):
    """A scene whose features come from a store; those that are missing are computed together, when first asked for."""

    def __init__(
        self,
        images: Sequence[Image.Image],
        backbone: Backbone,
        keys: Sequence[ImageKey],
        store: FeatureStore,
        clock: StageClock,
    ) -> None:
        super().__init__(images, backbone)
        self._keys, self._store, self._clock = tuple(keys), store, clock

    @property
    def features(self) -> Features:
        """Features of all images."""
        if self._features is None:
            parts = {key: held for key in self._keys if (held := self._store.get(key)) is not None}
            missing = [at for at, key in enumerate(self._keys) if key not in parts]
            if missing:
                with self._clock.stage("backbone", images=len(missing)):
                    fresh = Scene([self.images[at] for at in missing], self.backbone).features
                for position, at in enumerate(missing):
                    parts[self._keys[at]] = fresh[position]
                    self._store.put(self._keys[at], fresh[position])
            self._features = Features.cat([parts[key] for key in self._keys])
        return self._features


class StageClock:
    """Adds up the wall time of stages, inner stages not counted in outer ones, and tells observers of each."""

    def __init__(self, observe: Observe) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._observe = observe
        self._inner = [0.0]

    @contextmanager
    def stage(self, name: str, **info: Any) -> Iterator[None]:
        """Time the body."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            total = time.perf_counter() - start
            own = total - self._inner.pop()
            self._inner[-1] += total
            self.seconds[name] += own
            self._observe(name, own, info)


@dataclass
class Encoded:
    """What samples became at a stage.

    Attributes:
        batches: Positions of samples and their tokens or pictures.
        errors: Position -> reason, for samples that could not be encoded.
    """

    batches: list[tuple[tuple[int, ...], RegionTokens | RegionViews]] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)


class StageTree:
    """Runs the stages of trials and shares what they have in common.

    Trials that share a stage must follow each other: a change of samples or of the backbone empties the tree.

    Args:
        limit: Bytes of features to hold.
        observe: Told of every stage that ends: name, seconds, information.
        strict: Let an error of a single sample through instead of noting it.
    """

    def __init__(self, limit: int, observe: Observe, *, strict: bool = False) -> None:
        self.store = FeatureStore(limit)
        self.clock = StageClock(observe)
        self.strict = strict
        self._place: Hashable = None
        self._tree: dict[tuple[str, str], Encoded] = {}

    @torch.inference_mode()
    def captions(self, trial: Trial, pipeline: Pipeline) -> tuple[list[Caption | None], dict[int, str]]:
        """Caption all samples of a trial; for samples with candidates, say the position of the one that is meant.

        Returns:
            One caption a sample, None where there is none, and the reasons by position.
        """
        selection, plan = trial.selection, trial.combination.plan
        self._enter(plan.key("backbone"), selection)
        clock = self.clock
        spread = Candidates.of(selection.samples)
        regions = spread.samples
        encoded = self._shared(
            "region_encoder", plan.key("region_encoder"), lambda: self._encode(selection, regions, pipeline)
        )
        below = f"{plan.key('region_encoder')} {plan.key('bridge')}"
        bridged = self._shared("bridge", below, lambda: self._bridge(encoded, pipeline))
        with clock.stage("decoder", regions=len(regions)):
            refers = any(sample.candidates for sample in selection.samples)
            found, errors = (self._refer if refers else self._decode)(bridged, pipeline, spread, selection)
        if refers:
            return found, errors
        pairs = zip(selection.samples, found, strict=True)
        return [None if one is None else selection.task.answer(sample, one) for sample, one in pairs], errors

    def _enter(self, backbone: str, selection: Selection) -> None:
        place = (backbone, id(selection))
        if place != self._place:
            self._place = place
            self._tree.clear()
            wanted = frozenset((selection.source, sample.image_id) for sample in selection.samples)
            self.store.enter(backbone, wanted)

    def _shared(self, stage: str, key: str, make: Callable[[], Encoded]) -> Encoded:
        if (stage, key) not in self._tree:
            made = make()
            if any(isinstance(inputs, RegionViews) for _, inputs in made.batches):
                return made  # pictures are large and quickly made again
            self._tree[stage, key] = made
        return self._tree[stage, key]

    def _encode(self, selection: Selection, regions: Sequence[Sample], pipeline: Pipeline) -> Encoded:
        result = Encoded()
        images: dict[str, list[int]] = {}
        for position, sample in enumerate(regions):
            images.setdefault(sample.image_id, []).append(position)
        loaded = self._load(selection, images, result)
        with self.clock.stage("region_encoder", regions=len(regions)):
            for batch in batches_of_one_grid(loaded, pipeline.backbone):
                self._encode_batch(batch, images, selection.source, regions, pipeline, result)
        return result

    def _load(
        self, selection: Selection, images: dict[str, list[int]], result: Encoded
    ) -> Iterator[tuple[str, Image.Image]]:
        for image_id, positions in images.items():
            try:
                image = selection.dataset.image(image_id)
            except RegionkitError as error:
                self._note(error, positions, result)
            else:
                yield image_id, image

    def _encode_batch(
        self,
        batch: Sequence[tuple[str, Image.Image]],
        positions: dict[str, list[int]],
        source: str,
        regions: Sequence[Sample],
        pipeline: Pipeline,
        result: Encoded,
    ) -> None:
        """Encode the regions of some pictures; where that fails, each region alone, so that only the bad ones fail."""
        chosen = [position for image_id, _ in batch for position in positions[image_id]]
        samples = [regions[position] for position in chosen]
        try:
            result.batches.append((tuple(chosen), self._encode_samples(batch, samples, source, pipeline)))
        except RegionkitError as error:
            if len(chosen) == 1:
                self._note(error, chosen, result)
                return
            for one in batch:
                for position in positions[one[0]]:
                    self._encode_batch([one], {one[0]: [position]}, source, regions, pipeline, result)

    def _encode_samples(
        self, batch: Sequence[tuple[str, Image.Image]], samples: Sequence[Sample], source: str, pipeline: Pipeline
    ) -> RegionTokens | RegionViews:
        ids = [image_id for image_id, _ in batch]
        keys = [(source, image_id) for image_id in ids]
        scene = SharedScene([image for _, image in batch], pipeline.backbone, keys, self.store, self.clock)
        index = {image_id: at for at, image_id in enumerate(ids)}
        regions = Regions(
            tuple(sample.region for sample in samples), tuple(index[sample.image_id] for sample in samples)
        )
        encoded = pipeline.region_encoder.encode(scene, regions)
        if isinstance(encoded, RegionTokens):
            encoded.check_finite(f"region encoder '{type(pipeline.region_encoder).__name__}'")
        return encoded

    def _bridge(self, encoded: Encoded, pipeline: Pipeline) -> Encoded:
        result = Encoded(errors=dict(encoded.errors))
        with self.clock.stage("bridge", regions=sum(len(positions) for positions, _ in encoded.batches)):
            for positions, inputs in encoded.batches:
                if isinstance(inputs, RegionViews):
                    result.batches.append((positions, inputs))
                    continue
                self._each(pipeline.bridge.bridge, positions, inputs, result)
        return result

    def _each(
        self,
        step: Callable[[RegionTokens], RegionTokens],
        positions: tuple[int, ...],
        tokens: RegionTokens,
        result: Encoded,
    ) -> None:
        try:
            result.batches.append((positions, step(tokens)))
        except RegionkitError as error:
            if len(positions) == 1:
                self._note(error, positions, result)
                return
            for at, position in enumerate(positions):
                self._each(step, (position,), rows(tokens, at), result)

    def _asked(self, bridged: Encoded, pipeline: Pipeline, spread: Candidates, selection: Selection) -> Asked:
        """Return what goes to the decoder, grouped by prompt."""
        refused: dict[int, RegionkitError] = {}
        prompts = Prompts(selection.task, pipeline.decoder).all_of(selection.samples, refused)
        if any(sample.mentioned for sample in selection.samples):
            asked = together(bridged.batches, spread, prompts)
        else:
            cut = (by_prompt(*batch, prompts) for batch in joined(bridged.batches))
            asked = Asked([Batch(*part) for parts in cut for part in parts])
        asked.errors |= refused
        return asked

    def _decode(
        self, bridged: Encoded, pipeline: Pipeline, spread: Candidates, selection: Selection
    ) -> tuple[list[Caption | None], dict[int, str]]:
        result = Encoded(errors=owned(bridged.errors, spread))
        captions: list[Caption | None] = [None] * len(selection.samples)
        asked = self._asked(bridged, pipeline, spread, selection)
        for position, error in asked.errors.items():
            if position not in result.errors:
                self._note(error, [position], result)

        def decode(positions: tuple[int, ...], inputs: RegionTokens | RegionViews, prompt: str | None) -> None:
            try:
                written = pipeline.decoder.generate(inputs, prompt, selection.task.generation)
            except RegionkitError as error:
                if len(positions) == 1:
                    self._note(error, positions, result)
                    return
                for at, position in enumerate(positions):
                    decode((position,), rows(inputs, at), prompt)
                return
            for position, caption in zip(positions, written, strict=True):
                captions[position] = caption

        for batch in asked.batches:
            decode(batch.positions, batch.inputs, batch.prompt)
        return captions, result.errors

    def _refer(
        self, bridged: Encoded, pipeline: Pipeline, spread: Candidates, selection: Selection
    ) -> tuple[list[Caption | None], dict[int, str]]:
        """Score the expression of each sample on its candidates; a candidate that fails is out of the running."""
        result = Encoded(errors=dict(bridged.errors))
        scores: dict[int, float] = {}
        refused: dict[int, RegionkitError] = {}
        prompts = Prompts(selection.task, pipeline.decoder).all_of(spread.samples, refused)
        for position, error in refused.items():
            self._note(error, [position], result)
        for whole in bridged.batches:
            for positions, inputs, prompt in by_prompt(*whole, prompts):
                chosen = [spread.samples[position] for position in positions]
                try:
                    found = expression_scores(pipeline.decoder, inputs, chosen, prompt)
                except RegionkitError as error:
                    self._note(error, positions, result)
                else:
                    scores |= dict(zip(positions, found, strict=True))
        answers = spread.answers(scores, len(selection.samples))
        reasons = owned(result.errors, spread)
        return answers, {owner: reason for owner, reason in reasons.items() if answers[owner] is None}

    def _note(self, error: RegionkitError, positions: Sequence[int], result: Encoded) -> None:
        if self.strict:
            raise error
        result.errors.update(dict.fromkeys(positions, str(error)))


def owned(errors: Mapping[int, str], spread: Candidates) -> dict[int, str]:
    """Return the reasons of regions by the positions of the samples that they belong to; the first counts."""
    found: dict[int, str] = {}
    for position in sorted(errors):
        found.setdefault(spread.owner[position], errors[position])
    return found
