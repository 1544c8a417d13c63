"""Options and spaces of ``regionclip``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.resnet_config import ResNetTowers, sizes_of

#: What 0 stands for in the options of RegionCLIP: ResNet-50 as CLIP modified it, with the text tower of CLIP RN50.
REGIONCLIP_SIZES = sizes_of(64, (3, 4, 6, 3), 1024, 512)


@dataclass(frozen=True)
class RegionClipConfig(ResNetTowers):
    """RegionCLIP's ResNet-50, every place of its last stage projected into the space of CLIP RN50's texts.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        spatial: How a place of the last stage becomes a patch: ``attnpool`` lets every place ask in CLIP's attention
            pool, as the class token does; ``projection`` puts each through the pool's last projection alone, without
            attention or positions, and its space has another name. Class tokens are the same in both.
        resolution: Side of the preprocessed picture in pixels, a multiple of 32. Learned positions are resampled to it.
    """

    spatial: Literal["attnpool", "projection"] = "attnpool"  # use_attnpool_for_spatial_feats of the released preset
    resolution: int = 512  # 16 x 16 patches: the released preset

    SIZES: ClassVar[Mapping[str, int]] = REGIONCLIP_SIZES

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        way, dim = "" if self.spatial == "attnpool" else f"-{self.spatial}", self.size("dim")
        return f"regionclip-rn50{way}/image[{dim}]", f"regionclip-rn50/text[{dim}]"
