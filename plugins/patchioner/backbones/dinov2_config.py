"""Options that the backbones on DINOv2 with registers share; torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.backbones.square_config import ClipText

#: Attention heads that the released code of Patch-ioner takes for every model that is not a ViT-S.
REFERENCE_HEADS = 16


@dataclass(frozen=True)
class Dinov2Config(ClipText):
    """DINOv2 with registers and the attention map of its class token.

    Attributes:
        attention_heads: Heads over which the logits of the attention map are averaged: the more, the flatter the map.
            0 is the model's own number in compat ``paper`` and 16 in compat ``reference``.
        patch: Side of a patch in preprocessed pixels.
        width: Of DINOv2; a head of attention is 64 wide.
        layers: Blocks of DINOv2.
        registers: Register tokens of DINOv2.
        text_dim: Of what the text tower gives.
    """

    resolution: int = 518  # 37 x 37 patches, at which DINOv2 was trained last; all evaluations of the paper
    attention_heads: int = 0
    patch: int = 0
    width: int = 0
    layers: int = 0
    registers: int = 0
    text_dim: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention_heads < 0:
            raise ValueError(f"attention_heads: {self.attention_heads} must be 0 (as compat says) or more")

    @property
    def averaged_heads(self) -> int:
        """Heads over which the attention map is averaged."""
        own = self.size("width") // HEAD_WIDTH
        return self.attention_heads or (REFERENCE_HEADS if self.compat == "reference" else own)
