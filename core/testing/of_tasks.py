"""Checks of tasks."""

from __future__ import annotations

from regionkit.core.contracts import Sample
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.tasks import REGION_MARK, Task
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import demand, digest
from regionkit.core.testing.examples import WRITTEN, example_asked
from regionkit.core.testing.subject import Subject


@check("task")
def prepares(subject: Subject) -> None:
    """A sample is left out, or stays itself: its id, its candidates, its picture or one frame of its clip."""
    task: Task = subject.component
    for sample in example_asked():
        found = task.prepare(sample)
        if found is None:
            continue
        demand(isinstance(found, Sample), f"prepare gives a {type(found).__name__}, no sample")
        demand(found.id == sample.id, f"prepare makes '{found.id}' of sample '{sample.id}': metrics know it by its id")
        picture = found.image_id.partition("#")[0]
        demand(picture == sample.image_id, f"prepare moves sample '{sample.id}' to another picture, {found.image_id}")
        same = len(found.candidates) == len(sample.candidates)
        demand(same, f"prepare changes the candidates of sample '{sample.id}', and its answer is a position among them")
        demand(digest([task.prepare(sample)]) == digest([found]), "preparing a sample twice gives two samples")


@check("task")
def prompts(subject: Subject) -> None:
    """A prompt is a text with one mark for each region, or with none, and the same for the same sample."""
    task: Task = subject.component
    for sample in [one for one in map(task.prepare, example_asked()) if one is not None]:
        prompt = task.prompt(sample)
        demand(prompt is None or isinstance(prompt, str), f"prompt gives a {type(prompt).__name__}, no text")
        demand(task.prompt(sample) == prompt, f"sample '{sample.id}' is asked two things")
        marks, regions = (prompt or "").count(REGION_MARK), max(len(sample.mentioned), 1)
        demand(marks in (0, regions), f"the prompt has {marks} {REGION_MARK} for {regions} regions: {prompt!r}")


@check("task")
def answers(subject: Subject) -> None:
    """Whatever a decoder writes becomes a caption with its tokens and score, twice the same."""
    task: Task = subject.component
    for sample in [one for one in map(task.prepare, example_asked()) if one is not None]:
        for text in WRITTEN:
            written = Caption(text, -1.5, (3, 4))
            found = task.answer(sample, written)
            demand(isinstance(found, Caption), f"of {text!r} answer makes a {type(found).__name__}, no caption")
            kept = (found.score, found.tokens) == (written.score, written.tokens)
            demand(
                kept, "answer changes the score or the tokens, which are the decoder's: use regionkit.core.tasks.said"
            )
            demand(task.answer(sample, written) == found, f"{text!r} is read in two ways")


@check("task")
def reports(subject: Subject) -> None:
    """It names metrics, each once, and says how answers are written or leaves it to the decoder."""
    task: Task = subject.component
    names = list(task.metrics)
    demand(all(isinstance(name, str) and name for name in names), f"its metrics are {names}: name them with texts")
    demand(len(set(names)) == len(names), f"a metric stands twice in {names}")
    known = task.generation is None or isinstance(task.generation, GenerateOptions)
    demand(known, f"generation is a {type(task.generation).__name__}, neither None nor GenerateOptions")
