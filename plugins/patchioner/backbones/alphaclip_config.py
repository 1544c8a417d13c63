"""Options and spaces of ``alphaclip``; torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.plugins.patchioner.backbones.clip_config import ClipTowers

#: Mean and deviation of the mask's channel in training, values in 0..1.
ALPHA_VALUES = (0.5, 0.26)


@dataclass(frozen=True)
class AlphaClipConfig(ClipTowers):
    """CLIP B/16 with a fourth channel that says what is asked about, and CLIP's own text tower.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        resolution: Side of the preprocessed picture in pixels, a multiple of 16. Positions were learned at 224, and are
            resampled to any other.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken. Masks go the same way as their pictures.
        batch: Pairs of picture and mask that go through the network at once; features never depend on it.
        compat: ``reference`` hands the network masks of 0 and 1 as they are, as Patch-ioner's code does. ``paper``
            normalises them by mean 0.5 and deviation 0.26, as AlphaCLIP was trained: 1 becomes 1.923, 0 becomes -1.923.
            With ``fit: crop`` also how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``.
    """

    resolution: int = 224
    batch: int = 16

    @property
    def alpha(self) -> tuple[float, float]:
        """Mean and deviation that masks of 0 to 1 are normalised by."""
        return ALPHA_VALUES if self.compat == "paper" else (0.0, 1.0)

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures, with a mask or without, and that of sentences, which is CLIP's own."""
        dim = self.size("dim")
        return f"alphaclip-vit-b16/image[{dim}]", f"clip-vit-b16/text[{dim}]"

    @property
    def masked_space(self) -> str:
        """Space of pictures that come with masks: that of all its pictures."""
        return self.spaces()[0]

    @property
    def block_space(self) -> str:
        """Space of what its transformer blocks hand on."""
        return f"alphaclip-vit-b16/blocks[{self.size('width')}]"
