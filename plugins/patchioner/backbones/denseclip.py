"""DenseCLIP: CLIP B/16 fine-tuned by matching pixels with text, every token projected into the space of pictures.

Rao et al., DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting, CVPR 2022; read as Patch-ioner
(arXiv 2510.02898) reads it: the vision tower and the text tower alone, without the segmentation model around them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES
from regionkit.plugins.patchioner.backbones.clip_vit import ClipViT
from regionkit.plugins.patchioner.backbones.denseclip_config import DenseClipConfig


class DenseClip(ClipViT[DenseClipConfig]):
    """DenseCLIP's towers; patches and class token as they leave the projection, sentences as unit vectors.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "denseclip"
    architecture = tuple(CLIP_SIZES)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block, the class token first."""
        if self.config.class_embedding == "once":
            return super().embed(pixels)
        placed = self.vision._pos_embed(self.vision.patch_embed(pixels))  # see ViTBackbone.embed
        first = placed[:, :1] + self.vision.cls_token
        tokens: Tensor = self.vision.norm_pre(torch.cat([first, placed[:, 1:]], dim=1))
        return tokens

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as unit vectors (n, dim), as the released code does for this model and no other.

        What is beyond the context is cut, the end token kept.
        """
        return normalize(self.clip_texts(texts), dim=-1)
