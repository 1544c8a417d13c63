"""CLIP's modified ResNet with its attention pool, as several backbones of this folder share it.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import AttentionPool2d, freeze_batch_norm_2d
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import Tensor

from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS
from regionkit.plugins.patchioner.backbones.resnet_config import LAST_STAGE
from regionkit.plugins.patchioner.backbones.square import Config, SquareBackbone
from regionkit.plugins.patchioner.backbones.vit import at_grid

_POSITIONS = "vision.head.pos_embed"


class EveryToken(AttentionPool2d):  # type: ignore[misc]  # timm does not say its types
    """CLIP's attention pool with all tokens as queries: the mean of the places, then each place, row-major.

    It takes (b, c, h, w) and gives (b, 1 + h w, dim). The first token is what CLIP's own pool gives, which asks with
    the mean alone: queries do not see each other.
    """

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return all tokens of places (b, c, h, w); timm's pool cannot be asked about no picture."""
        if not len(x):
            return x.new_zeros(0, 1 + x.shape[2] * x.shape[3], self.out_features)
        tokens: Tensor = super().forward(x, pre_logits)
        return tokens

    def _pool(self, x: Tensor, H: int, W: int) -> Tensor:
        """Keep what timm's pool throws away."""
        return x


class ModifiedResNet(SquareBackbone[Config]):
    """CLIP's modified ResNet and attention pool for pictures, and a text tower; models say how places become patches.

    Batch norm is frozen: it has the statistics of the weights in every mode, and no picture knows its batch mates.

    Args:
        config: Options and sizes, ``channels``, ``stages`` and ``dim`` among them.
        tokenizer: Of the text tower.
    """

    text_dim = "dim"
    pixels = CLIP_PIXELS

    @staticmethod
    def vision_tower(config: Any) -> ByobNet:
        """Make the trunk with frozen batch norm, and the attention pool as its head."""
        return modified_resnet(config.size("channels"), config.stages, config.size("dim"), config.side // config.patch)

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors, positions resampled to its grid."""
        own = super().placed(tensors)
        if _POSITIONS in own:
            own[_POSITIONS] = at_grid(own[_POSITIONS][None], self.preprocessing.grid, 1)[0]
        return own

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, dim), not normalised; what is beyond the context is cut, the end token kept."""
        return self.clip_texts(texts)


def modified_resnet(channels: int, stages: Sequence[int], dim: int, grid: int) -> ByobNet:
    """Make CLIP's modified ResNet, untrained, with frozen batch norm and an attention pool that keeps all tokens.

    Three convolutions before the first average pool, and an average pool in front of every convolution that strides.

    Args:
        channels: Of the stem's output.
        stages: Blocks of the four stages.
        dim: Of the space that the attention pool projects to.
        grid: Places along a side of the last stage, for which the pool has positions.
    """
    blocks = tuple(
        ByoBlockCfg(type="bottle", d=depth, c=4 * channels * 2**stage, s=1 if stage == 0 else 2, br=0.25)
        for stage, depth in enumerate(stages)
    )
    trunk = ByobNet(
        ByoModelCfg(
            blocks=blocks,
            stem_chs=(channels // 2, channels // 2, channels),
            stem_type="",
            stem_pool="avg2",
            downsample="avg",
            aa_layer="avg",
        ),
        num_classes=0,
        global_pool="",
    )
    trunk = freeze_batch_norm_2d(trunk)
    trunk.head = EveryToken(LAST_STAGE * channels, feat_size=grid, out_features=dim, qkv_separate=True)
    return trunk


def flat(places: Tensor) -> Tensor:
    """Return places (b, c, h, w) as tokens (b, h w, c), row-major."""
    return places.flatten(2).transpose(1, 2)
