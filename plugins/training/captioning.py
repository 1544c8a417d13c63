"""Training on regions and their captions: any region encoder, bridge and decoder that fit, together.

The objective is the decoder's own, the cross-entropy of a region's caption; which parts learn is an option. It is how
Describe Anything (Lian et al., arXiv 2504.16072) and RegionVLM (Lee et al., arXiv 2403.18260) are trained, and serves
every pipeline whose parts hand gradients on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from regionkit.core.contracts import (
    BuildContext,
    Component,
    Dataset,
    Recipe,
    Sample,
    TrainSettings,
    WeightArtifact,
    iter_batches,
)
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.features import Scene
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Region, Regions, WholeImage
from regionkit.core.seeds import generator_of
from regionkit.core.spec import PARTS
from regionkit.plugins.training.captioning_config import CaptioningConfig

#: Regions that are captioned together at the end.
_EVALUATED_TOGETHER = 32


@dataclass(frozen=True)
class CaptioningBatch:
    """The regions of a step: pictures, the regions on them, and one caption a region."""

    images: tuple[Image.Image, ...]
    regions: Regions
    texts: tuple[str, ...]


class Captioning(Recipe):
    """Train a pipeline to say of each region what its reference says.

    Args:
        config: Tasks and optimisation.
        pipeline: The four parts.
        dataset: Regions with references.
        seed: Of the order, and of the references that are drawn.

    Raises:
        RegionkitError: None of the parts that are to be trained has weights, or one cannot write them down.
        DataError: The data set has no samples of a task, or no such split, be it for training or for the end.
    """

    rows_apart: ClassVar[bool] = True

    def __init__(self, config: CaptioningConfig, pipeline: Pipeline, dataset: Dataset, seed: int = 0) -> None:
        self.config = config
        self.pipeline = pipeline
        self.dataset = dataset
        self.seed = seed
        self._module = nn.ModuleDict(self._trained())
        self._samples = [
            [_samples_of(dataset, task, split, config.images) for split in config.splits] for task in config.tasks
        ]
        # Asked for now, although used at the end: what is wrong with them must not come after hours of training.
        self._evaluated = {
            (task, split): _samples_of(dataset, task, split, config.evaluated)
            for task, split in product(config.tasks, config.evaluated_splits if config.evaluated else ())
        }
        self.settings = TrainSettings(
            steps=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            schedule=config.schedule,
            clip=config.clip,
        )

    @classmethod
    def build(cls, config: CaptioningConfig, context: BuildContext) -> Self:
        """Take the four parts and the data set of ``context.parts``.

        Raises:
            RegionkitError: As the constructor; also where the loss has no gradient for a part that is to be trained.
        """
        parts = context.parts
        made = cls(config, Pipeline(*(parts[kind] for kind in PARTS)), parts["dataset"], context.seed)
        made._check_gradients()
        return made

    @property
    def module(self) -> nn.Module:
        """The parts that are trained, by kind."""
        return self._module

    def _trained(self) -> dict[str, nn.Module]:
        """Return the parts that have weights to train; all others are frozen, their gradients not even computed."""
        parts = {kind: getattr(self.pipeline, kind) for kind in PARTS}
        trained: dict[str, nn.Module] = {}
        for kind, part in parts.items():
            if not isinstance(part, nn.Module):
                continue
            if kind in self.config.freeze:
                part.requires_grad_(False)
            elif any(weight.requires_grad for weight in part.parameters()):
                trained[kind] = part
        if not trained:
            raise RegionkitError(
                "recipe 'captioning' has nothing to train: the parts have no weights, or are frozen",
                "freeze fewer parts: recipe.freeze; or choose parts that learn, such as focal-prompt or lm-tokens",
            )
        lost = [kind for kind in trained if type(parts[kind]).artifact is Component.artifact]
        if lost:
            raise RegionkitError(
                f"recipe 'captioning' cannot train {self._named(lost)}: no artifact() writes the weights down",
                self._freezing(lost),
            )
        return trained

    def _check_gradients(self) -> None:
        """Find out from two regions, before all steps are made for nothing, that every part that is trained learns.

        Raises:
            RegionkitError: The loss has no gradient for any weight of a part.
        """
        pool = self._samples[0][0]
        few = [pool[place % len(pool)] for place in range(min(2, self.config.batch_size))]
        weights = {
            kind: [weight for weight in part.parameters() if weight.requires_grad]
            for kind, part in self._module.items()
        }
        every = [weight for own in weights.values() for weight in own]
        with torch.random.fork_rng(devices={weight.device for weight in every if weight.is_cuda}):
            loss, _ = self.loss(self._of(few, [0] * len(few)))
            reached = torch.autograd.grad(loss, every, allow_unused=True) if loss.requires_grad else [None] * len(every)
        learning = {id(weight) for weight, gradient in zip(every, reached, strict=True) if gradient is not None}
        idle = [kind for kind, own in weights.items() if not any(id(weight) in learning for weight in own)]
        if idle:
            raise RegionkitError(
                f"recipe 'captioning' would train {self._named(idle)} in vain: the loss has no gradient there",
                self._freezing(idle),
                "features that are shared by the regions of a picture come without gradients, and a bridge that only "
                "looks things up passes none on",
            )

    def _named(self, kinds: Sequence[str]) -> str:
        return " and ".join(f"{kind} '{type(getattr(self.pipeline, kind)).__name__}'" for kind in kinds)

    def _freezing(self, kinds: Sequence[str]) -> str:
        frozen = [kind for kind in PARTS if kind in kinds or kind in self.config.freeze]
        return f"leave it as it is: recipe.freeze: [{', '.join(frozen)}]"

    def batch(self, step: int) -> CaptioningBatch:
        """Draw the regions of a step from the seed and the step alone."""
        config, draws = self.config, generator_of(self.seed, "batch", step)
        shares = torch.tensor(config.shares or [1.0] * len(self._samples), dtype=torch.float64)
        tasks = torch.multinomial(shares, config.batch_size, replacement=True, generator=draws).tolist()
        most = config.images_a_step or config.batch_size
        where = torch.rand(most, generator=draws, dtype=torch.float64).tolist()
        wording, lots = torch.randint(1 << 20, (2, config.batch_size), generator=draws).tolist()
        # The same share of the way through every task is about the same picture, which then serves several regions.
        places, splits = ([values[at % most] for at in range(config.batch_size)] for values in (where, lots))
        pools = [self._samples[task][lot % len(config.splits)] for task, lot in zip(tasks, splits, strict=True)]
        chosen = [pool[int(place * len(pool))] for pool, place in zip(pools, places, strict=True)]
        return self._of(chosen, wording)

    def _of(self, samples: Sequence[Sample], lots: Sequence[int]) -> CaptioningBatch:
        """Open the pictures of samples, each once, and choose a caption for each."""
        keys = list(dict.fromkeys(sample.image_id for sample in samples))
        places = {key: place for place, key in enumerate(keys)}
        texts = [
            sample.references[lot % len(sample.references) if self.config.reference == "any" else 0]
            for sample, lot in zip(samples, lots, strict=True)
        ]
        regions: tuple[Region, ...] = tuple(sample.region for sample in samples)
        images = tuple(self.dataset.image(key) for key in keys)
        return CaptioningBatch(images, Regions(regions, tuple(places[one.image_id] for one in samples)), tuple(texts))

    def share(self, step: int, rank: int, count: int) -> CaptioningBatch:
        """Return regions ``rank::count`` of a step with their captions and the pictures that they lie in."""
        whole = self.batch(step)
        regions, images = whole.regions.items[rank::count], whole.regions.image[rank::count]
        used = sorted(set(images))
        places = {image: place for place, image in enumerate(used)}
        return CaptioningBatch(
            tuple(whole.images[image] for image in used),
            Regions(regions, tuple(places[image] for image in images)),
            whole.texts[rank::count],
        )

    def weight(self, batch: CaptioningBatch) -> float:
        """Return how many tokens the decoder's loss is a mean of."""
        return float(self.pipeline.decoder.loss_terms(batch.texts))

    def loss(self, batch: CaptioningBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Return the decoder's loss on the regions of a batch."""
        inputs = self.pipeline.inputs(Scene(batch.images, self.pipeline.backbone), batch.regions)
        return self.pipeline.decoder.loss(inputs, batch.texts), {}

    def export(self) -> Sequence[WeightArtifact]:
        """Return the weights of the parts that were trained.

        Raises:
            RegionkitError: One of them cannot write its weights down.
        """
        made = []
        for kind in self._module:
            artifact = getattr(self.pipeline, kind).artifact()
            if artifact is None:
                raise RegionkitError(f"{self._named([kind])} was trained, and artifact() gives none of its weights")
            made.append(artifact)
        return made

    def evaluate(self) -> Iterable[tuple[str, float]]:
        """Yield the share of regions of another split whose caption is one of their references, task by task.

        Beside it stands the share when every region is exchanged for one of another picture: what is said for
        reasons other than the region. Spaces and case do not count.
        """
        self._module.eval()
        for (task, split), found in self._evaluated.items():
            samples = found[: self.config.evaluated]
            yield f"{task}/{split}: said as a reference", self._right(samples)
            exchanged = _exchanged(self.dataset, samples)
            if exchanged:
                yield f"{task}/{split}: the same with regions exchanged", self._right(exchanged)

    def _right(self, samples: Sequence[Sample]) -> float:
        """Return the share of samples whose caption is one of their references."""
        right = 0
        for part in iter_batches(len(samples), _EVALUATED_TOGETHER):
            one = self._of(samples[part], [0] * len(samples[part]))
            inputs = self.pipeline.inputs(Scene(one.images, self.pipeline.backbone), one.regions)
            for sample, caption in zip(samples[part], self.pipeline.decoder.generate(inputs), strict=True):
                right += _letters(caption.text) in map(_letters, sample.references)
        return right / len(samples)


def _samples_of(dataset: Dataset, task: str, split: str, images: int) -> Sequence[Sample]:
    """Return samples of a task, or say what is wrong with asking for them."""
    if split not in dataset.splits:
        raise DataError(f"the data set has no split '{split}'", f"splits are: {', '.join(dataset.splits)}")
    samples = dataset.samples(task, split, 0, images)
    if not samples:
        raise DataError(f"the data set has no samples of task '{task}' in split '{split}'")
    return samples


def _exchanged(dataset: Dataset, samples: Sequence[Sample]) -> list[Sample]:
    """Give every sample the region of the next one whose picture has the same size, the first that of the last.

    Left out are those that would get a region of their own picture, those whose picture has a size of its own, since
    no other region is sure to lie inside it, and whole pictures, which are the same region everywhere.
    """
    sizes: dict[str, tuple[int, int]] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    for place, sample in enumerate(samples):
        if isinstance(sample.region, WholeImage):
            continue
        if sample.image_id not in sizes:
            sizes[sample.image_id] = dataset.image(sample.image_id).size
        groups.setdefault(sizes[sample.image_id], []).append(place)
    after = {
        place: following
        for group in groups.values()
        for place, following in zip(group, [*group[1:], *group[:1]], strict=True)
    }
    pairs = ((samples[place], samples[after[place]]) for place in sorted(after))
    return [replace(one, region=other.region) for one, other in pairs if one.image_id != other.image_id]


def _letters(text: str) -> str:
    return "".join(text.lower().split())
