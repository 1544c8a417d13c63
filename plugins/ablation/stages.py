"""The tree of stages: what trials have in common is computed once, in this run and in later ones.

Trials that agree up to a stage share its output. Features of a picture are kept by backbone and picture, and serve all
region encoders, bridges, decoders, tasks and seeds; encoded and bridged regions are kept in chunks, by the key of their
stage (``stage_keys``), and serve what lies downstream. Both are kept in memory while they are needed, and on disk where
there is a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from regionkit.core.compute import fast_products, route_helps
from regionkit.core.features import Caption
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.answering import ROWS_TOGETHER, Answering, Answers
from regionkit.plugins.ablation.cache.entries import Precision
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.clock import Observe, StageClock
from regionkit.plugins.ablation.encoding import Chunk, Encoder, FeatureSource, chunks_of
from regionkit.plugins.ablation.failures import reason_of
from regionkit.plugins.ablation.memory import ChunkStore, Encoded, FeatureStore, in_precision
from regionkit.plugins.ablation.models import Models
from regionkit.plugins.ablation.out_of_memory import BatchSizes
from regionkit.plugins.ablation.referring import Candidates
from regionkit.plugins.ablation.stage_keys import Place, StageKeys
from regionkit.plugins.ablation.trials import Selection, Trial

#: Pictures of which captions are compared where a cache rounds.
_COMPARED = 8


@dataclass(frozen=True)
class Shard:
    """The answers to some of the samples of a trial.

    Attributes:
        positions: Positions of the samples.
        captions: Their captions by position; those without one are missing.
        errors: Why, by position.
        seconds: Wall time by stage.
        notes: What a reader of the trial has to know.
    """

    positions: tuple[int, ...]
    captions: dict[int, Caption]
    errors: dict[int, str]
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class StageTree:
    """Runs the stages of trials and shares what they have in common.

    Trials that share a stage should follow each other: a change of samples or of the backbone empties the memory.

    Args:
        models: Where parts come from.
        cache: The cache on disk; None for none.
        limit: Bytes of features, and of tokens that lie on disk too, to hold in memory.
        observe: Told of every stage that ends: name, seconds, information.
        precision: In which outputs of stages are handed on, whether or not there is a cache; the cache has the same.
        strict: Let an error of a single sample through instead of noting it.
        tell: Told what a user should know at once.
    """

    def __init__(
        self,
        models: Models,
        cache: StageCache | None,
        limit: int,
        observe: Observe,
        *,
        precision: Precision = "float32",
        strict: bool = False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.models, self.cache, self.precision, self.strict = models, cache, precision, strict
        onednn = models.device.type == "cpu" and route_helps()
        self.keys = StageKeys(Place.of(models.device.type, precision, models.computed, onednn=onednn))
        self.clock = StageClock(observe)
        self.sizes = BatchSizes(tell)
        device = str(models.device)
        self._features = FeatureSource(FeatureStore(limit), cache, self.clock, self.sizes, device, precision)
        self._chunks = ChunkStore(cache, limit, self.clock, device)
        self._place: tuple[str, int] = ("", 0)
        self._spread: Candidates | None = None
        self._cut: list[Chunk] = []
        self._difference = ""
        #: Captions of a few pictures in float32, by position, where models compute in less; of the last trial.
        self.exact: dict[int, Caption] = {}

    def answers(self, trial: Trial, part: tuple[int, int] = (0, 1)) -> Shard:
        """Answer the samples of a trial, or the ``part[0]``-th of ``part[1]`` shares of its pictures.

        Returns:
            A caption for each sample; for samples with candidates, the position of the one that is meant.
        """
        with torch.inference_mode(), fast_products(self.models.device):
            return self._answers(trial, part)

    def _answers(self, trial: Trial, part: tuple[int, int]) -> Shard:
        selection, plan = trial.selection, trial.combination.plan
        self._enter(trial)
        assert self._spread is not None
        encoder = Encoder(selection, self._spread.samples, plan, self.models, self._features, self._note)
        chunks = self._share(part)
        views = self._encode_all(trial, encoder, chunks)
        with self.clock.stage("decoder", regions=sum(chunk.regions for chunk in chunks)):
            answering = Answering(
                selection, self._spread, self.models.decoder(plan), plan.key("decoder"), self.sizes, strict=self.strict
            )
            for group in self._groups(trial, encoder, chunks, views):
                answering.take(group)
            owners = {self._spread.owner[at] for chunk in chunks for kept in chunk.images.values() for at in kept}
            among = sorted(owners)
            found: Answers = answering.finish(among)
        rounds = self.precision != "float32" or self.models.computed != "float32"
        self._difference, self.exact = self._rounding(trial, found) if rounds and part[0] == 0 else ("", {})
        return Shard(tuple(among), found.captions, found.errors)

    def notes(self, trial: Trial) -> tuple[str, ...]:
        """Return what a reader of the trial that has just run has to know of how it ran."""
        plan = trial.combination.plan
        known = [*plan.remarks(), self.sizes.known("pictures", self.keys.backbone(plan))]
        known += [self.sizes.known("regions", plan.key(kind)) for kind in PARTS[1:]]
        return tuple(dict.fromkeys([*self.sizes.notes, *(note for note in [self._difference, *known] if note)]))

    def _rounding(self, trial: Trial, found: Answers) -> tuple[str, dict[int, Caption]]:
        """Say how many captions of a few pictures are others because numbers were rounded on their way.

        The pictures go through all stages once more, in float32 and without any cache; what that takes is no part of
        the trial's time.

        Returns:
            The note; and the captions in float32 where models compute in less.
        """
        selection, plan = trial.selection, trial.combination.plan
        assert self._spread is not None
        few = Chunk(0, dict(list(self._cut[0].images.items())[:_COMPARED]))
        lower = self.models.computed != "float32"
        models = Models(str(self.models.device), self.models.limit) if lower else self.models
        fresh = FeatureSource(FeatureStore(0), None, StageClock(_unheard), self.sizes, str(self.models.device))
        fresh.enter(self.keys.backbone(plan), plan.parts["backbone"].name, selection.source, frozenset())
        encoder = Encoder(selection, self._spread.samples, plan, models, fresh, self._note)
        answering = Answering(selection, self._spread, models.decoder(plan), plan.key("decoder"), self.sizes)
        answering.take([encoder.bridge(encoder.encode(few))])
        owners = sorted({self._spread.owner[at] for kept in few.images.values() for at in kept})
        exact = answering.finish(owners).captions
        both = [at for at in exact if at in found.captions]
        apart = sum(exact[at].text != found.captions[at].text for at in both)
        ways: list[str] = [self.models.computed] if lower else []
        ways += [f"cache in {self.precision}"] if self.precision != "float32" else []
        note = (
            f"{' and '.join(ways)}: {apart} of {len(exact)} captions of the first {len(few.images)} "
            "pictures differ from those of float32"
        )
        if lower:
            models.clear()
        return note, exact if lower else {}

    def _enter(self, trial: Trial) -> None:
        selection, backbone = trial.selection, self.keys.backbone(trial.combination.plan)
        place = (backbone, id(selection))
        if place == self._place:
            return
        if self._place[1] != id(selection):
            self._spread = Candidates.of(selection.samples)
            self._cut = chunks_of(self._spread.samples)
        self._place = place
        self._chunks.clear()
        images = (name for chunk in self._cut for name in chunk.images)
        name = trial.combination.plan.parts["backbone"].name
        self._features.enter(backbone, name, selection.source, frozenset(images))

    def _share(self, part: tuple[int, int]) -> list[Chunk]:
        number, count = part
        first, last = (len(self._cut) * at // count for at in (number, number + 1))
        return self._cut[first:last]

    def _encode_all(self, trial: Trial, encoder: Encoder, chunks: Sequence[Chunk]) -> dict[int, Encoded]:
        """Make sure that all chunks are encoded and bridged before the decoder is needed.

        Returns:
            A chunk of pictures, which is kept nowhere, by its number: those that follow it are made when they are
            decoded.
        """
        stage = self.keys.bridge(encoder.plan, encoder.selection)
        for chunk in chunks:
            if not self._chunks.has(stage, chunk.number):
                made = self._bridged(trial, encoder, chunk)
                if made.views:
                    return {chunk.number: made}
        return {}

    def _groups(
        self, trial: Trial, encoder: Encoder, chunks: Sequence[Chunk], made: dict[int, Encoded]
    ) -> Iterator[list[Encoded]]:
        """Return chunks in groups that are decoded together: one region at a time would be slow."""
        group: list[Encoded] = []
        for chunk in chunks:
            held = made.pop(chunk.number, None)
            group.append(held if held is not None else self._bridged(trial, encoder, chunk))
            if sum(one.regions for one in group) >= ROWS_TOGETHER:
                yield group
                group = []
        if group:
            yield group

    def _bridged(self, trial: Trial, encoder: Encoder, chunk: Chunk) -> Encoded:
        stage = self.keys.bridge(encoder.plan, encoder.selection)
        return self._shared("bridge", stage, trial, chunk, lambda: encoder.bridge(self._encoded(trial, encoder, chunk)))

    def _encoded(self, trial: Trial, encoder: Encoder, chunk: Chunk) -> Encoded:
        stage = self.keys.region_encoder(encoder.plan, encoder.selection)
        return self._shared("region_encoder", stage, trial, chunk, lambda: encoder.encode(chunk))

    def _shared(self, kind: str, stage: str, trial: Trial, chunk: Chunk, make: Callable[[], Encoded]) -> Encoded:
        held = self._chunks.get(stage, chunk.number)
        if held is not None:
            return held
        before = dict(self.clock.seconds)
        made = make()
        spent = {name: self.clock.seconds[name] - before.get(name, 0.0) for name in PARTS}
        made.seconds = {**made.seconds, **{name: seconds for name, seconds in spent.items() if seconds}}
        if made.views:
            return made
        self.clock.bytes[kind] += made.nbytes
        made = in_precision(made, self.precision)
        self._chunks.put(stage, chunk.number, made, self._about(kind, stage, trial))
        return made

    def _about(self, kind: str, stage: str, trial: Trial) -> dict[str, Any]:
        """Return what an entry says of itself, for `toolkit cache list` and for people."""
        part = trial.combination.plan.parts[kind]
        return {"stage": kind, "component": part.name, "config": part.to_dict(), "key": stage, "data": _label(trial)}

    def _note(self, error: Exception, positions: Sequence[int], result: Encoded) -> None:
        if self.strict:
            raise error
        result.errors.update(dict.fromkeys(positions, reason_of(error)))


def _unheard(name: str, seconds: float, info: dict[str, Any]) -> None:
    """Tell nobody of a stage."""


def _label(trial: Trial) -> str:
    selection: Selection = trial.selection
    return selection.ref.label
