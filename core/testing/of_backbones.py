"""Checks of backbones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regionkit.core.contracts import Backbone
from regionkit.core.errors import FeatureError
from regionkit.core.features import Features
from regionkit.core.spec import Space
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import TOLERANCE, Skip, demand, digest, must_raise, same, shape
from regionkit.core.testing.examples import SENTENCES, example_masks
from regionkit.core.testing.subject import Subject

_LAYERS = ("patches", "cls", "attention")
_TEXTS = ("a red square", "a blue circle on the left of a green one", "dog")
#: What a user may type: nothing, words of no language, far more than any text tower reads.
_ODD = ("", "   ", "ﬀ 😀 \u0301", "word " * 400, "a\nb")


def _text_tower(subject: Subject) -> Backbone:
    backbone: Backbone = subject.component
    if not backbone.text_space:
        raise Skip("it has no text tower")
    return backbone


@torch.no_grad()
def _encode(subject: Subject, images: list[Image.Image] | None = None) -> Features:
    features: Features = subject.component.encode(list(subject.images) if images is None else images)
    return features


@check("backbone")
def shapes(subject: Subject) -> None:
    """Features have one shape for all pictures, and everything in them has the right one."""
    features, b = _encode(subject), len(subject.images)
    dim = Space.parse(subject.component.space).dim
    patches = features.patches
    demand(patches.ndim == 4 and patches.shape[0] == b, f"patches are {shape(patches)}, not ({b}, h, w, d)")
    demand(patches.is_floating_point(), f"patches are {patches.dtype}")
    demand(patches.shape[3] == dim, f"patches have width {patches.shape[3]}, the space is {subject.component.space}")
    if features.cls is not None:
        demand(features.cls.shape == (b, dim), f"cls is {shape(features.cls)}, not ({b}, {dim})")
    if features.attention is not None:
        demand(features.attention.shape == patches.shape[:3], f"attention is {shape(features.attention)}")


@check("backbone")
def frames(subject: Subject) -> None:
    """Encode and frame() say the same of what preprocessing does to a picture."""
    features, backbone = _encode(subject), subject.component
    demand(
        len(features.frames) == len(subject.images), f"{len(features.frames)} frames for {len(subject.images)} images"
    )
    grid = tuple(features.patches.shape[1:3])
    for image, frame in zip(subject.images, features.frames, strict=True):
        demand(frame == backbone.frame(image.size), f"encode and frame() disagree on an image of {image.size}")
        demand(frame.image_size == image.size, f"a frame says {frame.image_size} of an image of {image.size}")
        demand(frame.grid == grid, f"the frame's grid is {frame.grid}, patches are {shape(features.patches)}")


@check("backbone")
def attention(subject: Subject) -> None:
    """The attention over the patches of an image is nowhere negative and sums to 1."""
    weights = _encode(subject).attention
    if weights is None:
        raise Skip("it gives no attention")
    demand(bool((weights >= 0).all()), "attention is negative somewhere")
    ones = torch.ones(len(subject.images))
    same(weights.float().sum((1, 2)), ones, "attention does not sum to 1 over an image")


@check("backbone")
def ports(subject: Subject) -> None:
    """The spaces that it writes are those that its port names."""
    backbone = subject.component
    if subject.writes is None:
        raise Skip("nothing is known of its port")
    demand(
        backbone.space == subject.writes.space, f"its space is {backbone.space}, the port says {subject.writes.space}"
    )
    own, said = backbone.text_space, subject.text or ""
    demand(own == said, f"its text space is {own or 'none'}, the spec says {said or 'none'}")
    if subject.masked is not None:
        own, said = backbone.masked_space, subject.masked
        demand(own == said, f"its space of masked pictures is {own or 'none'}, the spec says {said or 'none'}")


@check("backbone")
def nan_never_leaks(subject: Subject) -> None:
    """Neither an extreme picture nor a plain one gives NaN."""
    _encode(subject).check_finite("the backbone")
    odd = [Image.new("RGB", (64, 48), colour) for colour in ("black", "white")]
    odd += [subject.images[0].resize(size) for size in ((1, 1), (200, 3), (3, 200))]
    for image in odd:
        image.info = dict(subject.images[0].info)
        try:
            _encode(subject, [image]).check_finite("the backbone")
        except FeatureError as error:
            raise AssertionError(f"a picture of {image.size}: {error.message}") from error


@check("backbone")
def batch_equals_loop(subject: Subject) -> None:
    """The features of a picture do not depend on the other pictures of its batch."""
    features = _encode(subject)
    singles = [_encode(subject, [image]) for image in subject.images]
    for name in _LAYERS:
        values = getattr(features, name)
        if values is not None:
            same(values, torch.cat([getattr(one, name) for one in singles]), f"{name} depend on batch mates")


@check("backbone")
def order(subject: Subject) -> None:
    """The features of a picture do not depend on its place in the batch."""
    features, mirrored = _encode(subject), _encode(subject, list(subject.images[::-1]))
    for name in _LAYERS:
        values = getattr(features, name)
        if values is not None:
            same(values, getattr(mirrored, name).flip(0), f"{name} depend on the order of the pictures")


@check("backbone")
def empty(subject: Subject) -> None:
    """No pictures give no features, and no sentences no vectors, of the right shape."""
    features, backbone = _encode(subject, []), subject.component
    dim = Space.parse(backbone.space).dim
    patches = features.patches
    demand(
        patches.ndim == 4 and patches.shape[0] == 0 and patches.shape[3] == dim, f"no pictures gave {shape(patches)}"
    )
    demand(len(features.frames) == 0, "no pictures gave frames")
    if backbone.text_space:
        with torch.no_grad():
            vectors = backbone.encode_text([])
        wanted = (0, Space.parse(backbone.text_space).dim)
        demand(shape(vectors) == wanted, f"no sentences gave {shape(vectors)}, not {wanted}")


@check("backbone")
def inputs_unchanged(subject: Subject) -> None:
    """Encode leaves the caller's pictures as they are."""
    before = [digest(image) for image in subject.images]
    _encode(subject)
    demand([digest(image) for image in subject.images] == before, "encode changed its caller's pictures")


@check("backbone")
def sees_its_pictures(subject: Subject) -> None:
    """Two different pictures get different patches."""
    patches = _encode(subject).patches
    demand(not torch.equal(patches[0], patches[1]), "two different pictures get the same patches")


@check("backbone")
def text_tower(subject: Subject) -> None:
    """encode_text gives one finite vector a sentence, or the standard error without a text tower."""
    backbone: Backbone = subject.component
    if not backbone.text_space:
        must_raise(FeatureError, lambda: backbone.encode_text(_TEXTS), "encode_text answers without a text space")
        return
    with torch.no_grad():
        vectors = backbone.encode_text(_TEXTS)
    dim = Space.parse(backbone.text_space).dim
    demand(shape(vectors) == (3, dim), f"3 sentences became {shape(vectors)}, the space is {backbone.text_space}")
    demand(bool(torch.isfinite(vectors).all()), "a sentence's vector is NaN or infinite")


@check("backbone")
def text_batch_equals_loop(subject: Subject) -> None:
    """A sentence's vector depends neither on the other sentences nor on their order."""
    backbone = _text_tower(subject)
    with torch.no_grad():
        vectors = backbone.encode_text(SENTENCES)
        singles = torch.cat([backbone.encode_text([text]) for text in SENTENCES])
        reverse = backbone.encode_text(SENTENCES[::-1]).flip(0)
    same(vectors, singles, "a sentence's vector depends on its batch mates", TOLERANCE)
    same(vectors, reverse, "a sentence's vector depends on its place in the batch", TOLERANCE)


@check("backbone")
def odd_sentences(subject: Subject) -> None:
    """Whatever a user may type becomes a finite vector: no words, no language, far too many words."""
    backbone = _text_tower(subject)
    with torch.no_grad():
        for text in _ODD:
            vector = backbone.encode_text([text])
            shown = repr(text if len(text) < 20 else f"{text[:12]}...")
            demand(bool(torch.isfinite(vector).all()), f"the vector of {shown} is NaN or infinite")


def _takes_masks(subject: Subject) -> Backbone:
    backbone: Backbone = subject.component
    if not backbone.masked_space:
        raise Skip("it takes no masks")
    return backbone


@torch.no_grad()
def _encode_masked(subject: Subject, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
    features: Features = _takes_masks(subject).encode_masked(images, masks)
    return features


@check("backbone")
def takes_masks(subject: Subject) -> None:
    """encode_masked gives features of the shape and frames of encode, or the standard error without a masked space."""
    backbone: Backbone = subject.component
    images, masks = subject.images, example_masks(subject.images)
    if not backbone.masked_space:
        message = "encode_masked answers without a space for masked pictures"
        must_raise(FeatureError, lambda: backbone.encode_masked(images, masks), message)
        return
    plain, masked = _encode(subject), _encode_masked(subject, images, masks)
    dim = Space.parse(backbone.masked_space).dim
    wanted = (*plain.patches.shape[:3], dim)
    demand(shape(masked.patches) == wanted, f"patches of masked pictures are {shape(masked.patches)}, not {wanted}")
    if masked.cls is not None:
        right = masked.cls.shape == (len(images), dim)
        demand(right, f"cls of masked pictures is {shape(masked.cls)}, not ({len(images)}, {dim})")
    demand(masked.frames == plain.frames, "encode_masked and encode disagree on the frames of the same pictures")


@check("backbone")
def a_mask_matters(subject: Subject) -> None:
    """The same picture with two different masks gives two different results."""
    image = subject.images[0]
    upper = example_masks([image])[0]
    features = _encode_masked(subject, [image, image], [upper, ~upper])
    told = [values for values in (features.patches, features.cls) if values is not None]
    differ = any(not torch.equal(values[0], values[1]) for values in told)
    demand(differ, "the upper half of a picture and its lower half give the same result")


@check("backbone")
def masked_batch_equals_loop(subject: Subject) -> None:
    """The features of a picture with a mask depend neither on other pairs nor on their order."""
    images = (*subject.images, subject.images[0])  # one picture twice, asked about in two ways
    masks = example_masks(images)
    masks[-1][:] = ~masks[0]
    together = _encode_masked(subject, images, masks)
    mirrored = _encode_masked(subject, images[::-1], masks[::-1])
    singles = [_encode_masked(subject, [image], [mask]) for image, mask in zip(images, masks, strict=True)]
    for name in _LAYERS:
        values = getattr(together, name)
        if values is not None:
            alone = torch.cat([getattr(one, name) for one in singles])
            same(values, alone, f"{name} of a masked picture depend on batch mates")
            same(values, getattr(mirrored, name).flip(0), f"{name} depend on the order of the masked pictures")


@check("backbone")
def any_mask_is_finite(subject: Subject) -> None:
    """A mask of nothing, of one pixel or of everything, on a picture of any shape, gives finite features."""
    _takes_masks(subject)
    for size in ((64, 48), (1, 1), (200, 3)):
        image = subject.images[0].resize(size)
        image.info = dict(subject.images[0].info)
        nothing = np.zeros(size[::-1], dtype=np.bool_)
        corner = nothing.copy()
        corner[-1, -1] = True
        for words, mask in (("nothing", nothing), ("one pixel", corner), ("everything", ~nothing)):
            try:
                _encode_masked(subject, [image], [mask]).check_finite("the backbone")
            except FeatureError as error:
                raise AssertionError(f"a mask of {words} on a picture of {size}: {error.message}") from error


@check("backbone")
def no_masked_pictures(subject: Subject) -> None:
    """No pictures with no masks give no features, of the right shape."""
    features = _encode_masked(subject, [], [])
    patches, dim = features.patches, Space.parse(subject.component.masked_space).dim
    right = patches.ndim == 4 and patches.shape[0] == 0 and patches.shape[3] == dim
    demand(right and not len(features.frames), f"no masked pictures gave {shape(patches)}")


@check("backbone")
def masks_must_fit(subject: Subject) -> None:
    """Masks of another number or size than the pictures are refused with a FeatureError."""
    backbone, image = _takes_masks(subject), subject.images[0]
    turned = np.ones((image.height + 1, image.width), dtype=np.bool_)
    whole = np.ones((image.height, image.width), dtype=np.bool_)
    for words, masks in (("a mask of another size than its picture", [turned]), ("two masks for one", [whole, whole])):
        must_raise(FeatureError, partial(backbone.encode_masked, [image], masks), f"{words} is taken")


@check("backbone")
def masks_unchanged(subject: Subject) -> None:
    """encode_masked leaves the caller's pictures and masks as they are."""
    masks = example_masks(subject.images)
    before = digest([subject.images, masks])
    _encode_masked(subject, subject.images, masks)
    demand(digest([subject.images, masks]) == before, "encode_masked changed its caller's pictures or masks")


@check("backbone")
def blocks(subject: Subject) -> None:
    """The tokens of embed and of blocks, where it exposes them, are one a patch behind the prefix, as wide as told."""
    backbone: Backbone = subject.component
    if not backbone.block_space:
        demand(not len(backbone.blocks), "it exposes blocks and names no space of what they hand on")
        raise Skip("it exposes no blocks")
    demand(len(backbone.blocks) > 0, f"it names {backbone.block_space} as what its blocks hand on, and has none")
    with torch.no_grad():
        pixels, frames = backbone.preprocess(list(subject.images))
        tokens = backbone.embed(pixels)
        height, width = frames[0].grid
        wanted = (len(pixels), backbone.prefix_tokens + height * width, Space.parse(backbone.block_space).dim)
        demand(shape(tokens) == wanted, f"embed gives {shape(tokens)}, not {wanted}")
        for place, block in enumerate(backbone.blocks):
            tokens = block(tokens)
            demand(shape(tokens) == wanted, f"block {place} gives {shape(tokens)}, not {wanted}")
    demand(bool(torch.isfinite(tokens).all()), "a token behind the last block is NaN or infinite")
