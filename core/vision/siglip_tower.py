"""The vision tower of SigLIP, whose shape SigLIP 2 kept, with its blocks exposed.

Zhai et al., Sigmoid Loss for Language Image Pre-Training, arXiv 2303.15343; Tschannen et al., SigLIP 2, arXiv
2502.14786. Two papers meet here: one works between the blocks, the other pools every patch with the tower's own head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

#: Name of the learned positions among the weights, (patches, width).
POSITIONS = "vision.embeddings.position_embedding.weight"


@dataclass(frozen=True, slots=True)
class TowerSizes:
    """What a tower is made of.

    Attributes:
        resolution: Side of the preprocessed picture in pixels; those beyond the last whole patch are not seen.
        patch: Side of a patch in preprocessed pixels.
        width: Of the tokens.
        layers: Transformer blocks.
        heads: Attention heads of a block.
        intermediate: Hidden width of a block's feed-forward part.
    """

    resolution: int
    patch: int
    width: int
    layers: int
    heads: int
    intermediate: int


class Block(nn.Module):
    """A layer of transformers under the contract of ``Backbone.blocks``: tokens in, tokens out, no mask."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens (b, n, d) that leave the layer, for those that enter it."""
        out = self.layer(tokens, None)
        states: Tensor = out[0] if isinstance(out, tuple) else out  # transformers before 5 gave a tuple
        return states


def vision_tower(sizes: TowerSizes, *, head: bool) -> Any:
    """Make an untrained tower, a ``torch.nn.Module`` with ``embeddings``, ``encoder`` and ``post_layernorm``.

    Args:
        sizes: What it is made of.
        head: Whether it has the ``head`` that pools its patches into one vector.
    """
    config = SiglipVisionConfig(
        hidden_size=sizes.width,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        image_size=sizes.resolution,
        patch_size=sizes.patch,
    )
    config.vision_use_head = head
    model = SiglipVisionModel(config)
    return getattr(model, "vision_model", model)  # transformers before 5 had one more level


def blocks_of(tower: Any) -> list[Block]:
    """Return the transformer blocks of a tower, in order."""
    return [Block(layer) for layer in tower.encoder.layers]


def states_of(tower: Any, pixels: Tensor) -> Tensor:
    """Return the patches (b, n, width), row-major, after all blocks and the closing LayerNorm.

    Args:
        tower: A tower.
        pixels: (b, 3, resolution, resolution) in -1..1.
    """
    if not len(pixels):  # transformers cannot reshape the heads of nothing
        weight: Tensor = tower.embeddings.position_embedding.weight
        return weight.new_zeros(0, *weight.shape)
    tokens = tower.embeddings(pixels)
    for block in blocks_of(tower):
        tokens = block(tokens)
    states: Tensor = tower.post_layernorm(tokens)
    return states


def at_grid(tensors: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Return weights with their learned positions resampled to ``grid`` patches along a side, where they are others.

    Bicubic and antialiased, as timm does when it loads weights.
    """
    placed = dict(tensors)
    positions = placed.get(POSITIONS)
    if positions is not None and positions.ndim == 2 and len(positions) != grid * grid:
        placed[POSITIONS] = resample_abs_pos_embed(positions[None].float(), [grid, grid], num_prefix_tokens=0)[0]
    return placed
