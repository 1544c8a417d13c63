"""Options and spaces of ``regionclip``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.sizes import MOST_LAYERS, TEXT_SIZES
from regionkit.plugins.patchioner.backbones.square_config import ClipText

#: Pixels of the preprocessed picture along a side of what the last stage makes of it.
STRIDE = 32
#: The last stage is so many times wider than the stem.
LAST_STAGE = 32
#: What 0 stands for in the options of RegionCLIP: ResNet-50 as CLIP modified it, with the text tower of CLIP RN50.
REGIONCLIP_SIZES = {
    "channels": 64,
    "stage1": 3,
    "stage2": 4,
    "stage3": 6,
    "stage4": 3,
    "dim": 1024,
    **TEXT_SIZES,
}


@dataclass(frozen=True)
class RegionClipConfig(ClipText):
    """RegionCLIP's ResNet-50, every place of its last stage projected into the space of CLIP RN50's texts.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        spatial: How a place of the last stage becomes a patch: ``attnpool`` lets every place ask in CLIP's attention
            pool, as the class token does; ``projection`` puts each through the pool's last projection alone, without
            attention or positions, and its space has another name. Class tokens are the same in both.
        resolution: Side of the preprocessed picture in pixels, a multiple of 32. Learned positions are resampled to it.
        channels: Of the stem's output, a multiple of 8; the last stage has 32 times as many, in heads of 64.
        stage1: Blocks of the first stage.
        stage2: Blocks of the second stage.
        stage3: Blocks of the third stage.
        stage4: Blocks of the fourth stage.
        dim: Of the space that both towers are projected to.
    """

    spatial: Literal["attnpool", "projection"] = "attnpool"  # use_attnpool_for_spatial_feats of the released preset
    resolution: int = 512  # 16 x 16 patches: the released preset
    channels: int = 0
    stage1: int = 0
    stage2: int = 0
    stage3: int = 0
    stage4: int = 0
    dim: int = 0

    SIZES: ClassVar[Mapping[str, int]] = REGIONCLIP_SIZES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels % 8:
            raise ValueError(f"channels: {self.channels} is no multiple of 8")
        for stage in range(1, 5):
            if self.size(f"stage{stage}") > MOST_LAYERS:
                raise ValueError(f"stage{stage}: {self.size(f'stage{stage}')} is more than {MOST_LAYERS}")

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return STRIDE

    @property
    def stages(self) -> tuple[int, ...]:
        """Blocks of the four stages."""
        return tuple(self.size(f"stage{stage}") for stage in range(1, 5))

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        way, dim = "" if self.spatial == "attnpool" else f"-{self.spatial}", self.size("dim")
        return f"regionclip-rn50{way}/image[{dim}]", f"regionclip-rn50/text[{dim}]"
