"""Talk2DINO: sentences of CLIP brought into the space of DINOv2's patches.

Barsellotti et al., Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for Open-Vocabulary
Segmentation, arXiv 2411.19331; the backbone of Patch-ioner's main rows (arXiv 2510.02898).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear

from regionkit.core.contracts import WeightArtifact
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.weights import WeightHeader
from regionkit.plugins.patchioner.backbones.preprocessing import IMAGENET_PIXELS
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH, VitConfig
from regionkit.plugins.patchioner.backbones.talk2dino_config import (
    TALK2DINO_SIZES,
    Talk2DinoConfig,
    talk2dino_blocks,
    talk2dino_spaces,
)
from regionkit.plugins.patchioner.backbones.vit import ViTBackbone, vision_transformer
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class TextProjection(nn.Module):
    """Two linear layers with tanh between them, under the names that official checkpoints give them.

    Args:
        inputs: Width of CLIP's text features.
        outputs: Width of DINOv2's patches.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(inputs, outputs)
        self.hidden_layers = nn.ModuleList([nn.Linear(outputs, outputs)])

    def forward(self, texts: Tensor) -> Tensor:
        """Project text features (n, inputs) as CLIP gives them to (n, outputs), in float32.

        They must not be normalised before: tanh makes of a unit vector another sentence.
        """
        first, second = self.linear_layer, self.hidden_layers[0]
        assert isinstance(second, nn.Linear)
        hidden = linear(texts.float(), first.weight.float(), first.bias.float()).tanh()
        return linear(hidden, second.weight.float(), second.bias.float())


class Talk2Dino(ViTBackbone[Talk2DinoConfig]):
    """DINOv2 with registers for pictures, CLIP's text tower and a projection for sentences; nothing is normalised.

    The attention map is that of the class token in the last block, its logits averaged over heads before the softmax,
    over patches alone.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    architecture = tuple(TALK2DINO_SIZES)
    text_dim = "text_dim"
    pixels = IMAGENET_PIXELS
    position_prefix = 0

    def __init__(self, config: Talk2DinoConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.projection = TextProjection(config.size("text_dim"), config.size("width"))
        self.space, self.text_space = talk2dino_spaces(config)
        self.block_space = talk2dino_blocks(config)

    @staticmethod
    def vision_tower(config: Talk2DinoConfig) -> VisionTransformer:
        """Make DINOv2 with registers."""
        return dinov2_tower(config)

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, width), class tokens (b, width) and attention (b, h, w) of pixels (b, 3, s, s)."""
        tokens = self.embed(pixels)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        attention = self.attention(tokens)
        last = self.vision.norm(self.blocks[-1](tokens))
        prefix = self.vision.num_prefix_tokens
        return Features(self.grid_of(last[:, prefix:]), frames, last[:, 0], self.grid_of(attention))

    def attention(self, tokens: Tensor) -> Tensor:
        """Return how the class token weighs the patches in the last block, (b, patches), rows summing to 1.

        Args:
            tokens: (b, n, width) that enter the last block.
        """
        return block_attention(self.blocks[-1], tokens, self.vision.num_prefix_tokens, self.config.heads)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, width), float32, not normalised.

        What is beyond the context of CLIP's text tower is cut, the end token kept.
        """
        with torch.no_grad():
            vectors: Tensor = self.projection(self.clip_texts(texts))
        return vectors

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        header = WeightHeader(
            "backbone",
            "dinov2-talk2dino",
            self.space,
            config={name: self.config.size(name) for name in self.architecture},
            extra={"tokenizer": self.tokenizer.to_extra()},
        )
        return WeightArtifact({**self.state_dict(), **self.tokenizer.to_tensors()}, header)


def dinov2_tower(config: VitConfig) -> VisionTransformer:
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
    normed = block.norm1(tokens).float()
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
