"""Options and spaces of ``dinov2-talk2dino``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from regionkit.plugins.patchioner.backbones.dinov2_config import Dinov2Config
from regionkit.plugins.patchioner.backbones.sizes import TEXT_SIZES

#: What 0 stands for in the options of Talk2DINO: DINOv2 ViT-B/14 with the text tower of CLIP B/16.
TALK2DINO_SIZES = {
    "patch": 14,
    "width": 768,
    "layers": 12,
    "registers": 4,
    "text_dim": 512,
    **TEXT_SIZES,
}


@dataclass(frozen=True)
class Talk2DinoConfig(Dinov2Config):
    """DINOv2 with registers, and CLIP's text tower projected into the space of its patches.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        attention_heads: Heads over which the logits of the attention map are averaged: the more, the flatter the map.
            0 is the model's own number (12) in compat ``paper`` and 16 in compat ``reference``.
        compat: ``reference`` keeps what the released code does: 16 heads, and with ``fit: crop`` its way of mapping
            regions (``regionkit.core.frames.Frame.resize_crop``).
        width: Of DINOv2, and of both spaces; a head is 64 wide.
        text_dim: Of CLIP's text features, which Talk2DINO projects.
    """

    SIZES: ClassVar[Mapping[str, int]] = TALK2DINO_SIZES

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        name, width = f"talk2dino-vit-b{self.size('patch')}", self.size("width")
        return f"{name}/image[{width}]", f"{name}/text[{width}]"

    @property
    def block_space(self) -> str:
        """Space of what DINOv2's transformer blocks hand on, before the last norm."""
        return f"talk2dino-vit-b{self.size('patch')}/blocks[{self.size('width')}]"
