"""CLIP with dense features: every token of the last layer is projected into the space of pictures.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021; read as Patch-ioner (arXiv
2510.02898) reads it: all blocks, final norm and projection on every token, nothing masked and nothing normalised.
"""

from __future__ import annotations

from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES, ClipConfig
from regionkit.plugins.patchioner.backbones.clip_vit import ClipViT


class Clip(ClipViT[ClipConfig]):
    """CLIP B/16, B/32 or L/14; patches, class token and sentences as they leave the projections, not normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "clip"
    architecture = ("model", "heads", *CLIP_SIZES)
