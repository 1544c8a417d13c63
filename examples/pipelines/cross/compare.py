"""What the pipelines of this folder say of regions, and what they say when the regions are exchanged.

    python examples/pipelines/cross/compare.py                                   # the table of docs/cross.md
    python examples/pipelines/cross/compare.py --picture docs/images/cross.png   # the picture instead

docs/cross.md says how their weights are trained; they are looked for in the folders of $REGIONKIT_WEIGHTS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch
from PIL import Image, ImageDraw, ImageFont

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.drawing import COLOURS
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Box, Point, Region, Trace
from regionkit.core.spec import PARTS
from regionkit.registry import load
from regionkit.registry.assembly import build
from regionkit.registry.document import read_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.weights.index import get_index

FOLDER = Path(__file__).resolve().parent
TASKS = ("mask", "box", "trace", "point")
#: What papers are called and the colour of what comes from them, by their keys.
PAPERS = {
    "patchioner": ("Patch-ioner", "#CFE8F7"),
    "decap": ("DeCap", "#F3D3E3"),
    "dam": ("Describe Anything", "#FBE3B5"),
    "regionvlm": ("RegionVLM", "#CBEBDD"),
    "vizer": ("ViZer", "#DCD5F5"),
}
_NO_PAPER = "#E4E4E4"
#: What is drawn: an octopus, a tractor and a penguin, each by a region of another kind.
SCENE = "test/1/8"
REGIONS = (
    Box(3, 39, 45, 77),
    Trace(((60, 52), (64, 42), (72, 38), (80, 42), (84, 52))),
    Point.at(37, 16),
)
_SCALE, _WIDTH = 5, 1480
_ROW, _MARGIN, _CHIP = 72, 18, 8


@click.command()
@click.option("--scenes", default=150, show_default=True, type=click.IntRange(2), help="Test scenes a task.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Which test scenes.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Draw a scene with what all pipelines say of it into this PNG instead.",
)
def main(scenes: int, seed: int, picture: Path | None) -> None:
    """Compare all pipelines of this folder."""
    torch.set_num_threads(1)
    dataset = build("dataset", "mini")
    assert isinstance(dataset, Dataset)
    files = sorted(FOLDER.glob("*.yaml"))
    if picture is not None:
        draw(files, dataset.image(SCENE), REGIONS).save(picture, optimize=True)
        return
    click.echo("| pipeline | " + " | ".join(TASKS) + " | largest p |\n" + "|---" * (len(TASKS) + 2) + "|")
    for file in files:
        pipeline = load(file, device="cpu")
        counts = [count(pipeline, dataset, dataset.samples(task, "test", seed, scenes)) for task in TASKS]
        shares = [f"{(both + own) / n:.3f} / {(both + other) / n:.3f}" for both, own, other, n in counts]
        largest = max(sign_test(own, other) for _, own, other, _ in counts)
        click.echo(f"| `{file.stem}` | " + " | ".join(shares) + f" | {largest:.1g} |")


def exchanged(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pair samples with themselves on the region of the next sample, those of one picture left out."""
    pairs = zip(samples, [*samples[1:], *samples[:1]], strict=True)
    return [(one, replace(one, region=other.region)) for one, other in pairs if one.image_id != other.image_id]


def count(pipeline: Pipeline, dataset: Dataset, samples: Sequence[Sample]) -> tuple[int, int, int, int]:
    """Count regions whose caption is a reference: both ways, with their own region only, with another's only; all."""
    pairs = exchanged(samples)
    own, other = (right(pipeline, dataset, side) for side in zip(*pairs, strict=True))
    both = sum(a and b for a, b in zip(own, other, strict=True))
    return both, sum(own) - both, sum(other) - both, len(pairs)


def right(pipeline: Pipeline, dataset: Dataset, samples: Sequence[Sample]) -> list[bool]:
    """Say of each sample whether its caption is one of its references, spaces and case apart."""
    by_image: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        by_image.setdefault(sample.image_id, []).append(place)
    found = [False] * len(samples)
    keys = list(by_image)
    for start in range(0, len(keys), 32):
        some = keys[start : start + 32]
        regions: list[Sequence[Region]] = [[samples[place].region for place in by_image[key]] for key in some]
        for key, captions in zip(some, pipeline.caption([dataset.image(key) for key in some], regions), strict=True):
            for place, caption in zip(by_image[key], captions, strict=True):
                found[place] = letters(caption.text) in map(letters, samples[place].references)
    return found


def letters(text: str) -> str:
    """Return a text without spaces, in lower case."""
    return "".join(text.lower().split())


def sign_test(wins: int, losses: int) -> float:
    """Return the one-sided probability of at least so many wins if both were as likely (McNemar's exact test)."""
    n = wins + losses
    return float(sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n)


def draw(files: Sequence[Path], image: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Draw an image with its regions, and for each pipeline its parts and what it says of each region."""
    left = image.width * _SCALE + 2 * _MARGIN
    sheet = Image.new("RGB", (_WIDTH, 2 * _MARGIN + max(image.height * _SCALE, len(files) * _ROW + 24)), "white")
    sheet.paste(scene_of(image, regions), (_MARGIN, (sheet.height - image.height * _SCALE) // 2))
    pen = ImageDraw.Draw(sheet)
    for row, file in enumerate(files):
        top = _MARGIN + row * _ROW
        chips(pen, (left, top), file)
        for number, caption in enumerate(load(file, device="cpu").caption(image, regions)):
            at = (left + number * (_WIDTH - left) // len(regions), top + 29)
            tag(pen, at, number)
            pen.text((at[0] + 30, at[1] + 11), caption.text, fill="black", font=ImageFont.load_default(17), anchor="lm")
        pen.line((left, top + _ROW - 8, _WIDTH - _MARGIN, top + _ROW - 8), fill="#CCCCCC")
    x = left
    for key, (name, _) in PAPERS.items():
        x = chip(pen, (x, _MARGIN + len(files) * _ROW + 4), name, key)
    return sheet


def scene_of(image: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Enlarge a scene and draw numbered regions on it."""
    large = image.convert("RGB").resize((image.width * _SCALE, image.height * _SCALE), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(large)
    for number, region in enumerate(regions):
        colour = COLOURS[number]
        if isinstance(region, Box):
            pen.rectangle([value * _SCALE for value in region.corners], outline=colour, width=4)
            corner = (region.x1 * _SCALE, region.y1 * _SCALE)
        else:
            assert isinstance(region, Point | Trace)
            points = [(x * _SCALE, y * _SCALE) for x, y in region.points]
            if len(points) > 1:
                pen.line(points, fill="black", width=8, joint="curve")
                pen.line(points, fill=colour, width=4, joint="curve")
            x, y = corner = points[0]
            pen.ellipse((x - 8, y - 8, x + 8, y + 8), fill=colour, outline="black", width=2)
        tag(pen, (int(corner[0]) + 12, int(corner[1]) + 12), number)
    return large


def tag(pen: ImageDraw.ImageDraw, at: tuple[int, int], number: int) -> None:
    """Draw the number of a region."""
    x, y = at
    pen.ellipse((x, y, x + 22, y + 22), fill=COLOURS[number], outline="black")
    pen.text((x + 11, y + 11), str(number + 1), fill="black", font=ImageFont.load_default(15), anchor="mm")


def chips(pen: ImageDraw.ImageDraw, at: tuple[int, int], file: Path) -> None:
    """Write the four parts of a pipeline, each in the colour of its paper, and what another paper trained them by."""
    x, y = at
    data = read_pipeline(file).data
    for kind in PARTS:
        part = data[kind]
        own = paper_of(kind, part["name"])
        x = chip(pen, (x, y), part["name"], own)
        setup = get_index().named(part["weights"]).header.extra["training"]["setup"] if "weights" in part else {}
        objective = setup.get("recipe", {}).get("name", "")
        if objective and paper_of("recipe", objective) not in ("", own):
            x = chip(pen, (x, y), objective, paper_of("recipe", objective))
    pen.text((_WIDTH - _MARGIN, y + 12), file.stem, fill="#777777", font=ImageFont.load_default(15), anchor="rm")


def paper_of(kind: str, name: str) -> str:
    """Return the key of the paper that a component comes from; empty for none."""
    return next(spec.paper for spec in get_registry().specs(kind) if spec.name == name)


def chip(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, paper: str) -> int:
    """Write a word in the colour of a paper and return where the next one begins."""
    font, (x, y) = ImageFont.load_default(15), at
    width = int(font.getlength(text)) + 2 * _CHIP
    pen.rounded_rectangle((x, y, x + width, y + 24), 7, fill=PAPERS[paper][1] if paper in PAPERS else _NO_PAPER)
    pen.text((x + _CHIP, y + 12), text, fill="black", font=font, anchor="lm")
    return x + width + 10


if __name__ == "__main__":
    main()
