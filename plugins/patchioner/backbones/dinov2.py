"""DINOv2 with registers, and the attention map of its class token, as several backbones of this folder share them."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import linear

from regionkit.plugins.patchioner.backbones.dinov2_config import Dinov2Config
from regionkit.plugins.patchioner.backbones.preprocessing import IMAGENET_PIXELS
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.backbones.vit import ViTBackbone, vision_transformer

Config = TypeVar("Config", bound=Dinov2Config)


class Dinov2Backbone(ViTBackbone[Config]):
    """DINOv2 with registers for pictures, and a text tower.

    The attention map is that of the class token in the last block, its logits averaged over heads before the softmax,
    over patches alone.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    text_dim = "text_dim"
    pixels = IMAGENET_PIXELS
    position_prefix = 0

    @staticmethod
    def vision_tower(config: Dinov2Config) -> VisionTransformer:
        """Make DINOv2 with registers."""
        return dinov2_tower(config)

    def seen(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return all tokens (b, n, width) after the last norm, class token and registers first, and the attention map.

        Args:
            pixels: (b, 3, side, side), preprocessed.

        Returns:
            The tokens, and how the class token weighs the patches, (b, patches), rows summing to 1.
        """
        tokens = self.embed(pixels)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        return self.vision.norm(self.blocks[-1](tokens)), self.attention(tokens)

    def attention(self, tokens: Tensor) -> Tensor:
        """Return how the class token weighs the patches in the last block, (b, patches), rows summing to 1.

        Args:
            tokens: (b, n, width) that enter the last block.
        """
        return block_attention(self.blocks[-1], tokens, self.vision.num_prefix_tokens, self.config.averaged_heads)


def dinov2_tower(config: Dinov2Config) -> VisionTransformer:
    """Make DINOv2 with registers, untrained, at the options' patch, width, layers and registers."""
    return vision_transformer(
        img_size=config.resolution,
        patch_size=config.size("patch"),
        embed_dim=config.size("width"),
        depth=config.size("layers"),
        num_classes=0,
        init_values=1e-5,
        reg_tokens=config.size("registers"),
        no_embed_class=True,
    )


def block_attention(block: Any, tokens: Tensor, prefix: int, heads: int) -> Tensor:
    """Return how the class token weighs the patches in a transformer block, (b, patches), rows summing to 1.

    Args:
        block: A block of timm, with ``norm1`` and ``attn.qkv``.
        tokens: (b, n, width) that enter it, the class token first.
        prefix: Tokens in front that belong to no patch.
        heads: How many heads the logits are averaged over, see :func:`class_attention`.
    """
    with torch.autocast(tokens.device.type, enabled=False):  # logits are made in float32 also where the rest is not
        normed = block.norm1(tokens.float() if block.norm1.weight.dtype == torch.float32 else tokens).float()
        weight, bias = block.attn.qkv.weight.float(), block.attn.qkv.bias.float()
        width = normed.shape[-1]
        query = linear(normed[:, 0], weight[:width], bias[:width])
        # <q, W x + b> = <W^T q, x> + <q, b>: the keys are never made, and what is the same for all patches leaves the
        # softmax.
        direction = query @ weight[width : 2 * width]
        return class_attention(direction, normed[:, prefix:], heads)


def class_attention(query: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Return softmax over patches of the mean over heads of the class token's logits.

    The mean over heads of ``0.125 <q_h, k_h>`` is ``0.125 / heads <q, k>`` over the whole width: heads are nothing but
    a temperature here. 0.125 is 1 / sqrt(64), the width of a head in all DINOv2 models, also where the released code
    counts 16 heads instead of 12.

    Args:
        query: (b, d) of the class token, all heads side by side.
        keys: (b, n, d) of the patches.
        heads: How many heads the logits are averaged over.
    """
    logits = torch.einsum("bd,bnd->bn", query, keys) * (HEAD_WIDTH**-0.5 / heads)
    weights: Tensor = logits.softmax(dim=-1)
    return weights
