"""DINO.txt: a vision head on a frozen DINOv2 and a text tower, aligned for whole pictures and for patches at once.

Jose et al., DINOv2 Meets Text: A Unified Framework for Image- and Pixel-Level Vision-Language Alignment, arXiv
2412.16334; read as Patch-ioner (arXiv 2510.02898) reads it, with the second half of the text vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from timm.layers import SwiGLU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.dinotxt_config import DINOTXT_SIZES, DinoTxtConfig
from regionkit.plugins.patchioner.backbones.dinov2 import Dinov2Backbone
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

#: Everywhere but in DINOv2 itself, which has 1e-6.
_EPSILON = 1e-5
#: Tensors of the vision head.
_HEAD = "head."


class VisionHead(nn.Module):
    """Transformer blocks over all of DINOv2's tokens, and a last norm; the projection behind it is the identity.

    Attention without bias at query, key and value, SwiGLU of two thirds of four widths rounded up to 64, LayerScale.

    Args:
        width: Of the tokens.
        layers: Number of blocks.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=_EPSILON)
        self.blocks = nn.ModuleList(
            Block(
                width,
                width // HEAD_WIDTH,
                mlp_ratio=8 / 3,
                init_values=1e-5,
                act_layer=nn.SiLU,  # timm's block hands its own activation, GELU, to any MLP
                norm_layer=norm,
                mlp_layer=partial(SwiGLU, align_to=64),
            )
            for _ in range(layers)
        )
        self.norm = norm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn tokens (b, n, width), class token and registers first, into aligned ones of the same shape."""
        for block in self.blocks:
            tokens = block(tokens)
        aligned: Tensor = self.norm(tokens)
        return aligned


class DinoTxt(Dinov2Backbone[DinoTxtConfig]):
    """DINOv2 with registers and DINO.txt's vision head for pictures, its text tower for sentences; nothing normalised.

    ``cls`` is the class token. It was trained against the first half of the text vectors, the patches against the
    second: with ``text: patch`` the two are of one width and not of one alignment, and a class token is compared with
    texts as the released code of Patch-ioner does it.

    The attention map is that of the class token in the last block of DINOv2, below the head, as for Talk2DINO.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "dinotxt"
    architecture = tuple(DINOTXT_SIZES)
    text_activation = "gelu"

    def __init__(self, config: DinoTxtConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.head = VisionHead(config.size("width"), config.size("head_layers")) if config.with_head else None

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors; those of the head are left aside where there is none."""
        own = super().placed(tensors)
        return own if self.head is not None else {k: v for k, v in own.items() if not k.startswith(_HEAD)}

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, d), class tokens (b, d) and attention (b, h, w) of pixels (b, 3, side, side)."""
        tokens, attention = self.seen(pixels)
        if self.head is not None:
            tokens = self.head(tokens)
        token, patches = tokens[:, 0], tokens[:, self.vision.num_prefix_tokens :]
        if self.config.text == "both":
            whole = patches.mean(dim=1)
            patches = torch.cat([token[:, None].expand_as(patches), patches], dim=-1)
            token = torch.cat([token, whole], dim=-1)
        return Features(self.grid_of(patches), frames, token, self.grid_of(attention))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, d), not normalised: the half of the vector that the options say, or all of it.

        What is beyond the context is cut, the end token kept.
        """
        vectors, half = self.clip_texts(texts), self.config.size("width")
        if self.config.text == "both":
            return vectors
        return vectors[:, :half] if self.config.text == "global" else vectors[:, half:]
