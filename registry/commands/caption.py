"""``toolkit caption``: captions for regions of a picture, of a folder of pictures, or of a JSONL of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RegionkitError, RunFailed

if TYPE_CHECKING:
    from regionkit.core.features import Caption
    from regionkit.core.pipeline import Pipeline
    from regionkit.core.regions import Region
    from regionkit.registry.plan import PipelinePlan

_PICTURE_OUT = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Job:
    """A picture and its regions.

    Attributes:
        name: How results call it: the path as the user wrote it.
        where: Where a mistake in it is reported, ``file`` or ``file:line``.
        path: The picture's file.
        read_regions: Makes the regions; called when the job is run, so that one bad line does not stop the others.
        id: What a line of a JSONL calls itself; results repeat it, so that they can be joined with references.
    """

    name: str
    where: str
    path: Path
    read_regions: Callable[[], list[Region]]
    id: str = ""

    @property
    def known(self) -> dict[str, str]:
        """What a result says of where it comes from."""
        return {**({"id": self.id} if self.id else {}), "image": self.name}


class CaptionCommand(click.Command):
    """Says how coordinates are written when they were split into several arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            hint = "coordinates are one argument: --box 21,44,48,74  --trace '56,30 58,22 62,15'"
            raise click.UsageError(f"{error.message}\n  {hint}", ctx) from None


@click.command(cls=CaptionCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--preset", default="mini", show_default=True, help="Preset name, or a pipeline YAML file.")
@click.option("--box", "boxes", multiple=True, metavar="x1,y1,x2,y2", help="One box; repeat for more regions.")
@click.option(
    "--boxes",
    "box_sets",
    multiple=True,
    metavar="BOX;BOX|FILE",
    help="Several boxes, one caption for the set.",
)
@click.option("--point", "points", multiple=True, metavar="x,y", help="A click, or several as 'x,y x,y'.")
@click.option("--trace", "traces", multiple=True, metavar="'x,y x,y ...'|FILE", help="A mouse trace.")
@click.option(
    "--mask",
    "masks",
    multiple=True,
    metavar="FILE",
    help="Mask picture (not black = inside) or COCO RLE JSON.",
)
@click.option("--whole", is_flag=True, help="The whole picture; the default when no region is given.")
@click.option("--prompt", help="Prompt, for decoders that take one.")
@click.option(
    "--weights",
    metavar="REF",
    help="A folder with the weights of all parts, or the decoder's file: file:PATH, pkg:, hub://, or a name.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Picture with regions and captions, a .jsonl, or a folder."
)
@click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option of the pipeline.")
@click.option("--device", default="auto", show_default=True)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1), help="Pictures per forward pass.")
@click.option("--force", is_flag=True, help="Use a model on pictures that it was not made for.")
@click.option("--on-error", type=click.Choice(["record", "stop"]), default="record", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture.")
def caption(source: Path, **options: Any) -> None:
    """Caption regions of SOURCE: a picture, a folder of pictures, or a .jsonl of pictures and regions.

    Coordinates are pixels of the picture, origin at the top left. Every region gets one caption, in the order box,
    boxes, point, trace, mask, whole. A JSONL line is {"image": "a.png", "regions": [{"box": [8, 8, 60, 60]}, ...]}.
    The score of a caption is the sum of the log-probabilities of its tokens.
    """
    jobs = list(_jobs(source, _flag_regions(options)))
    alone = len(jobs) == 1
    _check_out(options["out"], alone)
    _check_inputs_stay(options["out"], source, jobs)
    pipeline, plan = _load(options)
    made_by = _made_by(plan) if _is_recorded(options["out"], options["as_json"]) else None
    writer = _Writer(options["out"], options["as_json"], alone, options["preset"], made_by)
    failures: list[tuple[Job, RegionkitError]] = []
    try:
        for start in range(0, len(jobs), options["batch"]):
            for job, result in _run_batch(pipeline, jobs[start : start + options["batch"]], options["prompt"]):
                if not isinstance(result, RegionkitError):
                    writer.add(job, *result)
                    continue
                if alone or options["on_error"] == "stop":
                    raise _placed(job, result)
                failures.append((job, result))
                writer.add_failure(job, result)
    finally:
        writer.close()  # what was captioned before an error is kept
    if failures:
        raise RunFailed(f"{len(failures)} of {len(jobs)} pictures were not captioned", *_by_reason(failures))


def _placed(job: Job, error: RegionkitError) -> RegionkitError:
    """Put file and line before the error of a JSONL line; the others name their file themselves or have only one."""
    return type(error)(f"{job.where}: {error.message}", *error.hints) if job.where != job.name else error


def _by_reason(failures: Sequence[tuple[Job, RegionkitError]]) -> Iterator[str]:
    """Yield each reason once, with the pictures that it holds for."""
    groups: dict[str, list[str]] = {}
    for job, error in failures:
        groups.setdefault(str(error), []).append(job.where)
    for reason, places in groups.items():
        others = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield f"{places[0]}{others}: {reason}"


def _load(options: dict[str, Any]) -> tuple[Pipeline, PipelinePlan]:
    """Plan and build the pipeline."""
    from regionkit.registry.assembly import build_pipeline
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.plan import plan_pipeline
    from regionkit.registry.weights.references import is_folder

    overrides = list(options["overrides"])
    if options["weights"]:
        key = "weights" if is_folder(options["weights"]) else "decoder.weights"
        overrides.append(f"{key}={options['weights']}")
    if options["force"]:
        overrides.append("backbone.force=true")
    document = read_pipeline(options["preset"], overrides)
    plan = plan_pipeline(document.data, document.line)
    for note in plan.notes():
        click.echo(f"note: {note}", err=True)
    return build_pipeline(plan, device=options["device"]), plan


def _is_recorded(out: Path | None, as_json: bool) -> bool:
    """Say whether captions become lines of JSON: printed, or written to a JSONL or beside the drawings of a folder."""
    return as_json or (out is not None and out.suffix in ("", ".jsonl"))


def _made_by(plan: PipelinePlan) -> dict[str, Any]:
    """Say for results who and what a pipeline is made of, which reads every weight file to its end."""
    from regionkit.registry.provenance import provenance

    return provenance(plan)


def _flag_regions(options: dict[str, Any]) -> list[Region]:
    from regionkit.core import region_io
    from regionkit.core.regions import WholeImage

    readers: tuple[tuple[str, Callable[[str], Region]], ...] = (
        ("boxes", region_io.parse_box),
        ("box_sets", region_io.parse_boxes),
        ("points", region_io.parse_point),
        ("traces", region_io.parse_trace),
        ("masks", region_io.parse_mask),
    )
    regions = [read(text) for name, read in readers for text in options[name]]
    for region in regions:
        if region_io.looks_normalised(region):
            click.echo(f"note: all coordinates of a {region.kind} are at most 1; they are read as pixels", err=True)
    return [*regions, WholeImage()] if options["whole"] else regions


def _jobs(source: Path, regions: list[Region]) -> Iterator[Job]:
    from regionkit.core.images import find_pictures
    from regionkit.core.regions import WholeImage

    if source.suffix == ".jsonl":
        if regions:
            raise DataError(
                f"{source} brings its own regions", "leave the region options away, or caption the pictures"
            )
        yield from _jsonl_jobs(source)
        return
    chosen = regions or [WholeImage()]
    pictures = find_pictures(source) if source.is_dir() else [source]
    if source.is_dir() and (skipped := len(list(source.iterdir())) - len(pictures)):
        entries = "1 entry" if skipped == 1 else f"{skipped} entries"
        click.echo(f"note: {entries} of {source} skipped: not pictures", err=True)
    for path in pictures:
        yield Job(str(path), str(path), path, lambda: chosen)


def _jsonl_jobs(source: Path) -> Iterator[Job]:
    try:
        # Not splitlines: JSON strings may hold other line separators. Some editors begin files with a byte order mark.
        if source.exists() and not source.is_file() and not source.is_dir():
            raise DataError(f"{source}: this is a pipe or a device, not a file", "write the lines to a file first")
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: {getattr(error, 'strerror', None) or error}") from None
    empty = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        empty = False
        where = f"{source}:{number}"
        try:
            record = _record(line)
        except DataError as error:
            yield Job(str(source), where, source, _refusal(error))  # told when its turn comes, as other bad samples are
            continue
        reader = _record_reader(record, source.parent)
        yield Job(record["image"], where, source.parent / record["image"], reader, str(record.get("id", "")))
    if empty:
        raise DataError(f"{source} holds no line")


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", "every line is one JSON object") from None
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        raise DataError("no key 'image'", 'write {"image": "a.png", "regions": [{"box": [8, 8, 60, 60]}]}')
    return record


def _refusal(error: DataError) -> Callable[[], list[Region]]:
    def read() -> list[Region]:
        raise error

    return read


def _record_reader(record: dict[str, Any], folder: Path) -> Callable[[], list[Region]]:
    def read() -> list[Region]:
        from regionkit.core.region_io import read_record

        regions = record.get("regions", [{"whole": True}])
        if not isinstance(regions, list):
            raise DataError("'regions' is not a list", 'write "regions": [{"box": [8, 8, 60, 60]}, ...]')
        return [read_record(region, folder) for region in regions]

    return read


def _run_batch(
    pipeline: Pipeline, jobs: Sequence[Job], prompt: str | None
) -> Iterator[tuple[Job, RegionkitError | tuple[Any, list[Region], list[Caption]]]]:
    """Yield captions or an error for every job, in order."""
    from regionkit.core.images import open_image

    opened: list[tuple[Any, list[Region]] | RegionkitError] = []
    for job in jobs:
        try:
            regions = job.read_regions()
            opened.append((open_image(job.path), regions))
        except RegionkitError as error:
            opened.append(error)
    captions = iter(_caption_all(pipeline, [item for item in opened if not isinstance(item, RegionkitError)], prompt))
    for job, item in zip(jobs, opened, strict=True):
        if isinstance(item, RegionkitError):
            yield job, item
            continue
        found = next(captions)
        yield job, found if isinstance(found, RegionkitError) else (*item, found)


def _caption_all(
    pipeline: Pipeline, opened: Sequence[tuple[Any, list[Region]]], prompt: str | None
) -> list[list[Caption] | RegionkitError]:
    """Caption several pictures in one forward pass; when one of them is refused, each on its own."""
    try:
        return [*pipeline.caption([image for image, _ in opened], [regions for _, regions in opened], prompt)]
    except RegionkitError as error:
        if len(opened) == 1:
            return [error]
        return [_caption_all(pipeline, [one], prompt)[0] for one in opened]


def _check_out(out: Path | None, alone: bool) -> None:
    if out is None or out.suffix == ".jsonl" or (out.suffix == "" and not out.is_file()):
        return
    if out.suffix.lower() not in _PICTURE_OUT:
        raise click.UsageError(f"--out {out}: write a picture ({', '.join(_PICTURE_OUT)}), a .jsonl file or a folder")
    if not alone:
        raise click.UsageError(f"--out {out} is one picture, the input has several: name a folder or a .jsonl file")


def _check_inputs_stay(out: Path | None, source: Path, jobs: Sequence[Job]) -> None:
    """Refuse to write over what is read, or among the pictures, where the next run would take drawings for pictures."""
    if out is None:
        return
    target, pictures = out.resolve(), {job.path.resolve() for job in jobs}
    if out.suffix and target in {source.resolve(), *pictures}:
        raise click.UsageError(f"--out {out} is read by this very command: name another file")
    if not out.suffix and target in {path.parent for path in pictures}:
        raise click.UsageError(f"--out {out} holds the pictures themselves: name another folder")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Say what could not be written.

    Raises:
        DataError: The system refused it.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"--out {target}: {error.strerror or error}", "name a place that can be written to, with --out"
        ) from None


class _Writer:
    """Prints captions, and writes them where ``--out`` says; without ``made_by`` nothing is recorded."""

    def __init__(
        self, out: Path | None, as_json: bool, alone: bool, preset: str, made_by: dict[str, Any] | None
    ) -> None:
        self.out = out
        self.as_json = as_json
        self.alone = alone
        self.preset = preset
        self.made_by = made_by
        self.lines: list[str] = []
        self.drawn: set[str] = set()

    def add(self, job: Job, image: Any, regions: Sequence[Region], captions: Sequence[Caption]) -> None:
        from regionkit.core.region_io import to_record

        found = [
            {"region": to_record(region), "caption": caption.text, "score": round(caption.score, 4)}
            for region, caption in zip(regions, captions, strict=True)
        ]
        self._record({**job.known, "preset": self.preset, "captions": found})
        if not self.as_json:
            for number, caption in enumerate(captions, 1):
                numbered = f"{number}. " if len(captions) > 1 else ""
                click.echo(f"{numbered if self.alone else f'{job.id or job.name}: '}{caption.text}")
        if self.out is not None and self.out.suffix != ".jsonl":
            self._draw(job, image, regions, captions)

    def add_failure(self, job: Job, error: RegionkitError) -> None:
        self._record({**job.known, "preset": self.preset, "error": str(error)})

    def close(self) -> None:
        """Write the lines: to the JSONL that was asked for, or beside the drawings of a folder."""
        if not self.lines or self.out is None or self.out.suffix not in ("", ".jsonl"):
            return
        from regionkit.core.files import write_text

        target = self.out if self.out.suffix else self.out / "captions.jsonl"
        with _writing(target):
            write_text(target, "".join(f"{line}\n" for line in self.lines))

    def _record(self, record: dict[str, Any]) -> None:
        if self.made_by is None:
            return
        line = json.dumps({**record, "provenance": self.made_by}, ensure_ascii=False)
        self.lines.append(line)
        if self.as_json:
            click.echo(line)

    def _draw(self, job: Job, image: Any, regions: Sequence[Region], captions: Sequence[Caption]) -> None:
        from regionkit.core.drawing import draw_captions
        from regionkit.core.files import replacing

        assert self.out is not None
        target = self.out if self.out.suffix else self.out / f"{self._name(job)}.png"
        sheet = draw_captions(image, regions, [caption.text for caption in captions])
        with _writing(target), replacing(target) as temporary:
            sheet.save(
                temporary,
                format={".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(target.suffix.lower(), "PNG"),
            )

    def _name(self, job: Job) -> str:
        """Return a file name for a job's picture; a second one of that name gets a number."""
        name, number = job.path.stem, 2
        while name in self.drawn:
            name, number = f"{job.path.stem}-{number}", number + 1
        self.drawn.add(name)
        return name
