"""DenseCLIP: CLIP B/16 fine-tuned by matching pixels with text, every token projected into the space of pictures.

Rao et al., DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting, CVPR 2022; read as Patch-ioner
(arXiv 2510.02898) reads it: the vision tower and the text tower alone, without the segmentation model around them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import WeightArtifact
from regionkit.core.weights import WeightHeader
from regionkit.plugins.patchioner.backbones.clip_vit import ClipViT
from regionkit.plugins.patchioner.backbones.denseclip_config import (
    DENSECLIP_SIZES,
    DenseClipConfig,
    denseclip_blocks,
    denseclip_spaces,
)
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class DenseClip(ClipViT[DenseClipConfig]):
    """DenseCLIP's towers; patches and class token as they leave the projection, sentences as unit vectors.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    architecture = tuple(DENSECLIP_SIZES)

    def __init__(self, config: DenseClipConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.space, self.text_space = denseclip_spaces(config)
        self.block_space = denseclip_blocks(config)

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

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        header = WeightHeader(
            "backbone",
            "denseclip",
            self.space,
            config={name: self.config.size(name) for name in self.architecture},
            extra={"tokenizer": self.tokenizer.to_extra()},
        )
        return WeightArtifact({**self.state_dict(), **self.tokenizer.to_tensors()}, header)
