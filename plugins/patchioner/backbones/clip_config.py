"""Options and ports of ``clip``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.sizes import TEXT_SIZES, Sized, check_picture, check_sizes

#: Patch sizes of the models that ``clip`` knows by name. ``vit-t16`` is none that was released: towers of one's own
#: training carry this name, so that they are never taken for OpenAI's.
CLIP_PATCHES = {"vit-b16": 16, "vit-b32": 32, "vit-t16": 16}
#: What 0 stands for in the options of CLIP's towers; the released models have these sizes.
CLIP_SIZES = {
    "width": 768,
    "layers": 12,
    "dim": 512,
    **TEXT_SIZES,
}


@dataclass(frozen=True)
class ClipConfig(Sized):
    """A CLIP model of which every patch is projected into the space of its pictures.

    Sizes of 0 are those of the named model; weights bring theirs.

    Attributes:
        model: ``vit-b16`` or ``vit-b32`` as OpenAI released them, or ``vit-t16``, a smaller one of one's own training
            (recipe ``contrast``); it names the spaces.
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch; the paper takes 224 and, for
            B/16, 592. Learned positions are resampled to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        compat: With ``fit: crop``, how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``.
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        width: Of the vision tower.
        heads: Of a block of the vision tower; 0 for as many as are 64 wide, which is what all released models have.
        layers: Blocks of the vision tower.
        dim: Of the space that both towers are projected to.
        text_width: Of the text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    model: Literal["vit-b16", "vit-b32", "vit-t16"] = "vit-b16"
    resolution: int = 224
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 16
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    width: int = 0
    heads: int = 0
    layers: int = 0
    dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    SIZES: ClassVar[Mapping[str, int]] = CLIP_SIZES

    def __post_init__(self) -> None:
        check_picture(self.resolution, CLIP_PATCHES[self.model], self.batch)
        check_sizes(self)
        if self.heads < 0 or (self.heads and self.size("width") % self.heads):
            raise ValueError(f"heads: {self.heads} must divide the width, {self.size('width')}, or be 0")

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return CLIP_PATCHES[self.model]


def clip_spaces(config: ClipConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences."""
    return f"clip-{config.model}/image[{config.size('dim')}]", f"clip-{config.model}/text[{config.size('dim')}]"


def clip_blocks(config: ClipConfig) -> str:
    """Return the space of what CLIP's transformer blocks hand on, which is wider than that of its pictures."""
    return f"clip-{config.model}/blocks[{config.size('width')}]"


def clip_ports(config: ClipConfig) -> Ports:
    """Return the spaces of ``clip``."""
    image, text = clip_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=clip_blocks(config))
