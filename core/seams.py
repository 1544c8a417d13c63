"""The seams of a pipeline: parts are called here, and what they hand on is checked once, before the next one takes it.

Forms, counts, widths and spaces are held against the contract, which costs nothing and asks no GPU for a number.
Without that, a part's fault shows in the part behind it, or in nobody's code at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from PIL import Image

from regionkit.core.blame import blamed, made_of, who
from regionkit.core.errors import ContractError, FeatureError
from regionkit.core.features import Caption, Features, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.regions import Regions
from regionkit.core.spec import Space

if TYPE_CHECKING:
    from torch import Tensor

    from regionkit.core.contracts import Backbone, Component, Decoder, GapBridge, RegionEncoder

Inputs = RegionTokens | RegionViews

_SINGLE = "return regionkit.core.features.RegionTokens.single(vectors, space) for one vector a region, (r, d)"
_CAPTIONS = "return [Caption(text, score), ...], one a region, in their order: regionkit.core.features.Caption"


def seen(backbone: Backbone, images: Sequence[Image.Image]) -> Features:
    """Let a backbone encode b pictures.

    Raises:
        ContractError: It handed on no features of them.
        FeatureError: A value is NaN or infinite.
        ImageError: It refuses a picture.
    """
    with blamed(backbone, "backbone"):
        backbone.check_images(images)
        features = backbone.encode(images)
    one = who(backbone, "backbone")
    _check_features(features, one, len(images))
    made, space = made_of(backbone), getattr(backbone, "space", "")
    if made is not None and made.writes and space != made.writes:
        raise ContractError(
            f"{one}: its attribute space is {space or 'missing'}, and its spec says that it writes {made.writes}",
            "make them one: whatever reads it was chosen by its spec",
        )
    _check_width(f"{one}: encode()", features.patches.shape[-1], space)
    features.check_finite(one)
    return features


def embedded(backbone: Backbone, texts: Sequence[str]) -> Tensor:
    """Let the text tower of a backbone encode n sentences, (n, d).

    Raises:
        ContractError: It handed on something else.
        FeatureError: It has no text tower.
    """
    with blamed(backbone, "backbone"):
        found = backbone.encode_text(texts)
    _check_shape(f"{who(backbone, 'backbone')}: encode_text() gave", found, (len(texts), None), "(n, d), a row a text")
    return found


def encoded(encoder: RegionEncoder, scene: Scene, regions: Regions) -> Inputs:
    """Let a region encoder encode r regions.

    Raises:
        ContractError: It handed on neither tokens nor pictures of them.
        FeatureError: A value is NaN or infinite.
        RegionError: It does not take a region.
    """
    with blamed(encoder, "region_encoder"):
        found = encoder.encode(scene, regions)
    one = who(encoder, "region_encoder")
    if isinstance(found, RegionViews):
        _check_views(found, encoder, one, len(regions))
        return found
    _check_tokens(found, encoder, f"{one}: encode()", len(regions), "RegionTokens or RegionViews")
    found.check_finite(one)
    return found


def bridged(bridge: GapBridge, tokens: RegionTokens) -> RegionTokens:
    """Let a bridge carry r regions over the gap.

    Raises:
        ContractError: It handed on no tokens of them.
        FeatureError: It cannot read the tokens.
    """
    with blamed(bridge, "bridge"):
        found = bridge.bridge(tokens)
    _check_tokens(found, bridge, f"{who(bridge, 'bridge')}: bridge()", len(tokens), "RegionTokens")
    return found


def written(
    decoder: Decoder, inputs: Inputs, prompt: str | None = None, options: GenerateOptions | None = None
) -> list[Caption | FeatureError]:
    """Let a decoder write captions of r regions.

    Returns:
        For each region its caption, or what is wrong with it: the others are no worse for it.

    Raises:
        ContractError: It wrote another number of captions, or no list of them.
    """
    with blamed(decoder, "decoder"):
        found = decoder.generate(inputs, prompt, options)
    asked = f"{who(decoder, 'decoder')}: generate()"
    if not isinstance(found, (list, tuple)):
        raise ContractError(f"{asked} gave {_form(found)}, and the contract wants a list of Caption", _CAPTIONS)
    if len(found) != len(inputs):
        raise ContractError(f"{asked} gave {len(found)} captions for {len(inputs)} regions", _CAPTIONS)
    return [_checked(one, asked) for one in found]


def captions(
    decoder: Decoder, inputs: Inputs, prompt: str | None = None, options: GenerateOptions | None = None
) -> list[Caption]:
    """Let a decoder write captions of r regions, all of them or none.

    Raises:
        ContractError: It wrote another number of captions, or no list of them.
        FeatureError: One of them is none, or has a score that is no number.
    """
    found: list[Caption] = []
    for one in written(decoder, inputs, prompt, options):
        if isinstance(one, FeatureError):
            raise one
        found.append(one)
    return found


def scored(decoder: Decoder, inputs: Inputs, texts: Sequence[str], prompt: str | None = None) -> Tensor:
    """Let a decoder say how likely one text a region is, (r,).

    Raises:
        ContractError: It handed on something else.
    """
    with blamed(decoder, "decoder"):
        found = decoder.score(inputs, texts, prompt)
    asked = f"{who(decoder, 'decoder')}: score()"
    _check_shape(f"{asked} gave", found, (len(texts),), "one number a text")
    return found


def _checked(caption: object, asked: str) -> Caption | FeatureError:
    """Return a caption, or what is wrong with it."""
    if not isinstance(caption, Caption):
        return FeatureError(f"{asked} gave {_form(caption)} where a Caption belongs", _CAPTIONS)
    if not isinstance(caption.text, str):
        return FeatureError(f"{asked} gave a Caption whose text is {_form(caption.text)}, and no str", _CAPTIONS)
    if not isinstance(caption.score, Real):
        return FeatureError(f"{asked} gave a Caption whose score is {_form(caption.score)}, and no float", _CAPTIONS)
    if not math.isfinite(caption.score):
        return FeatureError(
            f"{asked} gave a Caption whose score is {float(caption.score)}, and no finite log-probability",
            "check its weights with `toolkit weights list`; half precision can overflow: try float32",
            "a decoder that has no log-probabilities says 0.0",
        )
    return caption


def _check_features(features: object, one: str, images: int) -> None:
    asked = f"{one}: encode()"
    if not isinstance(features, Features):
        raise ContractError(
            f"{asked} gave {_form(features)}, and the contract wants Features",
            "return regionkit.core.features.Features(patches, frames), patches (b, h, w, d), a Frame an image",
        )
    frames = features.frames
    if not isinstance(frames, (list, tuple)) or len(frames) != images:
        held = f"{len(frames)} frames" if isinstance(frames, (list, tuple)) else f"{_form(frames)} as frames"
        raise ContractError(f"{asked} gave {held} for {images} images", "frames holds one Frame an image")
    grid = tuple(frames[0].grid) if images else (None, None)
    _check_shape(f"{asked} gave as patches", features.patches, (images, *grid, None), "(b, h, w, d), as frames say")
    width = features.patches.shape[-1]
    for name, shape in (("cls", (images, width)), ("attention", (images, *features.patches.shape[1:3]))):
        value = getattr(features, name)
        if value is not None:
            _check_shape(f"{asked} gave as {name}", value, shape, "its shape beside the patches")


def _check_views(views: RegionViews, encoder: Component, one: str, regions: int) -> None:
    made = made_of(encoder)
    if made is not None and made.writes not in ("", "views"):
        raise ContractError(
            f"{one}: encode() gave pictures, and its spec says that it writes {made.writes}",
            "write views in its spec: writes=Port(form='views'), or return RegionTokens",
        )
    held = views.pictures
    if not isinstance(held, (list, tuple)) or not all(isinstance(picture, Image.Image) for picture in held):
        raise ContractError(f"{one}: encode() gave RegionViews whose pictures are no tuple of PIL images")
    if len(held) != regions:
        raise ContractError(f"{one}: encode() gave {len(held)} pictures for {regions} regions")


def _check_tokens(tokens: object, part: Component, asked: str, regions: int, wanted: str) -> None:
    """Check the tokens (r, t, d) that a part wrote: r regions, as wide as their space, in the space of its spec."""
    import torch

    if not isinstance(tokens, RegionTokens):
        raise ContractError(f"{asked} gave {_form(tokens)}, and the contract wants {wanted}", _SINGLE)
    values, mask = tokens.tokens, tokens.mask
    _check_shape(f"{asked} gave as tokens", values, (None, None, None), "(r, t, d)")
    if len(values) != regions:
        raise ContractError(f"{asked} gave tokens of {len(values)} regions for {regions}", "one row a region, in order")
    _check_shape(f"{asked} gave as mask", mask, tuple(values.shape[:2]), "(r, t), one for each token")
    if mask.dtype != torch.bool:
        raise ContractError(f"{asked} gave a mask of {mask.dtype}", "it is boolean: False where a token is padding")
    made = made_of(part)
    if made is not None and made.writes and tokens.space != made.writes:
        wrote = "that it writes views" if made.writes == "views" else f"that it writes {made.writes}"
        raise ContractError(
            f"{asked} labelled its tokens {tokens.space}, and its spec says {wrote}",
            "label them as its spec says, or mend the spec: whatever reads them was chosen by it",
        )
    _check_width(asked, values.shape[-1], tokens.space)


def _check_width(asked: str, width: int, space: str) -> None:
    """Check that vectors are as wide as the space that they are said to be in."""
    try:
        dim = Space.parse(space).dim
    except (ValueError, TypeError):  # parts that were put together by hand may call their spaces what they like
        return
    if width != dim:
        raise ContractError(
            f"{asked} gave vectors of width {width} and says that they are {space}", "a space is written name[width]"
        )


def _check_shape(gave: str, value: object, shape: tuple[int | None, ...], wanted: str) -> None:
    """Check that a value is a tensor of numbers of a shape; None stands for any length."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise ContractError(f"{gave} {_form(value)}, and the contract wants a Tensor: {wanted}")
    held = tuple(value.shape)
    fits = len(held) == len(shape) and all(b in (None, a) for a, b in zip(held, shape, strict=True))
    if not fits:
        raise ContractError(f"{gave} a Tensor of {_spelled(held)}, and the contract wants {_spelled(shape)}: {wanted}")


def _spelled(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('?' if one is None else str(one) for one in shape)}{',' if len(shape) == 1 else ''})"


def _form(value: Any) -> str:
    """Name what was handed on: its type, which is what is wrong with it."""
    return "None" if value is None else f"a {type(value).__name__}"
