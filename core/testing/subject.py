"""What is checked: a component with all that it takes to use it, and what it answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone, Sample
from regionkit.core.errors import DataError
from regionkit.core.features import Caption, Features, RegionTokens, Scene
from regionkit.core.judging import Judge, Question, Reply
from regionkit.core.regions import Regions
from regionkit.core.spec import REGION_KINDS, Port, Space
from regionkit.core.tasks import Task
from regionkit.core.testing.demands import Inputs, Skip, demand, digest
from regionkit.core.testing.examples import (
    SENTENCES,
    WRITTEN,
    example_asked,
    example_masks,
    example_regions,
    example_samples,
    example_tokens,
)
from regionkit.core.testing.fakes import GridBackbone, picture

#: Words that references lack, for captions of something else.
_ELSEWHERE = "nobody knows anything "


def example_pictures() -> tuple[Image.Image, ...]:
    """Return three different pictures of different shapes."""
    return picture((64, 48), 1), picture((40, 56), 2), picture((50, 50), 3)


@dataclass(frozen=True, eq=False)
class Subject:
    """A component under test.

    Attributes:
        kind: Its kind.
        component: The component, in evaluation mode.
        make: Makes another one of it, fitted in the same way, from a seed; the component itself is that of seed 0. The
            checks that need another one are skipped without it.
        read: Builds one from a weight file, for components with ``artifact()``.
        backbone: What a region encoder, bridge or decoder works with.
        images: Three different pictures that it accepts.
        inputs: Tokens or views that a bridge or decoder reads; made up from ``reads`` where left out.
        reads: Its resolved port; None where nothing is known of it.
        writes: The same for what it gives. A label, width or form that differs from it is a fault.
        text: Space of a backbone's sentences, as its port says; None where nothing is known of it.
        masked: The same for its pictures with masks.
        accepts: Region kinds of a region encoder, tasks of a data set.
        corruption: What a bridge says it does to training: ``none``, or words that mean noise.
        samples: What a metric judges.
        trains: Kinds of the parts that a recipe trains.
    """

    kind: str
    component: Any
    make: Callable[[int], Any] | None = None
    read: Callable[[Path], Any] | None = None
    backbone: Backbone = field(default_factory=GridBackbone)
    images: tuple[Image.Image, ...] = field(default_factory=example_pictures)
    inputs: Inputs | None = None
    reads: Port | None = None
    writes: Port | None = None
    text: str | None = None
    masked: str | None = None
    accepts: tuple[str, ...] = ()
    corruption: str = "none"
    samples: tuple[Sample, ...] = field(default_factory=lambda: tuple(example_samples()))
    trains: tuple[str, ...] = ()

    def another(self, seed: int) -> Any:
        """Make another one of the component."""
        if self.make is None:
            raise Skip("the subject does not say how to make another one of it")
        return self.make(seed)

    def portable(self) -> Subject:
        """Return the subject without what cannot travel to another process."""
        return replace(self, make=None, read=None)

    def scene(self) -> Scene:
        """Return a fresh scene of the first two pictures."""
        return Scene(self.images[:2], self.backbone)

    def regions(self) -> Regions:
        """Return a region of every declared kind on both pictures of the scene."""
        return Regions.of(
            [
                [region for kind, region in example_regions(image.size).items() if kind in self.kinds]
                for image in self.images[:2]
            ]
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Region kinds that a region encoder takes, as its spec or else its class says."""
        kinds: Sequence[str] = self.accepts or self.component.accepts
        demand(bool(kinds) and set(kinds) <= set(REGION_KINDS), f"accepts {kinds}, which are not all region kinds")
        return tuple(kinds)

    def tokens(self) -> RegionTokens:
        """Return what a bridge reads."""
        found = self.fed()
        if not isinstance(found, RegionTokens):
            raise Skip("it reads pictures, not tokens")
        return found

    def fed(self) -> Inputs:
        """Return what a bridge or decoder reads, for five regions or as many as were given."""
        if self.inputs is not None:
            return self.inputs
        default = self.backbone.text_space if self.kind == "decoder" else self.backbone.space
        port = self.reads or Port(default)
        return example_tokens(port.space, tokens=3 if port.many else 1, unit=self.kind == "decoder")


@torch.no_grad()
def answer(subject: Subject, texts: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what a component has to say, for comparing it with itself: in another process, precision or seed.

    Args:
        subject: The subject.
        texts: What a decoder scores; its own captions by default.
    """
    return _ANSWERS[subject.kind](subject, texts)


def numbers(values: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of floating-point numbers of an answer."""
    return {name: value for name, value in values.items() if isinstance(value, Tensor) and value.is_floating_point()}


def must_agree(one: dict[str, Any], other: dict[str, Any], message: str) -> None:
    """Demand that two answers are equal bit for bit."""
    for name, value in one.items():
        demand(digest(value) == digest(other.get(name)), f"{message}, in its {name}")


def _backbone(subject: Subject, _: Any) -> dict[str, Any]:
    backbone: Backbone = subject.component
    features: Features = backbone.encode(subject.images)
    found = {"patches": features.patches, "cls": features.cls, "attention": features.attention}
    if backbone.text_space:
        found["text vectors"] = backbone.encode_text(SENTENCES)
    if backbone.masked_space:
        masked = backbone.encode_masked(subject.images, example_masks(subject.images))
        found |= {"masked patches": masked.patches, "masked cls": masked.cls}
    return {name: value for name, value in found.items() if value is not None}


def _region_encoder(subject: Subject, _: Any) -> dict[str, Any]:
    encoded = subject.component.encode(subject.scene(), subject.regions())
    if isinstance(encoded, RegionTokens):
        return {"tokens": encoded.tokens, "mask": encoded.mask, "space": encoded.space}
    return {"pictures": encoded.pictures}


def _bridge(subject: Subject, _: Any) -> dict[str, Any]:
    tokens = subject.tokens()
    bridged = subject.component.bridge(tokens)
    dim = Space.parse(bridged.space).dim
    device = tokens.tokens.device
    texts = torch.randn(7, dim, generator=torch.Generator().manual_seed(5)).to(device)
    corrupted = subject.component.corrupt(texts, torch.Generator().manual_seed(3))
    return {"tokens": bridged.tokens, "mask": bridged.mask, "space": bridged.space, "corrupted texts": corrupted}


def _decoder(subject: Subject, texts: Sequence[str] | None) -> dict[str, Any]:
    inputs = subject.fed()
    captions = subject.component.generate(inputs)
    texts = [caption.text for caption in captions] if texts is None else texts
    return {"captions": captions, "scores": subject.component.score(inputs, texts)}


def _metric(subject: Subject, _: Any) -> dict[str, Any]:
    metric = copy.deepcopy(subject.component)  # it remembers what it took in
    metric.update(subject.samples, half_right(subject.samples))
    return {"score": metric.compute()}


def right_answers(samples: Sequence[Sample]) -> list[str]:
    """Return a reference caption of each sample, or the position of the region that is meant in a referring task."""
    return [
        str(sample.candidates.index(sample.region)) if sample.candidates else sample.references[0] for sample in samples
    ]


def half_right(samples: Sequence[Sample]) -> list[str]:
    """Return answers of which the first half is right; the second half is off by one."""
    half, right = len(samples) // 2, right_answers(samples)
    return right[:half] + right[half + 1 :] + right[half : half + 1]


def half_of_other_length(samples: Sequence[Sample]) -> list[str]:
    """Return captions of which the first half is right; the others are far too long and far too short, in turns.

    They share no word with references. A metric of one side alone, of what is left out or of what is added, sees its
    own kind of mistake among them.
    """
    half, right = len(samples) // 2, right_answers(samples)
    wrong = [_ELSEWHERE * (2 + max(map(len, map(str.split, sample.references)))) for sample in samples[half:]]
    return [*right[:half], *(text.strip() if at % 2 == 0 else "nothing" for at, text in enumerate(wrong))]


def _dataset(subject: Subject, _: Any) -> dict[str, Any]:
    split = subject.component.splits[0]
    found: dict[str, Any] = {}
    try:
        for task in subject.accepts:
            found[f"samples of task {task}"] = list(subject.component.samples(task, split, 0, 2))
            found[f"fingerprint of task {task}"] = subject.component.fingerprint(task, split, 0, 2)
    except DataError as error:
        raise Skip(f"its data are not here: {error.message}") from error
    first = next((samples[0] for samples in found.values() if isinstance(samples, list) and samples), None)
    return {**found, "picture": subject.component.image(first.image_id)} if first else found


def _corpus(subject: Subject, _: Any) -> dict[str, Any]:
    try:
        return {"sentences": list(subject.component.texts())}
    except DataError as error:
        raise Skip(f"its data are not here: {error.message}") from error


def example_questions() -> list[Question]:
    """Return four different questions: short ones, one with words of the system, one whose answer is begun."""
    return [
        Question("Is a dog an animal? Answer yes or no.", max_tokens=8),
        Question("What colour is the grass?", system="You are brief.", max_tokens=8),
        Question("Rate this caption from A to E: a red boat.", prefill="Score:", max_tokens=4),
        Question("Name a fruit.", temperature=0.7, top_p=0.9, max_tokens=8),
    ]


def replies_of(judge: Judge, questions: Sequence[Question]) -> list[Reply]:
    """Return the replies to questions in the order of the questions."""
    found = dict(judge.ask(questions))
    return [found[at] for at in sorted(found)]


def _judge(subject: Subject, _: Any) -> dict[str, Any]:
    judge: Judge = subject.component
    fixed = [one for one in example_questions() if one.temperature == 0]
    return {"replies": replies_of(judge, fixed), "identity": judge.identity}


def _recipe(subject: Subject, _: Any) -> dict[str, Any]:
    return {f"batch of step {step}": subject.component.batch(step) for step in (0, 3)}


def _task(subject: Subject, _: Any) -> dict[str, Any]:
    task: Task = subject.component
    prepared = [task.prepare(sample) for sample in example_asked()]
    asked = [one for one in prepared if one is not None]
    answers = [task.answer(one, Caption(text, 0.0)).text for one in asked for text in WRITTEN]
    return {"samples": prepared, "prompts": [task.prompt(one) for one in asked], "answers": answers}


_ANSWERS: dict[str, Callable[[Subject, Any], dict[str, Any]]] = {
    "backbone": _backbone,
    "region_encoder": _region_encoder,
    "bridge": _bridge,
    "decoder": _decoder,
    "metric": _metric,
    "dataset": _dataset,
    "corpus": _corpus,
    "recipe": _recipe,
    "task": _task,
    "judge": _judge,
}
