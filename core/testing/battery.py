"""One conformance battery a kind: what every backbone, region encoder, bridge, decoder and metric has to keep.

Each function raises AssertionError with one sentence on the first promise that is broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone, Decoder, GapBridge, Metric, RegionEncoder, Sample
from regionkit.core.errors import FeatureError, RegionError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Region, Regions, Trace, WholeImage
from regionkit.core.spec import REGION_KINDS, Space
from regionkit.core.testing.fakes import GridBackbone, picture

#: Largest difference that batching may make, relative to the largest value.
TOLERANCE = 1e-5


def example_regions(image_size: tuple[int, int]) -> dict[str, Region]:
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


def check_backbone(backbone: Backbone, images: Sequence[Image.Image] | None = None) -> None:
    """Check shapes, frames, finiteness, determinism, independence of batch mates, and the text tower.

    Args:
        backbone: The backbone.
        images: Two or more different pictures that it accepts; drawn ones by default.
    """
    images = list(images or (picture((64, 48), 1), picture((40, 56), 2), picture((50, 50), 3)))
    before = [image.tobytes() for image in images]
    with torch.no_grad():
        features, again = backbone.encode(images), backbone.encode(images)
        singles = [backbone.encode([image]) for image in images]
    _demand([image.tobytes() for image in images] == before, "encode changed its caller's pictures")
    b, dim = len(images), Space.parse(backbone.space).dim
    patches = features.patches
    _demand(patches.ndim == 4 and patches.shape[0] == b, f"patches are {_shape(patches)}, not ({b}, h, w, d)")
    _demand(patches.shape[3] == dim, f"patches have width {patches.shape[3]}, the space is {backbone.space}")
    _demand(len(features.frames) == b, f"{len(features.frames)} frames for {b} images")
    for image, frame in zip(images, features.frames, strict=True):
        _demand(frame == backbone.frame(image.size), f"encode and frame() disagree on an image of {image.size}")
        _demand(frame.image_size == image.size, f"a frame says {frame.image_size} of an image of {image.size}")
        _demand(
            frame.grid == tuple(patches.shape[1:3]), f"the frame's grid is {frame.grid}, patches are {_shape(patches)}"
        )
    if features.cls is not None:
        _demand(features.cls.shape == (b, dim), f"cls is {_shape(features.cls)}, not ({b}, {dim})")
    if features.attention is not None:
        _demand(features.attention.shape == patches.shape[:3], f"attention is {_shape(features.attention)}")
        _demand(bool((features.attention >= 0).all()), "attention is negative somewhere")
        _same(features.attention.sum((1, 2)), torch.ones(b), "attention does not sum to 1 over an image")
    features.check_finite("the backbone")
    for name in ("patches", "cls", "attention"):
        values = getattr(features, name)
        if values is not None:
            _demand(torch.equal(values, getattr(again, name)), f"{name} differ when encoded twice")
            _same(values, torch.cat([getattr(one, name) for one in singles]), f"{name} depend on batch mates")
    _demand(not torch.equal(patches[0], patches[1]), "two different pictures get the same patches")
    _check_text_tower(backbone)


def _check_text_tower(backbone: Backbone) -> None:
    texts = ["a red square", "a blue circle on the left of a green one", "dog"]
    if not backbone.text_space:
        _must_raise(FeatureError, lambda: backbone.encode_text(texts), "encode_text answers without a text space")
        return
    with torch.no_grad():
        vectors = backbone.encode_text(texts)
        singles = torch.cat([backbone.encode_text([text]) for text in texts])
        reverse = backbone.encode_text(texts[::-1]).flip(0)
    dim = Space.parse(backbone.text_space).dim
    _demand(vectors.shape == (3, dim), f"3 sentences became {_shape(vectors)}, the space is {backbone.text_space}")
    _demand(bool(torch.isfinite(vectors).all()), "a sentence's vector is NaN or infinite")
    _same(vectors, singles, "a sentence's vector depends on its batch mates")
    _same(vectors, reverse, "a sentence's vector depends on its place in the batch")


def check_region_encoder(
    encoder: RegionEncoder, backbone: Backbone | None = None, images: Sequence[Image.Image] | None = None
) -> None:
    """Check shapes, declared kinds, refusals, determinism, and that neither order nor company matters to a region.

    Args:
        encoder: The region encoder.
        backbone: The backbone that it works with; :class:`GridBackbone` by default.
        images: Two pictures that the backbone accepts.
    """
    backbone = backbone or GridBackbone()
    images = list(images or (picture((64, 48), 1), picture((40, 56), 2)))
    kinds = encoder.accepts
    _demand(bool(kinds) and set(kinds) <= set(REGION_KINDS), f"accepts {kinds}, which are not all region kinds")
    per_image = [[example_regions(image.size)[kind] for kind in kinds] for image in images[:2]]
    regions = Regions.of(per_image)
    with torch.no_grad():
        scene = Scene(images[:2], backbone)
        kept = scene.features.patches.clone()
        batch, again = encoder.encode(scene, regions), encoder.encode(scene, regions)
        _demand(torch.equal(kept, scene.features.patches), "encode changed the features that the scene shares")
        reverse = Regions(regions.items[::-1], regions.image[::-1])
        mirrored = encoder.encode(scene, reverse)
        singles = [
            encoder.encode(Scene([images[index]], backbone), Regions((region,), (0,)))
            for region, index in zip(regions.items, regions.image, strict=True)
        ]
        empty = encoder.encode(scene, Regions((), ()))
    _check_encoded(batch, len(regions))
    _check_encoded(empty, 0)
    _same_encoded(batch, again, 0.0, "encoding twice gives two results")
    _same_encoded(batch, _rows(mirrored, range(len(regions) - 1, -1, -1)), TOLERANCE, "the order of regions matters")
    for place, single in enumerate(singles):
        message = f"a {regions.items[place].kind} region's result depends on its batch mates"
        _same_encoded(_rows(batch, [place]), single, TOLERANCE, message)
    _check_refusals(encoder, scene)


def _check_refusals(encoder: RegionEncoder, scene: Scene) -> None:
    for kind, region in example_regions(scene.images[0].size).items():
        if kind not in encoder.accepts:
            alone = Regions((region,), (0,))
            message = f"a {kind} region is taken although accepts does not name it"
            error = _must_raise(RegionError, partial(encoder.encode, scene, alone), message)
            _demand(kind in str(error), f"the refusal of a {kind} region does not name it: {error}")
    if "box" in encoder.accepts:
        width, height = scene.images[0].size
        outside = Box(width + 5, height + 5, width + 9, height + 9)
        _must_raise(
            RegionError, lambda: encoder.encode(scene, Regions((outside,), (0,))), "a box outside its image is taken"
        )


def check_bridge(bridge: GapBridge, space: str = "grid/image[16]", writes: str = "", seed: int = 0) -> None:
    """Check shapes, that inputs stay as they are, determinism, independence of batch mates, and what training sees.

    Args:
        bridge: The bridge, fitted where it has to be.
        space: What it reads, ``name[dim]``.
        writes: What it must say it writes; not checked where empty.
        seed: Of the random tokens.
    """
    dim = Space.parse(space).dim
    generator = torch.Generator().manual_seed(seed)
    tokens = RegionTokens.single(torch.randn(5, dim, generator=generator), space)
    kept = tokens.tokens.clone()
    with torch.no_grad():
        out, again = bridge.bridge(tokens), bridge.bridge(tokens)
        singles = torch.cat([bridge.bridge(_pick(tokens, [row])).tokens for row in range(5)])
        reverse = bridge.bridge(_pick(tokens, [4, 3, 2, 1, 0])).tokens.flip(0)
        empty = bridge.bridge(_pick(tokens, []))
    _demand(torch.equal(kept, tokens.tokens), "bridge changed its caller's tokens")
    _check_encoded(out, 5)
    _check_encoded(empty, 0)
    _demand(not writes or out.space == writes, f"the result is labelled {out.space}, the port says {writes}")
    _demand(torch.equal(out.tokens, again.tokens), "bridging twice gives two results")
    _same(out.tokens, singles, "a region's result depends on its batch mates")
    _same(out.tokens, reverse, "the order of regions matters")
    broken = RegionTokens.single(torch.full((1, dim), torch.nan), space)
    _must_raise(FeatureError, lambda: bridge.bridge(broken), "a token of NaN passes without an error")
    _check_corruption(bridge, torch.randn(7, Space.parse(out.space).dim, generator=generator))


def _check_corruption(bridge: GapBridge, embeddings: Tensor) -> None:
    kept = embeddings.clone()
    first, second = (bridge.corrupt(embeddings, torch.Generator().manual_seed(3)) for _ in range(2))
    _demand(torch.equal(kept, embeddings), "corrupt changed its caller's embeddings")
    _demand(first.shape == embeddings.shape, f"corrupt made {_shape(first)} of {_shape(embeddings)}")
    _demand(bool(torch.isfinite(first).all()), "corrupt produced NaN or infinite values")
    _demand(torch.equal(first, second), "corrupt differs under the same seed: it must draw from its generator only")


def check_decoder(
    decoder: Decoder, inputs: RegionTokens | RegionViews | None = None, space: str = "grid/text[16]"
) -> None:
    """Check captions, scores and loss: shapes, determinism, the length limit, and that company never matters.

    Args:
        decoder: The decoder.
        inputs: What it reads, for three regions or more; random unit tokens of ``space`` by default.
        space: The space that it reads, ``name[dim]``.
    """
    if inputs is None:
        values = torch.randn(5, Space.parse(space).dim, generator=torch.Generator().manual_seed(0))
        inputs = RegionTokens.single(torch.nn.functional.normalize(values, dim=-1), space)
    count = len(inputs)
    kept = inputs.tokens.clone() if isinstance(inputs, RegionTokens) else None
    with torch.no_grad():
        captions, again = decoder.generate(inputs), decoder.generate(inputs)
        small = decoder.generate(inputs, options=GenerateOptions(batch_size=2))
        singles = [decoder.generate(_rows(inputs, [row]))[0] for row in range(count)]
        reverse = decoder.generate(_rows(inputs, range(count - 1, -1, -1)))[::-1]
        short = decoder.generate(inputs, options=GenerateOptions(max_tokens=2))
        empty = decoder.generate(_rows(inputs, []))
    _demand(len(captions) == count, f"{len(captions)} captions for {count} regions")
    _demand(empty == [], f"no regions gave {empty}, not an empty list")
    for caption in captions:
        _demand(
            isinstance(caption, Caption) and isinstance(caption.text, str), f"{caption!r} is no Caption with a text"
        )
        _demand(math.isfinite(caption.score) and caption.score <= TOLERANCE, f"{caption.score} is no log-probability")
    _demand(captions == again, "generating twice gives two results")
    for other, message in (
        (small, "captions depend on batch_size"),
        (singles, "a caption depends on its batch mates"),
        (reverse, "the order of regions matters"),
    ):
        _demand([one.text for one in captions] == [one.text for one in other], message)
        _same(_scores(captions), _scores(other), f"{message}, in the score")
    _demand(all(len(caption.tokens) <= 2 for caption in short), "a caption is longer than max_tokens")
    _check_scores(decoder, inputs, [caption.text for caption in captions])
    if kept is not None and isinstance(inputs, RegionTokens):
        _demand(torch.equal(kept, inputs.tokens), "the decoder changed its caller's tokens")


def _check_scores(decoder: Decoder, inputs: RegionTokens | RegionViews, texts: list[str]) -> None:
    with torch.no_grad():
        scores = decoder.score(inputs, texts)
        singles = torch.cat([decoder.score(_rows(inputs, [row]), [text]) for row, text in enumerate(texts)])
    _demand(scores.shape == (len(texts),), f"score is {_shape(scores)}, not ({len(texts)},)")
    _demand(bool(torch.isfinite(scores).all()), "a score is NaN or infinite")
    _demand(bool((scores <= TOLERANCE).all()), "a log-likelihood is positive")
    _same(scores, singles, "a score depends on its batch mates")
    loss = decoder.loss(inputs, texts)
    _demand(loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss is {_shape(loss)}, not one finite number")


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


def check_metric(make: Callable[[], Metric], samples: Sequence[Sample] | None = None) -> None:
    """Check that a metric adds up, keeps the order of its samples, and, reading references, prefers right captions.

    Args:
        make: Makes a fresh metric.
        samples: Four or more samples with different references; :func:`example_samples` by default.
    """
    samples = list(samples or example_samples())
    half = len(samples) // 2
    right = [sample.references[0] for sample in samples]
    mixed = right[:half] + right[half + 1 :] + right[half : half + 1]  # the second half is off by one
    whole, parts, turned = make(), make(), make()
    whole.update(samples, mixed)
    score = whole.compute()
    _demand(math.isfinite(score.value), f"the value is {score.value}")
    _demand(bool(score.signature), "the signature is empty: say what the value depends on")
    _demand(whole.compute() == score, "computing twice gives two results")
    for start, stop in ((0, 1), (1, half), (half, half), (half, len(samples))):
        parts.update(samples[start:stop], mixed[start:stop])
    pieces = parts.compute()
    _close(score.value, pieces.value, "the value depends on how the samples were dealt out")
    turned.update(samples[::-1], mixed[::-1])
    _close(score.value, turned.compute().value, "the value depends on the order of the samples")
    if score.per_sample is not None:
        _demand(len(score.per_sample) == len(samples), f"{len(score.per_sample)} values for {len(samples)} samples")
        reverse = turned.compute().per_sample
        _demand(reverse is not None, "per_sample is there in one order of the samples and not in another")
        for one, other in zip(score.per_sample, reverse[::-1] if reverse else (), strict=True):
            _close(one, other, "a sample's value does not follow the sample")
    if "references" not in whole.needs:
        return  # without references, such as a caption's length, a right caption need not be better than a wrong one
    best = make()
    best.update(samples, right)
    gain = best.compute().value - score.value
    better = gain > 0 if whole.higher_is_better else gain < 0
    _demand(
        better, f"right captions score {score.value + gain}, half of them wrong {score.value}: the direction is off"
    )


def _check_encoded(encoded: RegionTokens | RegionViews, count: int) -> None:
    _demand(len(encoded) == count, f"{len(encoded)} results for {count} regions")
    if isinstance(encoded, RegionViews):
        _demand(all(isinstance(view, Image.Image) for view in encoded.pictures), "a view is no picture")
        return
    tokens, mask = encoded.tokens, encoded.mask
    _demand(
        tokens.ndim == 3 and tokens.is_floating_point(), f"tokens are {tokens.dtype} {_shape(tokens)}, not (r, t, d)"
    )
    _demand(mask.dtype == torch.bool and mask.shape == tokens.shape[:2], f"mask is {mask.dtype} {_shape(mask)}")
    dim = Space.parse(encoded.space).dim
    _demand(tokens.shape[2] == dim, f"tokens have width {tokens.shape[2]}, their space is {encoded.space}")
    _demand(bool(mask.any(1).all()), "a region has no token")
    _demand(bool(torch.isfinite(tokens).all()), "a token is NaN or infinite")


def _rows(encoded: RegionTokens | RegionViews, rows: Sequence[int]) -> RegionTokens | RegionViews:
    if isinstance(encoded, RegionViews):
        return RegionViews(tuple(encoded.pictures[row] for row in rows))
    return _pick(encoded, rows)


def _pick(tokens: RegionTokens, rows: Sequence[int]) -> RegionTokens:
    index = torch.tensor(list(rows), dtype=torch.long, device=tokens.tokens.device)
    return RegionTokens(tokens.tokens[index], tokens.mask[index], tokens.space)


def _same_encoded(
    one: RegionTokens | RegionViews, other: RegionTokens | RegionViews, tolerance: float, message: str
) -> None:
    _demand(type(one) is type(other), message)
    if isinstance(one, RegionViews) and isinstance(other, RegionViews):
        pairs = zip(one.pictures, other.pictures, strict=True)
        _demand(all(a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairs), message)
    elif isinstance(one, RegionTokens) and isinstance(other, RegionTokens):
        _demand(one.space == other.space, message)
        # Padding is no result: a lone region may be padded to another length than among others.
        _same(one.tokens[one.mask], other.tokens[other.mask], message, tolerance)


def _same(one: Tensor, other: Tensor, message: str, tolerance: float = TOLERANCE) -> None:
    _demand(one.shape == other.shape, f"{message}: {_shape(one)} against {_shape(other)}")
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    if one.numel():
        gap = float((one - other).abs().max())
        limit = tolerance * max(1.0, float(one.abs().max()))
        _demand(gap <= limit, f"{message}: by up to {gap:.3g}")


def _close(one: float, other: float, message: str) -> None:
    _demand(math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9), f"{message}: {one} against {other}")


def _scores(captions: Sequence[Caption]) -> Tensor:
    return torch.tensor([caption.score for caption in captions], dtype=torch.float64)


def _must_raise(expected: type[Exception], call: Callable[[], object], message: str) -> Exception:
    try:
        call()
    except expected as error:
        return error
    raise AssertionError(message)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _demand(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
