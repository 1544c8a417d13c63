"""Small things to feed a component: regions of every kind and at every edge, samples, sentences, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from regionkit.core.contracts import Sample
from regionkit.core.features import RegionTokens
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Region, Trace, WholeImage
from regionkit.core.spec import Space

#: Sentences for banks, text towers and untrained decoders.
SENTENCES: tuple[str, ...] = (
    "a red square on white",
    "a blue circle on the left of a green one",
    "a small dog",
    "two yellow boats and a cat",
    "a big black car on the grass",
    "a white cup",
    "an old tree beside the road",
    "a cyan boat",
)

#: What decoders have been known to write.
WRITTEN = ("a red dog on the grass .", "", "  Yes. ", "2. the second one", "animal:dog", "A (small) dog_house, old")

Size = tuple[int, int]


def example_regions(image_size: Size) -> dict[str, Region]:
    """Return one region of every kind, by kind, for an image of ``(width, height)`` pixels, at least 8 x 8."""
    width, height = image_size
    bitmap = np.zeros((height, width), dtype=np.bool_)
    bitmap[height // 4 : height // 2, width // 3 : width // 2 + 1] = True
    box = Box(width * 0.1, height * 0.2, width * 0.6, height * 0.7)
    regions: list[Region] = [
        Point.at(width * 0.7, height * 0.3),
        box,
        BoxSet((box, Box(width * 0.5, height * 0.5, width, height))),
        Mask(bitmap),
        Trace(((width * 0.1, height * 0.9), (width * 0.5, height * 0.8), (width * 0.9, height * 0.9))),
        Patch(1, 2, 4, 4),
        WholeImage(),
        MaskTrack((Mask(bitmap), None)),
    ]
    return {region.kind: region for region in regions}


def example_masks(images: Sequence[Image.Image]) -> tuple[NDArray[np.bool_], ...]:
    """Return a mask for each picture, (height, width): its upper half, its left half, all of it, and so on."""
    masks = tuple(np.ones(image.size[::-1], dtype=np.bool_) for image in images)
    for place, mask in enumerate(masks):
        height, width = mask.shape
        if place % 3 == 0:
            mask[(height + 1) // 2 :] = False
        elif place % 3 == 1:
            mask[:, (width + 1) // 2 :] = False
    return masks


def one_pixel_regions(image_size: Size) -> list[Region]:
    """Return regions of one pixel or less: in the last corner, where rounding hurts most, and across an edge."""
    width, height = image_size
    bitmap = np.zeros((height, width), dtype=np.bool_)
    bitmap[-1, -1] = True
    corner = Box(width - 1, height - 1, width, height)
    return [
        Point.at(width - 0.5, height - 0.5),
        Point.at(width, height),
        corner,
        Box(width / 2, height / 2, width / 2 + 0.01, height / 2 + 0.01),
        BoxSet((corner, Box(0, 0, 1, 1))),
        Mask(bitmap),
        Trace(((width - 0.5, height - 0.5),)),
        Patch(height - 1, width - 1, height, width),
        MaskTrack((Mask(bitmap),)),
    ]


def full_image_regions(image_size: Size) -> list[Region]:
    """Return regions that cover the whole image, one a kind or more."""
    width, height = image_size
    everything = Box(0, 0, width, height)
    bitmap = np.ones((height, width), dtype=np.bool_)
    corners = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
    return [
        Point(corners),
        everything,
        BoxSet((everything, everything)),
        Mask(bitmap),
        Trace(corners),
        Patch(0, 0, 1, 1),
        WholeImage(),
        MaskTrack((Mask(bitmap),)),
    ]


def outside_regions(image_size: Size) -> list[tuple[str, Region]]:
    """Return regions that lie outside their image, each with words for it."""
    width, height = image_size
    away = Box(width + 5, height + 5, width + 9, height + 9)
    return [
        ("a box outside its image", away),
        ("a box that only touches its image's edge", Box(width, 0, width + 4, height)),
        ("a box left of its image", Box(-9, 0, -1, height)),
        ("a box set with a box outside its image", BoxSet((Box(0, 0, width, height), away))),
        ("a point outside its image", Point.at(width + 3, height / 2)),
        ("a point with negative coordinates", Point.at(-1, -1)),
        ("a trace without a point inside its image", Trace(((-4.0, -4.0), (width + 4.0, 0.0)))),
        ("a mask of another size than its image", Mask(np.ones((height + 1, width), dtype=np.bool_))),
    ]


def straddling_regions(image_size: Size) -> list[tuple[Region, Region]]:
    """Return regions that lie partly outside their image, each with what is left of it inside."""
    width, height = image_size
    inner = (width * 0.4, height * 0.6)
    return [
        (Box(-7, -3, width / 2, height / 2), Box(0, 0, width / 2, height / 2)),
        (Box(width / 2, height / 2, 3 * width, 3 * height), Box(width / 2, height / 2, width, height)),
        (Box(-5, -5, width + 5, height + 5), Box(0, 0, width, height)),
        (BoxSet((Box(-9, 0, width / 3, height),)), BoxSet((Box(0, 0, width / 3, height),))),
        (Trace(((-20.0, 5.0), inner)), Trace((inner,))),
    ]


def example_samples(count: int = 6) -> list[Sample]:
    """Return samples with two references each, and their nouns and attributes, for metrics."""
    nouns, attributes = ("dog", "cat", "car", "boat", "tree", "cup"), ("red", "small", "old")
    samples = []
    for index in range(count):
        noun, attribute = nouns[index % 6], attributes[index % 3]
        references = (f"a {attribute} {noun} on the grass", f"one {noun} , {attribute} , seen from above")
        info: dict[str, Any] = {"nouns": [noun], "attributes": [attribute]}
        samples.append(Sample(str(index), f"image-{index}", WholeImage(), references, info))
    return samples


def example_referring(count: int = 6) -> list[Sample]:
    """Return samples that ask which of three boxes is meant, with the overlap of each, for metrics of referring."""
    samples = []
    for index, sample in enumerate(example_samples(count)):
        boxes = tuple(Box(10 * at, 0, 10 * at + 10, 10) for at in range(3))
        overlaps = tuple(1.0 if at == index % 3 else 0.1 * at for at in range(3))
        info = {**sample.info, "overlaps": overlaps}
        samples.append(replace(sample, region=boxes[index % 3], info=info, candidates=boxes))
    return samples


def example_asked() -> list[Sample]:
    """Return samples of one region, of candidates, of regions that a question mentions, and of a thing in a clip."""
    plain, other, third, *_ = example_samples()
    asked: dict[str, Any] = {
        "question": "What is this?",
        "answers": ["a dog"] * 3,
        "question_text": "Why does [0] look at [1] ?",
    }
    asked |= {"choices": ["it is [1] .", "[0] is old .", "no", "yes"], "stage": "q-a", "label": 1}
    boxes = (Box(0, 0, 10, 10), Box(10, 0, 20, 10))
    mask = Mask(np.eye(12, dtype=np.bool_))
    found = [plain, *example_referring(1), replace(other, mentioned=boxes)]
    found.append(replace(third, region=MaskTrack((None, mask, mask)), info={**third.info, "frame": 2}))
    return [replace(one, id=str(at), info={**one.info, **asked}) for at, one in enumerate(found)]


def example_tokens(space: str, count: int = 5, tokens: int = 1, *, unit: bool = False, seed: int = 0) -> RegionTokens:
    """Return random tokens (count, tokens, d) of a space; of several tokens, every second region lacks the last."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, tokens, Space.parse(space).dim, generator=generator)
    mask = torch.ones(count, tokens, dtype=torch.bool)
    if tokens > 1:
        mask[1::2, -1] = False
    return RegionTokens(normalize(values, dim=-1) if unit else values, mask, space)
