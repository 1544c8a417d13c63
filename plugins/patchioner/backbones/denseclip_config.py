"""Options and spaces of ``denseclip``; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.plugins.patchioner.backbones.clip_config import ClipTowers


@dataclass(frozen=True)
class DenseClipConfig(ClipTowers):
    """CLIP B/16 as DenseCLIP fine-tuned it for segmentation, with a text tower of its own.

    Sizes of 0 are those of the checkpoint with the long context, which Patch-ioner's row is made with; weights bring
    theirs.

    Attributes:
        resolution: Side of the preprocessed picture in pixels, a multiple of 16. Positions were learned at 640, and are
            resampled to any other.
        class_embedding: How often the class token's embedding is in what enters the first norm. ``once`` as in CLIP and
            as Patch-ioner's code reads these weights; ``twice`` as DenseCLIP's own code trained them. The difference
            reaches patches through attention alone.
        context: Most tokens of a text, start and end included: 77 with the long context, 13 in DenseCLIP's own release.
            What is longer loses the tokens before its end.
    """

    resolution: int = 640
    batch: int = 4
    class_embedding: Literal["once", "twice"] = "once"

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences; the text tower is not CLIP's own."""
        dim = self.size("dim")
        return f"denseclip-vit-b16/image[{dim}]", f"denseclip-vit-b16/text[{dim}]"

    @property
    def block_space(self) -> str:
        """Space of what its transformer blocks hand on."""
        return f"denseclip-vit-b16/blocks[{self.size('width')}]"
