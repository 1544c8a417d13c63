"""What commands on pictures read: pictures, folders or a JSONL, their regions, and the pipeline that sees them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regionkit.core.errors import DataError, RegionkitError

if TYPE_CHECKING:
    from PIL import Image

    from regionkit.core.pipeline import Pipeline
    from regionkit.core.regions import Region
    from regionkit.registry.plan import PipelinePlan

Command = TypeVar("Command", bound=Callable[..., Any])


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

    @property
    def title(self) -> str:
        """What stands before its results where there are several pictures."""
        return self.id or self.name

    def open(self) -> tuple[Image.Image, list[Region]]:
        """Return the picture and its regions.

        Raises:
            RegionkitError: The picture cannot be opened, or a region cannot be read.
        """
        from regionkit.core.images import open_image

        regions = self.read_regions()
        return open_image(self.path), regions


class RegionCommand(click.Command):
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


def region_options(command: Command) -> Command:
    """Add the options that name regions; :func:`find_jobs` reads them."""
    options = (
        click.option("--box", "boxes", multiple=True, metavar="x1,y1,x2,y2", help="One box; repeat for more regions."),
        click.option(
            "--boxes",
            "box_sets",
            multiple=True,
            metavar="BOX;BOX|FILE",
            help="Several boxes, one caption for the set.",
        ),
        click.option("--point", "points", multiple=True, metavar="x,y", help="A click, or several as 'x,y x,y'."),
        click.option("--trace", "traces", multiple=True, metavar="'x,y x,y ...'|FILE", help="A mouse trace."),
        click.option(
            "--mask",
            "masks",
            multiple=True,
            metavar="FILE",
            help="Mask picture (not black = inside) or COCO RLE JSON.",
        ),
        click.option("--whole", is_flag=True, help="The whole picture; the default when no region is given."),
    )
    return _decorated(command, options)


def pipeline_options(command: Command) -> Command:
    """Add the options that say which pipeline is built and how; :func:`load` reads them."""
    options = (
        click.option("--preset", default="mini", show_default=True, help="Preset name, or a pipeline YAML file."),
        click.option("--prompt", help="Prompt, for decoders that take one."),
        click.option(
            "--weights",
            metavar="REF",
            help="A folder with the weights of all parts, or the decoder's file: file:PATH, pkg:, hub://, or a name.",
        ),
        click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option of the pipeline."),
        click.option("--device", default="auto", show_default=True),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16"]),
            default="float32",
            show_default=True,
            help="In what backbone and decoder compute.",
        ),
        onednn_option(),
        click.option("--force", is_flag=True, help="Use a model on pictures that it was not made for."),
        click.option(
            "--on-error",
            type=click.Choice(["record", "stop"]),
            default="record",
            show_default=True,
            help="Record a picture that fails and go on, or end there and show the error whole.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture."),
    )
    return _decorated(command, options)


def onednn_option() -> Callable[[Command], Command]:
    """Return the option that forbids the faster route of float32 products; worker processes inherit what it says."""
    from regionkit.core.compute import VARIABLE

    def forbid(context: click.Context, parameter: click.Parameter, value: str) -> None:
        if value == "off":
            os.environ[VARIABLE] = "off"

    return click.option(
        "--onednn",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=forbid,
        help="Faster products of float32 on a CPU, where they were measured to be as exact; see toolkit doctor.",
    )


def _decorated(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):  # as a stack of decorators would: the first is shown first
        command = option(command)
    return command


def load(options: dict[str, Any]) -> tuple[Pipeline, PipelinePlan]:
    """Plan and build the pipeline of :func:`pipeline_options`.

    Raises:
        RegionkitError: The file has mistakes, parts do not fit, or weights are missing.
    """
    from regionkit.registry.assembly import build_pipeline
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.weights.absent import plan_or_tell
    from regionkit.registry.weights.references import is_folder

    overrides = list(options["overrides"])
    if options["weights"]:
        key = "weights" if is_folder(options["weights"]) else "decoder.weights"
        overrides.append(f"{key}={options['weights']}")
    if options["force"]:
        overrides.append("backbone.force=true")
    document = read_pipeline(options["preset"], overrides)
    plan = plan_or_tell(document, str(options["preset"]))
    for note in plan.notes():
        click.echo(f"note: {note}", err=True)
    precision = options["precision"]
    if precision != "float32":
        click.echo(
            f"note: backbone and decoder compute in {precision}: some captions may differ from those of float32; "
            f"how many, and what metrics say of it: toolkit run --precision {precision}",
            err=True,
        )
    return build_pipeline(plan, device=options["device"], precision=precision), plan


def find_jobs(source: Path, options: dict[str, Any]) -> list[Job]:
    """Return the pictures of a source with the regions of :func:`region_options`, or with those of its lines.

    Raises:
        DataError: A JSONL cannot be read, or regions are given for one.
        RegionError: A region cannot be read.
        ImageError: A folder has no picture.
    """
    return list(_jobs(source, _flag_regions(options)))


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


def placed(job: Job, error: RegionkitError) -> RegionkitError:
    """Put file and line before the error of a JSONL line; the others name their file themselves or have only one."""
    return type(error)(f"{job.where}: {error.message}", *error.hints) if job.where != job.name else error
