"""Options and spaces of ``clip``, and what the options of its relatives share with them; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.sizes import TEXT_SIZES, check_heads
from regionkit.plugins.patchioner.backbones.square_config import ClipText

#: Patch sizes of the models that ``clip`` knows by name. ``vit-t16`` is none that was released: towers of one's own
#: training carry this name, so that they are never taken for OpenAI's.
CLIP_PATCHES = {"vit-b16": 16, "vit-b32": 32, "vit-l14": 14, "vit-t16": 16}
#: What 0 stands for in the options of CLIP's towers; the released models have these sizes.
CLIP_SIZES = {
    "width": 768,
    "layers": 12,
    "dim": 512,
    **TEXT_SIZES,
}
#: The same of the models that have others.
CLIP_MODELS: Mapping[str, Mapping[str, int]] = {
    "vit-l14": {**CLIP_SIZES, "width": 1024, "layers": 24, "dim": 768, "text_width": 768},
}


@dataclass(frozen=True)
class ClipTowers(ClipText):
    """Sizes of CLIP's two towers; 0 is what ``SIZES`` says, those of B/16.

    Attributes:
        width: Of the vision tower; a head is 64 wide.
        layers: Blocks of the vision tower.
        dim: Of the space that both towers are projected to.
    """

    width: int = 0
    layers: int = 0
    dim: int = 0

    SIZES: ClassVar[Mapping[str, int]] = CLIP_SIZES

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return CLIP_PATCHES["vit-b16"]


@dataclass(frozen=True)
class ClipConfig(ClipTowers):
    """A CLIP model of which every patch is projected into the space of its pictures.

    Sizes of 0 are those of the named model; weights bring theirs.

    Attributes:
        model: ``vit-b16``, ``vit-b32`` or ``vit-l14`` as OpenAI released them, or ``vit-t16``, a smaller one of one's
            own training (recipe ``contrast``); it names the spaces.
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch; the paper takes 224 and, for
            B/16, 592. Learned positions are resampled to it.
        width: Of the vision tower.
        heads: Of a block of the vision tower; 0 for as many as are 64 wide, which is what all released models have.
    """

    model: Literal["vit-b16", "vit-b32", "vit-l14", "vit-t16"] = "vit-b16"
    resolution: int = 224
    batch: int = 16
    heads: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self, self.heads)

    def size(self, name: str) -> int:
        """Return a size of the architecture: the option, or what the named model has."""
        value: int = getattr(self, name)
        return value or CLIP_MODELS.get(self.model, self.SIZES)[name]

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return CLIP_PATCHES[self.model]

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        dim = self.size("dim")
        return f"clip-{self.model}/image[{dim}]", f"clip-{self.model}/text[{dim}]"

    @property
    def block_space(self) -> str:
        """Space of what CLIP's transformer blocks hand on, which is wider than that of its pictures."""
        return f"clip-{self.model}/blocks[{self.size('width')}]"
