"""Options and ports of ``denseclip``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES
from regionkit.plugins.patchioner.backbones.sizes import Sized, check_picture, check_sizes

#: Side of a patch of the one model that was released with a vision transformer.
DENSECLIP_PATCH = 16
#: What 0 stands for: CLIP B/16 with the text tower of the long context, which Patch-ioner's row is made with.
DENSECLIP_SIZES = CLIP_SIZES


@dataclass(frozen=True)
class DenseClipConfig(Sized):
    """CLIP B/16 as DenseCLIP fine-tuned it for segmentation, with a text tower of its own.

    Sizes of 0 are those of the checkpoint with the long context; weights bring theirs.

    Attributes:
        resolution: Side of the preprocessed picture in pixels, a multiple of 16. Positions were learned at 640, and are
            resampled to any other.
        class_embedding: How often the class token's embedding is in what enters the first norm. ``once`` as in CLIP and
            as Patch-ioner's code reads these weights; ``twice`` as DenseCLIP's own code trained them. The difference
            reaches patches through attention alone.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        compat: With ``fit: crop``, how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``.
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        width: Of the vision tower; a head is 64 wide.
        layers: Blocks of the vision tower.
        dim: Of the space that both towers are projected to.
        text_width: Of the text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included: 77 with the long context, 13 in DenseCLIP's own release.
            What is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    resolution: int = 640
    class_embedding: Literal["once", "twice"] = "once"
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 4
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    width: int = 0
    layers: int = 0
    dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    SIZES: ClassVar[Mapping[str, int]] = DENSECLIP_SIZES

    def __post_init__(self) -> None:
        check_picture(self.resolution, self.patch, self.batch)
        check_sizes(self)

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return DENSECLIP_PATCH


def denseclip_spaces(config: DenseClipConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences; the text tower is not CLIP's own."""
    dim = config.size("dim")
    return f"denseclip-vit-b16/image[{dim}]", f"denseclip-vit-b16/text[{dim}]"


def denseclip_blocks(config: DenseClipConfig) -> str:
    """Return the space of what its transformer blocks hand on."""
    return f"denseclip-vit-b16/blocks[{config.size('width')}]"


def denseclip_ports(config: DenseClipConfig) -> Ports:
    """Return the spaces of ``denseclip``."""
    image, text = denseclip_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=denseclip_blocks(config))
