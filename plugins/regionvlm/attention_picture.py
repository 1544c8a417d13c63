"""An attention map as a picture: where the queries look, laid over the image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from regionkit.core.drawing import COLOURS
from regionkit.core.errors import FeatureError
from regionkit.core.frames import Frame

#: How much of the image the strongest place hides.
_OPACITY = 0.75


def attention_picture(image: Image.Image, weights: Tensor, frame: Frame, colour: str = COLOURS[3]) -> Image.Image:
    """Lay a map of the patch grid over the image; its largest value is the strongest colour.

    Args:
        image: The original image.
        weights: (h, w), not negative, such as one map of :meth:`RegionEncoder.attention`.
        frame: What preprocessing did to the image. What its crop cut away stays as it is.
        colour: As Pillow names colours.

    Returns:
        An RGB picture of the size of ``image``.

    Raises:
        FeatureError: The map has another shape than the frame's grid, or values that are negative or not finite.
    """
    values = weights.detach().cpu().double().numpy()
    if values.shape != frame.grid or not np.isfinite(values).all() or (values < 0).any():
        raise FeatureError(
            f"an attention map of {frame.grid[0]} x {frame.grid[1]} finite weights is expected, this one is "
            f"{tuple(values.shape)}, or holds others",
            "take one map of RegionEncoder.attention, with the frame of its own image",
        )
    heat = Image.fromarray((values / max(values.max(), np.finfo(float).tiny)).astype(np.float32))
    sides = list(zip(frame.size, frame.offset, frame.scale, strict=True))
    left, top = (round(cut / scale) for _, cut, scale in sides)
    right, bottom = (round((size + cut) / scale) for size, cut, scale in sides)
    shown = heat.resize((max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BILINEAR)
    whole = Image.new("F", image.size)
    whole.paste(shown, (left, top))
    opacity = np.asarray(whole)[..., None].clip(0, 1) * _OPACITY
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    mixed = pixels * (1 - opacity) + np.array(ImageColor.getrgb(colour)[:3]) * opacity
    return Image.fromarray(mixed.round().astype(np.uint8))
