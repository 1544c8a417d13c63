"""AlphaCLIP: a mask beside the picture says what is asked about.

Sun et al., Alpha-CLIP: A CLIP Model Focusing on Wherever You Want, CVPR 2024 (arXiv 2312.03818); read as Patch-ioner
(arXiv 2510.02898) reads it, every token of the last layer projected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from regionkit.core.batch_sizes import batches_that_fit, named
from regionkit.core.features import Features
from regionkit.core.images import check_masks
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES
from regionkit.plugins.patchioner.backbones.clip_vit import ClipViT


class AlphaClip(ClipViT[AlphaClipConfig]):
    """CLIP B/16 whose patch embedding is a sum over the picture's three channels and the mask's one.

    Without a mask all of the picture is asked about. Nothing is normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "alphaclip"
    architecture = tuple(CLIP_SIZES)

    @staticmethod
    def vision_tower(config: Any) -> VisionTransformer:
        """Make CLIP's vision transformer with the embedding of masks beside that of pictures."""
        vision = ClipViT.vision_tower(config)
        vision.conv1_alpha = nn.Conv2d(1, config.size("width"), config.patch, config.patch, bias=False)
        return vision

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block, where all of each picture is asked about."""
        return self.embed_masked(pixels, pixels.new_ones(len(pixels), 1, *pixels.shape[2:]))

    def embed_masked(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Return the tokens that enter the first block, the class token first.

        Args:
            pixels: (b, 3, side, side), preprocessed.
            masks: (b, 1, side, side) in 0..1, as the preprocessed picture shows them.
        """
        mean, deviation = self.config.alpha
        alpha = self.vision.conv1_alpha((masks - mean) / deviation)
        patches = self.vision.patch_embed(pixels) + alpha.flatten(2).transpose(1, 2)
        tokens: Tensor = self.vision.norm_pre(self.vision._pos_embed(patches))  # see ViTBackbone.embed
        return tokens

    @torch.no_grad()
    def encode_masked(self, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
        """Encode b pictures with b masks, ``config.batch`` at a time; nothing is normalised.

        A mask is brought to the preprocessed picture as AlphaCLIP's own code does: bilinear, its edges soft.

        Raises:
            FeatureError: A mask is no array of truth values of its picture's size.
        """
        check_masks(images, masks)
        weight = self.vision.conv1_alpha.weight
        parts = []
        size, default = named(self.config, "batch"), self.config.batch
        batches = batches_that_fit(self, len(images), size, default=default, device=weight.device, key="masked")
        for part in batches if images else [slice(0, 0)]:
            pixels, frames = self.preprocess(images[part])
            alpha = self.preprocessing.masks(masks[part])
            parts.append(self.projected(self.embed_masked(pixels.to(weight), alpha.to(weight)), frames))
        return Features.cat(parts)
