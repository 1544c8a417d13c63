"""Options of ``alpha-mask``; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AlphaMaskConfig:
    """How a region becomes a mask beside its picture, and the two together one vector.

    Attributes:
        token: ``cls``, the class token of the picture with its mask, or ``patches``, the mean of its patches, each
            weighed by the share of it that the mask covers.
        points: What a point, or a point of a trace, marks: the ``patch`` that it lies in, or its ``pixel`` alone.
            ``auto`` is ``patch`` in compat ``paper`` and ``pixel`` in compat ``reference``. A pixel is less than half a
            percent of a patch, and next to nothing to a network that was trained with the masks of whole things.
        batch: Pairs of picture and mask that are kept in memory at once; results never depend on it.
        compat: ``reference`` draws masks as the released code does, in the pixels of the preprocessed picture: a box
            from floor(x) to floor(x + w), its end left out. With ``token: patches`` it does the same by patches, all of
            which count alike. Where its rounding leaves nothing the pixel or patch that the box starts in is taken.
    """

    token: Literal["cls", "patches"] = "cls"  # use_cls_for_localized_captions of the released preset
    points: Literal["auto", "patch", "pixel"] = "auto"
    batch: int = 16
    compat: Literal["paper", "reference"] = "paper"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch: {self.batch} must be 1 or more")

    @property
    def marks_patches(self) -> bool:
        """Whether a point marks the patch that it lies in."""
        return self.points == "patch" or (self.points == "auto" and self.compat == "paper")
