"""``toolkit caption``: captions for regions of a picture, of a folder of pictures, or of a JSONL of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.registry.commands.inputs import (
    Job,
    RegionCommand,
    find_jobs,
    load,
    pipeline_options,
    region_options,
)
from regionkit.registry.commands.outputs import Writer, check_out, made_by, save_picture, write_all

if TYPE_CHECKING:
    from PIL import Image

    from regionkit.core.features import Caption, GenerateOptions
    from regionkit.core.pipeline import Pipeline
    from regionkit.core.regions import Region

    Opened = tuple[Image.Image, list[Region]]
    Captioned = tuple[Image.Image, list[Region], list[Caption]]

#: More is a slip of the keyboard: every beam holds a sequence of its own, and memory would end first.
MOST_BEAMS = 1000
#: Options that say how captions are generated, by their names in GenerateOptions.
_GENERATION = ("max_tokens", "beams", "temperature", "top_p", "seed")


@click.command(cls=RegionCommand)
@click.argument("source", type=click.Path(path_type=Path))
@region_options
@pipeline_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Picture with regions and captions, a .jsonl, or a folder."
)
@click.option("--batch", type=click.IntRange(1), help="Pictures opened together. [default: 8, on a GPU 64]")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest caption in tokens, its end included. [default: 30]")
@click.option("--beams", type=click.IntRange(1, MOST_BEAMS), help="Search with so many beams, for decoders that can.")
@click.option(
    "--temperature", type=click.FloatRange(0), help="Sample, for decoders that can; 0 takes the likeliest token."
)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Sample among the likeliest of this mass.")
@click.option("--seed", type=int, help="Of the samples; each picture begins with it anew.")
def caption(source: Path, **options: Any) -> None:
    """Caption regions of SOURCE: a picture, a folder of pictures, or a .jsonl of pictures and regions.

    Coordinates are pixels of the picture, origin at the top left. Every region gets one caption, in the order box,
    boxes, point, trace, mask, whole. A JSONL line is {"image": "a.png", "regions": [{"box": [8, 8, 60, 60]}, ...]}.
    The score of a caption is the sum of the log-probabilities of its tokens.
    """
    jobs = find_jobs(source, options)
    check_out(options["out"], source, jobs)
    asked = {name: options[name] for name in _GENERATION if options[name] is not None}
    generation = _generation(asked)
    pipeline, plan = load(options)
    known = {"preset": options["preset"], **({"generation": asked} if asked else {})}
    made = made_by(plan, options["out"], options["as_json"])
    writer = _CaptionWriter(options["out"], options["as_json"], len(jobs) == 1, made, known)
    batch = options["batch"] or _pictures_together(pipeline)
    results = (
        result
        for start in range(0, len(jobs), batch)
        for result in _run_batch(pipeline, jobs[start : start + batch], options["prompt"], generation)
    )
    write_all(results, writer, len(jobs), options["on_error"] == "stop", "captioned")


def _pictures_together(pipeline: Pipeline) -> int:
    """Return how many pictures to hand on at once; on a GPU its parts cut them into batches that fit its memory."""
    from regionkit.core.compute import device_of

    return 64 if str(device_of(pipeline.backbone)).startswith("cuda") else 8


def _generation(asked: dict[str, Any]) -> GenerateOptions | None:
    """Return how captions are generated, None as the decoder does by itself."""
    if not asked:
        return None
    from regionkit.core.features import GenerateOptions

    generation = GenerateOptions(**asked)
    idle = [f"--{name.replace('_', '-')}" for name in ("top_p", "seed") if name in asked]
    if idle and not generation.temperature:
        verb = "changes" if len(idle) == 1 else "change"
        click.echo(f"note: {' and '.join(idle)} {verb} nothing without --temperature", err=True)
    return generation


def _run_batch(
    pipeline: Pipeline, jobs: Sequence[Job], prompt: str | None, generation: GenerateOptions | None
) -> Iterator[tuple[Job, Captioned | RegionkitError]]:
    """Yield captions or an error for every job, in order."""
    opened: list[Opened | RegionkitError] = []
    for job in jobs:
        try:
            opened.append(job.open())
        except RegionkitError as error:
            opened.append(error)
    good = [item for item in opened if not isinstance(item, RegionkitError)]
    captions = iter(_caption_all(pipeline, good, prompt, generation))
    for job, item in zip(jobs, opened, strict=True):
        if isinstance(item, RegionkitError):
            yield job, item
            continue
        found = next(captions)
        yield job, found if isinstance(found, RegionkitError) else (*item, found)


def _caption_all(
    pipeline: Pipeline, opened: Sequence[Opened], prompt: str | None, generation: GenerateOptions | None
) -> list[list[Caption] | RegionkitError]:
    """Caption several pictures in one forward pass.

    When one of them is refused, or a part fails at it, each on its own; where memory runs out, half of them at a time.
    """
    from regionkit.core.blame import failed, told
    from regionkit.core.out_of_memory import first_line, free_memory, is_out_of_memory

    try:
        if generation is not None and generation.temperature:
            return [*_sampled(pipeline, opened, prompt, generation)]
        images, regions = [image for image, _ in opened], [regions for _, regions in opened]
        return [*pipeline.caption(images, regions, prompt, generation)]
    except Exception as error:  # a part of a stranger may raise anything
        full = is_out_of_memory(error)
        if len(opened) == 1 and not full:
            return [failed(error)]
        if len(opened) == 1:
            return [RunFailed(f"out of memory with a single picture: {first_line(error)}", "give it fewer regions")]
        size = len(opened) // 2 if full else 1
        fault = "" if full or isinstance(error, RegionkitError) else told(error)
    if full:
        click.echo(f"note: out of memory with {len(opened)} pictures at once: going on with {size} at a time", err=True)
    free_memory()  # outside of except, whose traceback holds tensors alive
    parts = (opened[start : start + size] for start in range(0, len(opened), size))
    found = [one for part in parts for one in _caption_all(pipeline, part, prompt, generation)]
    if fault and not any(isinstance(one, RegionkitError) for one in found):
        click.echo(f"note: {len(opened)} pictures failed together and none of them alone: {fault}", err=True)
    return found


def _sampled(
    pipeline: Pipeline, opened: Sequence[Opened], prompt: str | None, generation: GenerateOptions
) -> Iterator[list[Caption]]:
    """Caption each picture in a call of its own, all on the features of one forward pass.

    A region's samples depend on its number in the call: no other way would a picture's not depend on ``--batch``.
    """
    from regionkit.core.features import Scene
    from regionkit.core.regions import Regions

    scene = Scene([image for image, _ in opened], pipeline.backbone)
    for index, (_, regions) in enumerate(opened):
        own = Regions(tuple(regions), (index,) * len(regions))
        yield pipeline.caption_scene(scene, own, prompt, generation)


class _CaptionWriter(Writer["Captioned"]):
    """Writes captions."""

    listing = "captions.jsonl"

    def add(self, job: Job, result: Captioned) -> None:
        from regionkit.core.region_io import to_record

        image, regions, captions = result
        found = [
            {"region": to_record(region), "caption": caption.text, "score": round(float(caption.score), 4)}
            for region, caption in zip(regions, captions, strict=True)
        ]
        self.record(job, {"captions": found})
        texts = [caption.text for caption in captions]
        self.say(job, texts)
        if self.out is None or self.out.suffix == ".jsonl":
            return
        from regionkit.core.drawing import draw_captions

        target = self.out if self.out.suffix else self.out / f"{self.name(job)}.png"
        save_picture(draw_captions(image, regions, texts), target)
