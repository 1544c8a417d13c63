"""RegionCLIP: CLIP's modified ResNet-50, pretrained on pairs of regions and descriptions; every place projected.

Zhong et al., RegionCLIP: Region-based Language-Image Pretraining, CVPR 2022; read as Patch-ioner (arXiv 2510.02898)
reads it: the attention pool is asked by every place of the last stage, and all vectors are unit vectors.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.regionclip_config import REGIONCLIP_SIZES, RegionClipConfig
from regionkit.plugins.patchioner.backbones.resnet import ModifiedResNet, flat


class RegionClip(ModifiedResNet[RegionClipConfig]):
    """RegionCLIP's trunk and attention pool for pictures, unit vectors; its CLIP text tower for sentences, as they are.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "regionclip"
    architecture = tuple(REGIONCLIP_SIZES)

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim) and class tokens (b, dim), unit vectors, of pixels (b, 3, side, side)."""
        places = self.vision.forward_features(pixels)
        tokens = self.vision.head(places)
        patches = tokens[:, 1:]
        if self.config.spatial == "projection":
            patches = self.vision.head.proj(flat(places))
        return Features(self.grid_of(normalize(patches, dim=-1)), frames, normalize(tokens[:, 0], dim=-1))
