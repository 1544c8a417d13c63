"""Options of the baselines, torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Token = Literal["auto", "cls", "mean"]

#: Pixels. Far beyond any picture that is drawn on: what is more is a slip, which Pillow would not take.
_MOST = 10_000


@dataclass(frozen=True)
class WholeConfig:
    """Options of ``whole``.

    Attributes:
        token: ``cls``, the class token; ``mean``, the mean of all patches; ``auto``, the first where there is one.
    """

    token: Token = "auto"


@dataclass(frozen=True)
class CropConfig:
    """Options of ``crop``.

    Attributes:
        fit: How a crop becomes the backbone's picture: ``centre`` scales its shorter side and cuts the middle out, so
            long boxes lose their ends (what Patch-ioner's crop rows did); ``squash`` leaves it to the backbone.
        token: As for ``whole``.
        min_side: Smallest side of a crop in pixels of the original; smaller regions are widened around their middle.
        batch_size: Crops encoded together.
    """

    fit: Literal["centre", "squash"] = "centre"
    token: Token = "auto"
    min_side: int = 1
    batch_size: int = 32

    def __post_init__(self) -> None:
        for option, value in (("min_side", self.min_side), ("batch_size", self.batch_size)):
            if value < 1:
                raise ValueError(f"{option}: {value!r} must be 1 or more")


@dataclass(frozen=True)
class DrawnConfig:
    """Options of ``drawn``.

    Attributes:
        style: ``circle``, a red ellipse in the region's bounding box; ``box``, the bounding box in red; ``blur``, all
            but the region blurred.
        token: As for ``whole``.
        width: Width of the red lines in pixels of the original picture, drawn inwards; 0 scales with the picture: a
            hundredth of its shorter side, at least one pixel.
        radius: Standard deviation of the blur, in pixels of the original picture.
        min_side: Smallest side in pixels of what is drawn around; smaller boxes are widened around their middle, so
            that a line around a point does not hide it. ``blur`` has none: it follows the region.
        batch_size: Pictures drawn and encoded together.
    """

    style: Literal["circle", "box", "blur"] = "circle"
    token: Token = "auto"
    width: int = 0
    radius: float = 10.0  # as for ``picture``
    min_side: int = 1
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.width <= _MOST:
            raise ValueError(f"width: {self.width!r} must be 0 (scales with the picture) or more, at most {_MOST}")
        _check_radius(self.radius)
        for option, value in (("min_side", self.min_side), ("batch_size", self.batch_size)):
            if value < 1:
                raise ValueError(f"{option}: {value!r} must be 1 or more")


@dataclass(frozen=True)
class PictureConfig:
    """Options of ``picture``.

    Attributes:
        style: ``whole``, the picture alone; ``crop``, the region's bounding box cut out; ``circle``, a red ellipse in
            the bounding box; ``box``, the bounding box in red; ``marked``, the region itself in red (each box of a set,
            the line of a trace), and nothing on a whole picture; ``blur``, all but the region blurred.
        width: Width of the red lines, in pixels of the original picture.
        radius: Standard deviation of the blur, in pixels of the original picture.
    """

    style: Literal["whole", "crop", "circle", "box", "marked", "blur"] = "crop"
    width: int = 10  # the released evaluation of RegionVLM
    radius: float = 10.0  # the same

    def __post_init__(self) -> None:
        if not 1 <= self.width <= _MOST:
            raise ValueError(f"width: {self.width!r} must be 1 or more, at most {_MOST}")
        _check_radius(self.radius)


@dataclass(frozen=True)
class ColoursConfig:
    """Options of ``colours``.

    Attributes:
        grid: Patches along each side of a picture.
    """

    grid: int = 14

    def __post_init__(self) -> None:
        if not 1 <= self.grid <= _MOST:
            raise ValueError(f"grid: {self.grid!r} must be 1 or more, at most {_MOST}")


def _check_radius(radius: float) -> None:
    if not (math.isfinite(radius) and 0 <= radius <= _MOST):
        raise ValueError(f"radius: {radius!r} must be 0 or more, at most {_MOST}")


@dataclass(frozen=True)
class UnbridgedConfig:
    """Options of ``none``.

    Attributes:
        normalise: Whether vectors become unit vectors, as the text embeddings in a decoder's training are.
    """

    normalise: bool = True

    @property
    def corruption(self) -> str:
        """Decoders behind no bridge are trained on clean text embeddings."""
        return "none"
