"""CLIP with dense features: every token of the last layer is projected into the space of pictures.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021; read as Patch-ioner (arXiv
2510.02898) reads it: all blocks, final norm and projection on every token, nothing masked and nothing normalised.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from regionkit.core.contracts import WeightArtifact
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.weights import WeightHeader
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES, ClipConfig, clip_blocks, clip_spaces
from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS
from regionkit.plugins.patchioner.backbones.vit import ViTBackbone, vision_transformer
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class Clip(ViTBackbone[ClipConfig]):
    """CLIP B/16 or B/32; patches, class token and sentences as they leave the projections, not normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    architecture = ("model", *CLIP_SIZES)
    text_dim = "dim"
    pixels = CLIP_PIXELS
    position_prefix = 1

    def __init__(self, config: ClipConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.space, self.text_space = clip_spaces(config)
        self.block_space = clip_blocks(config)

    @staticmethod
    def vision_tower(config: ClipConfig) -> VisionTransformer:
        """Make the vision transformer; its head projects into the space."""
        width = config.size("width")
        vision = vision_transformer(
            img_size=config.resolution,
            patch_size=config.patch,
            embed_dim=width,
            depth=config.size("layers"),
            num_classes=0,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
        )
        vision.head = nn.Linear(width, config.size("dim"), bias=False)
        return vision

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim) and class tokens (b, dim) of pixels (b, 3, side, side)."""
        tokens = self.embed(pixels)
        for block in self.blocks:
            tokens = block(tokens)
        projected = self.vision.head(self.vision.norm(tokens))
        return Features(self.grid_of(projected[:, 1:]), frames, projected[:, 0])

    def encode_text(self, texts: Any) -> Tensor:
        """Encode n sentences as (n, dim), not normalised; what is beyond the context is cut, the end token kept."""
        return self.clip_texts(texts)

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        options = {name: self.config.size(name) for name in CLIP_SIZES}
        header = WeightHeader(
            "backbone",
            "clip",
            self.space,
            config={"model": self.config.model, **options},
            extra={"tokenizer": self.tokenizer.to_extra()},
        )
        return WeightArtifact({**self.state_dict(), **self.tokenizer.to_tensors()}, header)
