"""Options and ports of ``alphaclip``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES
from regionkit.plugins.patchioner.backbones.sizes import Sized, check_picture, check_sizes

#: Side of a patch of the model that Patch-ioner compares with.
ALPHACLIP_PATCH = 16
#: What 0 stands for: the sizes of CLIP B/16.
ALPHACLIP_SIZES = CLIP_SIZES
#: Mean and deviation of the mask's channel in training, values in 0..1.
ALPHA_VALUES = (0.5, 0.26)


@dataclass(frozen=True)
class AlphaClipConfig(Sized):
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
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        width: Of the vision tower; a head is 64 wide.
        layers: Blocks of the vision tower.
        dim: Of the space that both towers are projected to.
        text_width: Of the text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    resolution: int = 224
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 16
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    width: int = 0
    layers: int = 0
    dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    SIZES: ClassVar[Mapping[str, int]] = ALPHACLIP_SIZES

    def __post_init__(self) -> None:
        check_picture(self.resolution, self.patch, self.batch)
        check_sizes(self)

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return ALPHACLIP_PATCH

    @property
    def alpha(self) -> tuple[float, float]:
        """Mean and deviation that masks of 0 to 1 are normalised by."""
        return ALPHA_VALUES if self.compat == "paper" else (0.0, 1.0)


def alphaclip_spaces(config: AlphaClipConfig) -> tuple[str, str]:
    """Return the space of pictures, with a mask or without, and that of sentences, which is CLIP's own."""
    dim = config.size("dim")
    return f"alphaclip-vit-b16/image[{dim}]", f"clip-vit-b16/text[{dim}]"


def alphaclip_blocks(config: AlphaClipConfig) -> str:
    """Return the space of what its transformer blocks hand on."""
    return f"alphaclip-vit-b16/blocks[{config.size('width')}]"


def alphaclip_ports(config: AlphaClipConfig) -> Ports:
    """Return the spaces of ``alphaclip``."""
    image, text = alphaclip_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=alphaclip_blocks(config), masked=image)
