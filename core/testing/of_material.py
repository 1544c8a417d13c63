"""Checks of data sets, corpora and recipes."""

from __future__ import annotations

import math
from functools import partial

import torch
from PIL import Image

from regionkit.core.contracts import Dataset, Recipe, Sample, WeightArtifact
from regionkit.core.errors import DataError, RegionError
from regionkit.core.geometry import bounding_box
from regionkit.core.regions import MaskTrack, Region
from regionkit.core.spec import Space
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import Skip, demand, digest, shape
from regionkit.core.testing.subject import Subject, answer

#: Pictures of a data set that are looked at.
_FEW = 2


def _samples(subject: Subject, task: str, split: str = "", seed: int = 0, limit: int = _FEW) -> list[Sample]:
    data: Dataset = subject.component
    try:
        return list(data.samples(task, split or data.splits[0], seed, limit))
    except DataError as error:
        raise Skip(f"its data are not here: {error.message}") from error


@check("dataset")
def samples(subject: Subject) -> None:
    """Samples are unique, stand in one order, and belong to no more pictures than were asked for."""
    demand(bool(subject.accepts), "its spec names no task: accepts=(TASK, ...)")
    demand(bool(subject.component.splits), "it names no split")
    for task in subject.accepts:
        found = _samples(subject, task)
        demand(bool(found), f"task {task} has no sample")
        demand(all(isinstance(one, Sample) for one in found), f"task {task} gives something else than samples")
        ids = [one.id for one in found]
        demand(len(set(ids)) == len(ids), f"two samples of task {task} have one id")
        pictures = len({one.image_id for one in found})
        demand(pictures <= _FEW, f"task {task} gives {pictures} pictures, {_FEW} were asked for")
        again = _samples(subject, task)
        demand(digest(again) == digest(found), f"the samples of task {task} differ when asked twice")
        first = _samples(subject, task, limit=1)
        kept = [one.id for one in found if one.image_id in {one.image_id for one in first}]
        demand([one.id for one in first] == kept, f"a smaller limit gives other samples of task {task}")


@check("dataset")
def splits(subject: Subject) -> None:
    """Every split that it names has samples."""
    for split in subject.component.splits:
        demand(bool(_samples(subject, subject.accepts[0], split, limit=1)), f"split {split} has no sample")


@check("dataset")
def references(subject: Subject) -> None:
    """Every sample has reference captions, none of them empty, or something else that says what is right."""
    for task in subject.accepts:
        for one in _samples(subject, task):
            good = bool(one.references or one.info)
            good = good and all(isinstance(text, str) and text.strip() for text in one.references)
            demand(good, f"sample '{one.id}' has an empty reference, or none")


@check("dataset")
def pictures(subject: Subject) -> None:
    """Every picture opens, is the same twice, and its regions lie in it."""
    data: Dataset = subject.component
    opened: dict[str, Image.Image] = {}
    for task in subject.accepts:
        for one in _samples(subject, task):
            image = opened.setdefault(one.image_id, data.image(one.image_id))
            demand(isinstance(image, Image.Image), f"image('{one.image_id}') is a {type(image).__name__}, no picture")
            demand(isinstance(one.region, Region), f"the region of sample '{one.id}' is a {type(one.region).__name__}")
            if not isinstance(one.region, MaskTrack):
                try:
                    bounding_box(one.region, image.size)
                except RegionError as error:
                    raise AssertionError(f"the region of sample '{one.id}': {error.message}") from error
    for key, image in opened.items():
        demand(digest(data.image(key)) == digest(image), f"picture '{key}' differs when opened twice")


@check("dataset")
def unknown_picture(subject: Subject) -> None:
    """A picture that is not there is refused with a DataError."""
    try:
        subject.component.image("no such picture")
    except DataError:
        return
    except Exception as error:
        raise AssertionError(f"an unknown picture ends in {type(error).__name__}, not in a DataError") from error
    raise AssertionError("an unknown picture is opened")


@check("dataset")
def fingerprint(subject: Subject) -> None:
    """The fingerprint stays while the samples do, and changes whenever they change."""
    data: Dataset = subject.component
    for task in subject.accepts:
        _samples(subject, task)  # skips where its data are not here
        taken = partial(data.fingerprint, task, data.splits[0])
        first = taken(0, _FEW)
        demand(isinstance(first, str) and bool(first), "the fingerprint is no text")
        demand(taken(0, _FEW) == first, f"the fingerprint of task {task} differs when asked twice")
        for seed, limit, what in ((1, _FEW, "seed"), (0, 1, "limit")):
            other = _samples(subject, task, seed=seed, limit=limit)
            if digest(other) != digest(_samples(subject, task)):
                message = f"another {what} gives other samples of task {task}, and the same fingerprint"
                demand(taken(seed, limit) != first, message)


@check("corpus")
def sentences(subject: Subject) -> None:
    """Sentences are texts of one line, none of them empty, at least one."""
    texts = answer(subject)["sentences"]
    demand(bool(texts), "it holds no sentence")
    for place, text in enumerate(texts):
        demand(isinstance(text, str), f"sentence {place} is a {type(text).__name__}")
        demand(bool(text.strip()), f"sentence {place} is empty")
        demand(len(text.splitlines()) == 1, f"sentence {place} holds a line break: {text!r}")


@check("corpus")
def streamed(subject: Subject) -> None:
    """Read one by one, or by their numbers, the sentences are those of the whole list, in its order."""
    texts, corpus = answer(subject)["sentences"], subject.component
    rows = corpus.rows()
    ways = {"stream()": list(corpus.stream())} | (
        {} if rows is None else {"rows()": [rows[n] for n in range(len(rows))]}
    )
    for way, found in ways.items():
        pairs = enumerate(zip(found, texts, strict=False))
        other = next((place for place, (one, two) in pairs if one != two), None)
        demand(other is None, f"sentence {other} of {way} is not that of texts()")
        demand(len(found) == len(texts), f"{way} gives {len(found)} sentences, texts() {len(texts)}")


@check("recipe")
def batch_of_the_step(subject: Subject) -> None:
    """A batch is a function of the seed and of the step, whatever was made before."""
    recipe: Recipe = subject.component
    first = [digest(recipe.batch(step)) for step in (0, 1)]
    demand(digest(recipe.batch(0)) == first[0], "a batch differs when it is made again after another")
    resumed: Recipe = subject.another(0)
    demand(digest(resumed.batch(1)) == first[1], "the batch of step 1 depends on whether step 0 was made before it")
    demand(digest(subject.another(1).batch(0)) != first[0], "the batch ignores the seed: another seed gives the same")


@check("recipe")
def training_loss(subject: Subject) -> None:
    """The loss is one finite number through which the module's weights are reached."""
    recipe: Recipe = subject.another(0)
    recipe.module.train()
    loss, figures = recipe.loss(recipe.batch(0))
    demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss is {shape(loss)}, not one finite number")
    demand(loss.requires_grad, "the loss reaches no weight: it was computed without gradients")
    torch.autograd.backward(loss)
    grads = [weight.grad for weight in recipe.module.parameters() if weight.grad is not None]
    demand(bool(grads), "no weight of the recipe's module gets a gradient")
    demand(all(bool(torch.isfinite(grad).all()) for grad in grads), "a gradient is NaN or infinite")
    for name, value in figures.items():
        demand(isinstance(value, (int, float)) and math.isfinite(value), f"figure '{name}' is {value}")


@check("recipe")
def export(subject: Subject) -> None:
    """What it exports says in its header for which part and space it was trained."""
    made = subject.component.export()
    listed = isinstance(made, (list, tuple)) and bool(made) and all(isinstance(one, WeightArtifact) for one in made)
    demand(listed, f"export gives {type(made).__name__}, no list of WeightArtifact")
    kinds = [one.header.kind for one in made]
    demand(len(set(kinds)) == len(kinds), "two of the parts that it exports are of one kind")
    for artifact in made:
        header = artifact.header
        demand(bool(artifact.tensors), "it exports no tensor")
        wanted = subject.trains or (header.kind,)
        words = " or a ".join(wanted)
        demand(header.kind in wanted, f"its header says {header.kind or 'no kind'}, the recipe trains a {words}")
        demand(bool(header.name), "its header does not name the component")
        for space in (header.space, header.writes):  # left empty, whoever assembled the parts fills it in
            try:
                Space.parse(space or "unsaid[1]")
            except ValueError as error:
                raise AssertionError(f"its header names no space: {error}") from error
        for name, tensor in artifact.tensors.items():
            demand(bool(torch.isfinite(tensor).all()), f"tensor '{name}' is NaN or infinite")


@check("recipe")
def settings(subject: Subject) -> None:
    """It says for how many steps and how fast it trains."""
    given = subject.component.settings
    demand(given.steps >= 1, f"it trains for {given.steps} steps")
    demand(
        math.isfinite(given.learning_rate) and given.learning_rate > 0, f"its learning rate is {given.learning_rate}"
    )
    demand(isinstance(subject.component.module, torch.nn.Module), "what it trains is no module")
