"""The vision tower of CLIP with every token projected, as several backbones of this folder share it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS
from regionkit.plugins.patchioner.backbones.square import Config
from regionkit.plugins.patchioner.backbones.vit import ViTBackbone, vision_transformer


class ClipViT(ViTBackbone[Config]):
    """A vision transformer of CLIP, all of whose tokens go through its last norm and projection, and a text tower.

    Args:
        config: Options and sizes, ``width``, ``layers``, ``dim`` and ``patch`` among them.
        tokenizer: Of the text tower.
    """

    text_dim = "dim"
    pixels = CLIP_PIXELS
    position_prefix = 1

    @staticmethod
    def vision_tower(config: Any) -> VisionTransformer:
        """Make the vision transformer; its head projects into the space."""
        return clip_vision(config.resolution, config.size("patch"), config)

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim) and class tokens (b, dim) of pixels (b, 3, side, side)."""
        return self.projected(self.embed(pixels), frames)

    def projected(self, tokens: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return what becomes of the tokens (b, n, width) that enter the first block."""
        for block in self.blocks:
            tokens = block(tokens)
        last = self.vision.head(self.vision.norm(tokens))
        return Features(self.grid_of(last[:, 1:]), frames, last[:, 0])

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, dim), not normalised; what is beyond the context is cut, the end token kept."""
        return self.clip_texts(texts)


def clip_vision(resolution: int, patch: int, config: Any) -> VisionTransformer:
    """Make CLIP's vision transformer, untrained; its head projects every token into the space of pictures.

    Args:
        resolution: Side of the picture in pixels; what is beyond the last whole patch is not read.
        patch: Side of a patch in pixels.
        config: Options with the sizes ``width``, ``layers`` and ``dim``; ``heads`` where it has that option, 0 being
            as many as are 64 wide.
    """
    width, heads = config.size("width"), getattr(config, "heads", 0)
    vision = vision_transformer(
        img_size=resolution,
        patch_size=patch,
        embed_dim=width,
        depth=config.size("layers"),
        num_classes=0,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer="quick_gelu",
        **({"num_heads": heads} if heads else {}),
    )
    vision.head = nn.Linear(width, config.size("dim"), bias=False)
    return vision
