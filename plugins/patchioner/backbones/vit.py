"""Backbones whose vision tower is a vision transformer of timm: its blocks exposed, its positions resampled."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.backbones.square import Config, SquareBackbone
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

_POSITIONS = "vision.pos_embed"
#: How learned positions come to another grid: ``antialias`` as timm does, ``bicubic`` without the filter against
#: aliasing, ``offset`` the same with a scale that is a tenth of a patch too large, as DINO's own code has it.
Resampling = Literal["antialias", "bicubic", "offset"]


class ViTBackbone(SquareBackbone[Config]):
    """A vision transformer of timm with a text tower of CLIP, as ``vision`` and ``text``.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    #: Learned positions in front that belong to no patch.
    position_prefix: ClassVar[int]
    vision: VisionTransformer

    def __init__(self, config: Config, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.prefix_tokens = self.vision.num_prefix_tokens

    @staticmethod
    @abstractmethod
    def vision_tower(config: Any) -> VisionTransformer:
        """Make the vision transformer for square pictures, untrained."""

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors, positions resampled to its grid."""
        own = super().placed(tensors)
        if _POSITIONS in own:
            own[_POSITIONS] = at_grid(own[_POSITIONS], self.preprocessing.grid, self.position_prefix, self.resampling)
        return own

    @property
    def resampling(self) -> Resampling:
        """How learned positions come to another grid."""
        return "antialias"

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks of the vision tower, in order."""
        return list(self.vision.blocks)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block; class token and registers come first."""
        # timm has no public name for this step; the class token's and the registers' places are settled in it.
        tokens: Tensor = self.vision.norm_pre(self.vision._pos_embed(self.vision.patch_embed(pixels)))
        return tokens


def at_grid(positions: Tensor, grid: int, prefix: int, how: Resampling = "antialias") -> Tensor:
    """Resample learned positions (1, prefix + n, d) to a square grid; they stay as they are where they have it.

    Args:
        positions: Positions of ``prefix`` tokens and of a square of n patches.
        grid: Patches along a side of the new grid.
        prefix: Positions in front that belong to no patch.
        how: See :data:`Resampling`; all of them are bicubic.

    Raises:
        WeightsError: The patches form no square.
    """
    side = square_side(positions.shape[1] - prefix)
    if how == "antialias":
        resampled: Tensor = resample_abs_pos_embed(positions.float(), [grid, grid], num_prefix_tokens=prefix)
        return resampled
    if side == grid:
        return positions.float()
    front, patches = positions[:, :prefix].float(), positions[:, prefix:].float()
    square = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if how == "offset":
        square = interpolate(square, scale_factor=(grid + 0.1) / side, mode="bicubic", align_corners=False)
    else:
        square = interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([front, square.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


def square_side(patches: int, source: str = "the weights") -> int:
    """Return the side of the square that learned positions of so many patches form.

    Raises:
        WeightsError: They form none.
    """
    side = math.isqrt(max(patches, 0))
    if side < 1 or side * side != patches:
        raise WeightsError(f"{source}: the learned positions belong to {patches} patches, which form no square")
    return side


def vision_transformer(**sizes: Any) -> VisionTransformer:
    """Make a vision transformer of timm as DINOv2 and CLIP share it; ``sizes`` are timm's own arguments.

    Where they do not say ``num_heads``, a head is 64 wide.
    """
    return VisionTransformer(**{"num_heads": sizes["embed_dim"] // HEAD_WIDTH, **sizes})
