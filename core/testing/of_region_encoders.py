"""Checks of region encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regionkit.core.contracts import Backbone, RegionEncoder
from regionkit.core.errors import FeatureError, RegionError
from regionkit.core.features import Features, RegionTokens, RegionViews, Scene
from regionkit.core.regions import Region, Regions
from regionkit.core.spec import Space
from regionkit.core.testing.checks import check
from regionkit.core.testing.demands import (
    TOLERANCE,
    Inputs,
    Skip,
    demand,
    digest,
    must_raise,
    rows_of,
    same,
    same_encoded,
    shape,
    well_formed,
)
from regionkit.core.testing.examples import (
    example_regions,
    full_image_regions,
    one_pixel_regions,
    outside_regions,
    straddling_regions,
)
from regionkit.core.testing.stand_ins import Recast
from regionkit.core.testing.subject import Subject

#: A note that pictures carry on their way, as those of the mini-world carry the mark of their making.
_NOTE = "conformance"


class _Watched(Recast):
    """A backbone that keeps the pictures that it was given."""

    def __init__(self, inner: Backbone) -> None:
        super().__init__(inner, lambda values: values)
        self.seen: list[Image.Image] = []

    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Return the features as they are."""
        self.seen += images
        return super().encode(images)

    def encode_masked(self, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
        """Return the features of masked pictures as they are."""
        self.seen += images
        return super().encode_masked(images, masks)


@torch.no_grad()
def _encode(subject: Subject, regions: Regions | None = None, scene: Scene | None = None) -> Inputs:
    encoder: RegionEncoder = subject.component
    return encoder.encode(scene or subject.scene(), subject.regions() if regions is None else regions)


def _width(encoded: Inputs) -> int:
    return Space.parse(encoded.space).dim if isinstance(encoded, RegionTokens) else 0


def _alone(region: Region) -> Regions:
    return Regions((region,), (0,))


def _finite_each(subject: Subject, regions: Sequence[Region], what: str) -> None:
    """Demand a finite result of each region alone and of all together."""
    chosen = [region for region in regions if region.kind in subject.kinds]
    if not chosen:
        raise Skip("it takes no region that can be so")
    for region in chosen:
        try:
            encoded = _encode(subject, _alone(region))
            well_formed(encoded, 1, _width(encoded))
        except (AssertionError, RegionError) as error:
            raise AssertionError(f"a {region.kind} region {what}: {error}") from error
    together = _encode(subject, Regions(tuple(chosen), (0,) * len(chosen)))
    well_formed(together, len(chosen), _width(together))


@check("region_encoder")
def shapes(subject: Subject) -> None:
    """Each region gives one result, as wide as its space says, with a mask and no NaN."""
    encoded = _encode(subject)
    well_formed(encoded, len(subject.regions()), _width(encoded))


@check("region_encoder")
def ports(subject: Subject) -> None:
    """The result has the form, the space and the number of tokens that its port names."""
    encoded, port = _encode(subject), subject.writes
    if port is None:
        raise Skip("nothing is known of its port")
    form = "views" if isinstance(encoded, RegionViews) else "tokens"
    demand(form == port.form, f"the result is {form}, the port says {port.form}")
    if isinstance(encoded, RegionTokens):
        demand(encoded.space == port.space, f"the result is labelled {encoded.space}, the port says {port.space}")
        most = encoded.tokens.shape[1]
        demand(port.many or most == 1, f"a region has {most} tokens, the port says one")


@check("region_encoder")
def declared_kinds(subject: Subject) -> None:
    """Every declared kind of region works, and the class accepts what its spec declares."""
    own = tuple(subject.component.accepts)
    demand(
        set(own) == set(subject.kinds),
        f"the spec accepts {', '.join(subject.kinds)}; the class accepts {', '.join(own)}",
    )
    for kind, region in example_regions(subject.images[0].size).items():
        if kind in subject.kinds:
            try:
                _encode(subject, _alone(region))
            except RegionError as error:
                raise AssertionError(f"a {kind} region is refused although accepts names it: {error.message}") from None


@check("region_encoder")
def undeclared_kinds(subject: Subject) -> None:
    """Kinds that are not declared are refused with a RegionError that names the kind."""
    scene = subject.scene()
    others = {k: r for k, r in example_regions(scene.images[0].size).items() if k not in subject.component.accepts}
    if not others:
        raise Skip("it takes every kind")
    for kind, region in others.items():
        message = f"a {kind} region is taken although accepts does not name it"
        error = must_raise(RegionError, partial(_encode, subject, _alone(region), scene), message)
        demand(kind in str(error), f"the refusal of a {kind} region does not name it: {error}")


@check("region_encoder")
def batch_equals_loop(subject: Subject) -> None:
    """A region's result does not depend on the other regions and pictures of its batch."""
    regions, batch = subject.regions(), _encode(subject)
    for place, (region, index) in enumerate(zip(regions.items, regions.image, strict=True)):
        single = _encode(subject, _alone(region), Scene([subject.images[index]], subject.backbone))
        message = f"a {region.kind} region's result depends on its batch mates"
        same_encoded(rows_of(batch, [place]), single, TOLERANCE, message)


@check("region_encoder")
def order(subject: Subject) -> None:
    """A region's result does not depend on its place in the batch."""
    regions, batch = subject.regions(), _encode(subject)
    mirrored = _encode(subject, Regions(regions.items[::-1], regions.image[::-1]))
    back = rows_of(mirrored, range(len(regions) - 1, -1, -1))
    same_encoded(batch, back, TOLERANCE, "the order of regions matters")


@check("region_encoder")
def attention(subject: Subject) -> None:
    """Attention, where it has any, is one map a region over the patches that sums to 1, whatever the batch."""
    encoder: RegionEncoder = subject.component
    regions, scene = subject.regions(), subject.scene()
    with torch.no_grad():
        try:
            maps = encoder.attention(scene, regions)
        except FeatureError as error:
            raise Skip(f"it has none: {error.message}") from error
        demand(maps.ndim == 3 and len(maps) == len(regions), f"maps are {shape(maps)}, not ({len(regions)}, h, w)")
        demand(bool(torch.isfinite(maps).all()) and bool((maps >= 0).all()), "a weight is negative, NaN or infinite")
        sums = maps.double().sum((1, 2))
        demand(bool((sums - 1).abs().max() < TOLERANCE), f"the weights of a region sum to {float(sums[0]):.4f}, not 1")
        for place, (region, index) in enumerate(zip(regions.items, regions.image, strict=True)):
            alone = encoder.attention(Scene([subject.images[index]], subject.backbone), _alone(region))
            same(maps[place], alone[0], f"a {region.kind} region's map depends on its batch mates")


@check("region_encoder")
def empty(subject: Subject) -> None:
    """No regions give no tokens, of the same width and space as those of some."""
    some, none = _encode(subject), _encode(subject, Regions((), ()))
    well_formed(none, 0, _width(some))
    demand(type(none) is type(some), f"no regions gave {type(none).__name__}, some gave {type(some).__name__}")
    if isinstance(none, RegionTokens) and isinstance(some, RegionTokens):
        demand(none.space == some.space, f"no regions are labelled {none.space}, some {some.space}")


@check("region_encoder")
def one_pixel(subject: Subject) -> None:
    """A region of one pixel, in the last corner too, gives a finite result."""
    _finite_each(subject, one_pixel_regions(subject.images[0].size), "of one pixel")


@check("region_encoder")
def full_image(subject: Subject) -> None:
    """A region that covers the whole image gives a finite result."""
    _finite_each(subject, full_image_regions(subject.images[0].size), "that covers its image")


@check("region_encoder")
def out_of_frame(subject: Subject) -> None:
    """A region that lies outside its image is refused with a RegionError."""
    scene = subject.scene()
    outside = [(words, one) for words, one in outside_regions(scene.images[0].size) if one.kind in subject.kinds]
    if not outside:
        raise Skip("it takes no region that can lie outside its image")
    for words, region in outside:
        must_raise(RegionError, partial(_encode, subject, _alone(region), scene), f"{words} is taken")


@check("region_encoder")
def partly_out(subject: Subject) -> None:
    """A region that lies partly outside its image is clipped to it."""
    pairs = [pair for pair in straddling_regions(subject.images[0].size) if pair[0].kind in subject.kinds]
    if not pairs:
        raise Skip("it takes no region that can lie partly outside its image")
    for region, inside in pairs:
        message = f"a {region.kind} region that lies partly outside its image is not clipped to it"
        encoded = _encode(subject, _alone(region))
        well_formed(encoded, 1, _width(encoded))
        same_encoded(encoded, _encode(subject, _alone(inside)), TOLERANCE, message)


@check("region_encoder")
def nan_never_leaks(subject: Subject) -> None:
    """A backbone's NaN is refused with a FeatureError, and a plain picture gives none."""
    plain = Image.new("RGB", subject.images[0].size, "black")
    plain.info = dict(subject.images[0].info)
    regions = Regions.of([[r for k, r in example_regions(plain.size).items() if k in subject.kinds]])
    encoded = _encode(subject, regions, Scene([plain], subject.backbone))
    well_formed(encoded, len(regions), _width(encoded))
    broken = Recast(subject.backbone, lambda values: torch.full_like(values, torch.nan))
    try:
        encoded = _encode(subject, regions, Scene([subject.images[0]], broken))
    except FeatureError:
        return
    finite = isinstance(encoded, RegionViews) or bool(torch.isfinite(encoded.tokens).all())
    demand(finite, "a backbone's NaN becomes a token without an error")


@check("region_encoder")
def inputs_unchanged(subject: Subject) -> None:
    """Encode leaves the features and pictures that the scene shares as they are."""
    scene = subject.scene()
    before, pictures = digest(scene.features), digest(scene.images)
    _encode(subject, scene=scene)
    demand(digest(scene.features) == before, "encode changed the features that the scene shares")
    demand(digest(scene.images) == pictures, "encode changed the pictures of the scene")


@check("region_encoder")
def shared_features(subject: Subject) -> None:
    """Features computed before give the same result as features computed on the spot."""
    fresh = subject.scene()
    shared = replace(fresh.features)
    early = _encode(subject, scene=Scene(fresh.images, subject.backbone, shared))
    same_encoded(_encode(subject), early, TOLERANCE, "features computed before give another result")


@check("region_encoder")
def notes(subject: Subject) -> None:
    """Pictures that it makes for the backbone carry the notes (info) of their originals."""
    images = [image.copy() for image in subject.images]
    for image in images:
        image.info = {**image.info, _NOTE: "here"}
    backbone = _Watched(subject.backbone)
    _encode(subject, scene=Scene(images, backbone))
    if not backbone.seen:
        raise Skip("it gives the backbone no pictures")
    lost = sum(_NOTE not in picture.info for picture in backbone.seen)
    demand(not lost, f"{lost} of {len(backbone.seen)} pictures for the backbone lack the notes (info) of the originals")
