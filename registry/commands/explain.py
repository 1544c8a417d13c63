"""``toolkit explain``: where the region encoder looked, as pictures, as arrays, and as shares of the weight.

Of a recorded run it explains one caption instead: :mod:`regionkit.registry.commands.explain_run`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.registry.commands.explain_run import MOST, explain_run
from regionkit.registry.commands.inputs import (
    Job,
    RegionCommand,
    find_jobs,
    load,
    pipeline_options,
    region_options,
)
from regionkit.registry.commands.outputs import Writer, check_out, made_by, save_picture, write_all, writing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from regionkit.core.features import Caption
    from regionkit.core.frames import Frame
    from regionkit.core.pipeline import Pipeline
    from regionkit.core.regions import Region

_ARRAYS = ".npz"
#: What half precision may leave of a sum of 1.
_ROUNDING = 1e-2
#: Options that say which regions and which pipeline, and those that choose among what is recorded.
_OF_PICTURES = (
    "boxes", "box_sets", "points", "traces", "masks", "whole", "preset", "prompt", "weights", "overrides", "force",
    "on_error",
)  # fmt: skip
_OF_RUNS = ("trials", "most", "texts", "list")


@dataclass(frozen=True)
class Explained:
    """Where a region encoder looked in one picture.

    Attributes:
        image: The picture.
        regions: r regions.
        captions: Their captions.
        frame: How the picture became patches.
        maps: (r, rows, columns) weights, each map summing to 1.
        touched: (r, rows, columns), True on the patches that the region touches.
    """

    image: Image.Image
    regions: Sequence[Region]
    captions: Sequence[Caption]
    frame: Frame
    maps: NDArray[np.float32]
    touched: NDArray[np.bool_]

    @property
    def inside(self) -> list[float]:
        """Share of each region's weight on the patches that it touches."""
        return [float(share) for share in (self.maps * self.touched).sum((1, 2))]

    @property
    def area(self) -> list[float]:
        """Share of the patches that each region touches: what ``inside`` would be if weights knew nothing of it."""
        return [float(share) for share in self.touched.mean((1, 2))]

    @property
    def peaks(self) -> list[tuple[int, int]]:
        """Row and column of the patch with the largest weight of each region, the first of equals."""
        columns = self.frame.grid[1]
        return [divmod(int(weights.argmax()), columns) for weights in self.maps]

    @property
    def notes(self) -> list[str]:
        """A sentence a region that says how much of the weight is inside it."""
        return [
            f"{inside:.0%} of the weight on the patches of the region, which are {area:.0%} of all; at most "
            f"{weights.max():.1%} on one"
            for inside, area, weights in zip(self.inside, self.area, self.maps, strict=True)
        ]


class ExplainCommand(RegionCommand):
    """Shows the two forms in its usage line."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the words of the usage line."""
        return ["[OPTIONS]", "SOURCE | RUN SAMPLE"]


@click.command(cls=ExplainCommand)
@click.argument("source")
@click.argument("sample", required=False)
@region_options
@pipeline_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A picture with a panel a region, an .npz with the maps, a .jsonl, or a folder, which gets all of them. "
    "Of a run: a picture, a .json, or a folder for both.",
)
@click.option("--trial", "trials", multiple=True, metavar="TRIAL", help="Of a run: this trial alone; repeatable.")
@click.option(
    "--most", type=click.IntRange(1), default=MOST, show_default=True, help="Of a run: most trials, best first."
)
@click.option(
    "--texts", type=click.IntRange(1, 50), default=8, show_default=True, help="Of a run: texts of the memory to name."
)
@click.option("--list", "list", is_flag=True, help="Of a run: list its samples; SAMPLE is a beginning.")
@click.pass_context
def explain(context: click.Context, /, source: str, sample: str | None, **options: Any) -> None:
    """Show what made a caption: where the region encoder looked, or, of a recorded run, all that had a part in it.

    SOURCE is a picture, a folder of pictures, or a .jsonl. For every region: its caption, the share of the weight on
    the patches that the region touches, and the share of all patches that these are. Regions are written as for
    `toolkit caption`. An .npz holds maps (r, rows, columns), cells (rows, columns, 4), which are x1, y1, x2, y2 of each
    patch in pixels of the picture, and captions.

    RUN is a folder of `toolkit ablate` or `toolkit run --out`, or RUN#TRIAL; SAMPLE is the id of a sample, or a
    beginning that no other has. For every trial that has it: which patches, which texts of the memory and which tokens
    made the caption, and whether it is still the same. Trials come in the order of their scores of this very sample, by
    the first column, in alphabetical order, that judges samples; the best is first. A run whose file brought plugins
    needs --allow-local-plugins.
    """
    from regionkit.registry.run_folders import is_run

    if is_run(source):
        _refuse(context, _OF_PICTURES, "it is a run: its trials say which pipeline, and its samples which region")
        explain_run(source, sample, options)
        return
    _refuse(context, _OF_RUNS, f"{source} is no folder of results: it holds no results.sqlite")
    if sample is not None:
        raise click.UsageError(
            f"unexpected argument '{sample}': a second one is the sample of a run, and {source} is no folder of results"
            "\n  coordinates are one argument: --box 21,44,48,74  --trace '56,30 58,22 62,15'"
        )
    path = Path(source)
    jobs = find_jobs(path, options)
    check_out(options["out"], path, jobs, _ARRAYS)
    pipeline, plan = load(options)
    made = made_by(plan, options["out"], options["as_json"])
    known = {"preset": options["preset"]}
    writer = _ExplainWriter(options["out"], options["as_json"], len(jobs) == 1, made, known)
    results = _results(pipeline, jobs, options["prompt"])
    write_all(results, writer, len(jobs), options["on_error"] == "stop", "explained")


def _refuse(context: click.Context, names: Sequence[str], reason: str) -> None:
    """Refuse options of the other form, which would change nothing.

    Raises:
        click.UsageError: One was given.
    """
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise click.UsageError(f"{parameter.opts[0]} does not go with {context.params['source']}: {reason}")


def _results(
    pipeline: Pipeline, jobs: Sequence[Job], prompt: str | None
) -> Iterator[tuple[Job, Explained | RegionkitError]]:
    from regionkit.core.blame import failed
    from regionkit.core.out_of_memory import is_out_of_memory

    for job in jobs:
        try:
            found = explain_regions(pipeline, *job.open(), prompt)
        except Exception as error:  # a part of a stranger may raise anything
            if is_out_of_memory(error):
                raise
            yield job, failed(error)
        else:
            yield job, found


def explain_regions(
    pipeline: Pipeline, image: Image.Image, regions: Sequence[Region], prompt: str | None = None
) -> Explained:
    """Caption regions of one picture and ask the region encoder where it looked.

    Args:
        pipeline: The pipeline.
        image: The picture.
        regions: Its regions, in pixels.
        prompt: Passed to decoders that take one.

    Raises:
        FeatureError: The region encoder has no maps, or gives some that are none.
        RegionError: A region lies outside the picture, or is of a kind that the region encoder does not take.
    """
    import numpy as np
    import torch

    from regionkit.core.blame import blamed
    from regionkit.core.features import Scene
    from regionkit.core.geometry import patch_weights
    from regionkit.core.regions import Regions

    scene, flat = Scene([image], pipeline.backbone), Regions.of([regions])
    frame = pipeline.backbone.frame(image.size)
    with torch.inference_mode(), blamed(pipeline.region_encoder, "region_encoder"):
        maps = pipeline.region_encoder.attention(scene, flat).float().cpu().numpy()
    _check_maps(maps, (len(regions), *frame.grid), type(pipeline.region_encoder).__name__)
    captions = pipeline.caption_scene(scene, flat, prompt)
    touched = [patch_weights(region, frame) > 0 for region in regions]
    return Explained(
        image, regions, captions, frame, maps, np.array(touched, dtype=np.bool_).reshape(len(regions), *frame.grid)
    )


def _check_maps(maps: NDArray[np.float32], shape: tuple[int, ...], who: str) -> None:
    """Refuse what a plugin's region encoder may take for attention maps."""
    fault = ""
    if maps.shape != shape:
        fault = f"maps of {maps.shape}, where regions, rows and columns are {shape}"
    elif not (maps >= 0).all():  # NaN is not either
        fault = "weights that are negative or NaN"
    elif maps.size and abs(maps.sum((1, 2)) - 1).max() > _ROUNDING:
        fault = f"a map that sums to {maps.sum((1, 2))[abs(maps.sum((1, 2)) - 1).argmax()]:.3g} and not to 1"
    if fault:
        raise FeatureError(
            f"region encoder '{who}' gave {fault}", "its method attention promises otherwise: tell its author"
        )


class _ExplainWriter(Writer[Explained]):
    """Writes explanations."""

    listing = "explained.jsonl"

    def add(self, job: Job, result: Explained) -> None:
        self.record(job, _record(result))
        texts = [f"{one.text} ({note})" for one, note in zip(result.captions, result.notes, strict=True)]
        self.say(job, texts)
        if self.out is None or self.out.suffix == ".jsonl":
            return
        if self.out.suffix:
            (self._save if self.out.suffix == _ARRAYS else self._draw)(result, self.out)
            return
        name = self.name(job)
        self._draw(result, self.out / f"{name}.png")
        self._save(result, self.out / f"{name}{_ARRAYS}")

    def _draw(self, result: Explained, target: Path) -> None:
        from regionkit.core.drawing import draw_attention

        captions = [caption.text for caption in result.captions]
        sheet = draw_attention(result.image, result.regions, result.maps, result.frame, captions, result.notes)
        save_picture(sheet, target)

    def _save(self, result: Explained, target: Path) -> None:
        import numpy as np

        from regionkit.core.files import replacing
        from regionkit.core.region_io import to_record

        with writing(target), replacing(target) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                maps=result.maps.astype(np.float32),
                cells=result.frame.cells().astype(np.float32),
                captions=np.array([caption.text for caption in result.captions], dtype=np.str_),
                regions=np.array([json.dumps(to_record(region)) for region in result.regions], dtype=np.str_),
                inside=np.array(result.inside, dtype=np.float32),
                image_size=np.array(result.image.size, dtype=np.int64),
                provenance=np.array(json.dumps(self.made_by), dtype=np.str_),
            )


def _record(result: Explained) -> dict[str, Any]:
    """Return what a line of JSON says of a picture."""
    from regionkit.core.region_io import to_record

    columns = zip(result.regions, result.captions, result.inside, result.area, result.peaks, result.maps, strict=True)
    found = [
        {
            "region": to_record(region),
            "caption": caption.text,
            "score": round(float(caption.score), 4),
            "inside": round(inside, 4),
            "area": round(area, 4),
            "peak": [*peak],
            "peak_weight": round(float(weights.max()), 4),
        }
        for region, caption, inside, area, peak, weights in columns
    ]
    return {"grid": [*result.frame.grid], "regions": found}
