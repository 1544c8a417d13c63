"""Options of backbones on CLIP's modified ResNet, as several of this folder share them; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regionkit.plugins.patchioner.backbones.sizes import MOST_LAYERS, TEXT_SIZES
from regionkit.plugins.patchioner.backbones.square_config import ClipText

#: Pixels of the preprocessed picture along a side of what the last stage makes of it.
STRIDE = 32
#: The last stage is so many times wider than the stem.
LAST_STAGE = 32


def sizes_of(channels: int, stages: tuple[int, int, int, int], dim: int, text_width: int) -> Mapping[str, int]:
    """Return the sizes of both towers of a CLIP with a ResNet; all of its text towers have twelve blocks."""
    blocks = {f"stage{number}": count for number, count in enumerate(stages, 1)}
    return {"channels": channels, **blocks, "dim": dim, **TEXT_SIZES, "text_width": text_width}


@dataclass(frozen=True)
class ResNetTowers(ClipText):
    """Sizes of CLIP's modified ResNet, its attention pool and its text tower; 0 is what ``SIZES`` says.

    Attributes:
        channels: Of the stem's output, a multiple of 8; the last stage has 32 times as many, in heads of 64.
        stage1: Blocks of the first stage.
        stage2: Blocks of the second stage.
        stage3: Blocks of the third stage.
        stage4: Blocks of the fourth stage.
        dim: Of the space that both towers are projected to.
    """

    channels: int = 0
    stage1: int = 0
    stage2: int = 0
    stage3: int = 0
    stage4: int = 0
    dim: int = 0

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
