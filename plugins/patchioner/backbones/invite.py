"""INViTE: CLIP's patches kept apart, by letting every token attend to itself alone in the last blocks.

Chen et al., INViTE: INterpret and Control Vision-Language Models with Text Explanations, ICLR 2024; a row of
Patch-ioner's Table 1 (arXiv 2510.02898).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.invite_config import InviteConfig
from regionkit.plugins.patchioner.backbones.vit import Resampling
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class Alone(nn.Module):
    """A transformer block in which every token attends to itself alone.

    A softmax over one token is 1, so that attention is that token's value: ``out_proj(W_v LN1(x) + b_v)``. Residual and
    MLP stay. Queries and keys are never made.

    Args:
        block: A block of timm's vision transformer; its parameters are used, not copied.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (b, n, width), each a function of itself."""
        block: Any = self.block
        out: Tensor = tokens + block.attn.proj(values_of(block, tokens))
        out = out + block.mlp(block.norm2(out))
        return out


def values_of(block: Any, tokens: Tensor) -> Tensor:
    """Return the values (b, n, width) of a block's attention, all heads side by side: ``W_v LN1(x) + b_v``.

    Args:
        block: A block of timm's vision transformer.
        tokens: (b, n, width) that enter it.
    """
    normed, qkv = block.norm1(tokens), block.attn.qkv
    width = normed.shape[-1]
    return linear(normed, qkv.weight[2 * width :], qkv.bias[2 * width :])


class Invite(Clip):
    """CLIP B/16, B/32 or L/14 whose last blocks mix no tokens; sentences are CLIP's own.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "invite"

    def __init__(self, config: InviteConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.masked = config.masked

    @property
    def resampling(self) -> Resampling:
        """How learned positions come to another grid."""
        return "bicubic" if self.config.compat == "reference" else "antialias"

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks in order, the last ``masked`` of them without mixing."""
        blocks = list(self.vision.blocks)
        free = len(blocks) - self.masked
        return [*blocks[:free], *(Alone(block) for block in blocks[free:])]
