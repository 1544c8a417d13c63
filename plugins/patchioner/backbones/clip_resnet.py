"""CLIP with a ResNet: its attention pool for whole pictures, and the projected value of every place as a patch.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021. The pool gives one vector
a picture. What it would gather from a place, the place's value through the last projection, is the patch: Zhou et al.,
Extract Free Dense Labels from CLIP (MaskCLIP), arXiv 2112.01071.
"""

from __future__ import annotations

from torch import Tensor

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.clip_resnet_config import CLIP_RESNETS, ClipResNetConfig
from regionkit.plugins.patchioner.backbones.resnet import ModifiedResNet, flat


class ClipResNet(ModifiedResNet[ClipResNetConfig]):
    """CLIP RN50, RN101, RN50x4, RN50x16 or RN50x64; patches, class token and sentences are not normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "clip-resnet"
    architecture = ("model", *CLIP_RESNETS["rn50x4"])

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim) and class tokens (b, dim) of pixels (b, 3, side, side).

        A class token is CLIP's embedding of the picture: the pool asked by the mean of the places, positions added. A
        patch is ``proj(v(place))``: neither attention nor, as in MaskCLIP's code, positions, which the pool adds to
        the places before it takes their values.
        """
        places, pool = self.vision.forward_features(pixels), self.vision.head
        patches = pool.proj(pool.v(flat(places)))
        return Features(self.grid_of(patches), frames, pool(places)[:, 0])
