"""Options and spaces of ``clip-resnet``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.resnet_config import ResNetTowers, sizes_of

#: What 0 stands for in the options of the models as OpenAI released them.
CLIP_RESNETS: Mapping[str, Mapping[str, int]] = {
    "rn50": sizes_of(64, (3, 4, 6, 3), 1024, 512),
    "rn101": sizes_of(64, (3, 4, 23, 3), 512, 512),
    "rn50x4": sizes_of(80, (4, 6, 10, 6), 640, 640),
    "rn50x16": sizes_of(96, (6, 8, 18, 8), 768, 768),
    "rn50x64": sizes_of(128, (3, 15, 36, 10), 1024, 1024),
}
#: Side in pixels of the pictures that each was trained with.
CLIP_RESNET_SIDES = {"rn50": 224, "rn101": 224, "rn50x4": 288, "rn50x16": 384, "rn50x64": 448}


@dataclass(frozen=True)
class ClipResNetConfig(ResNetTowers):
    """A CLIP model with a ResNet: the attention pool's own answer, and the value of every place, projected.

    Sizes of 0 are those of the named model; weights bring theirs.

    Attributes:
        model: ``rn50``, ``rn101``, ``rn50x4``, ``rn50x16`` or ``rn50x64`` as OpenAI released them; it names the spaces.
        resolution: Side of the preprocessed picture in pixels, a multiple of 32; 0 is that of the named model: 224, and
            288, 384 and 448 for the last three. Learned positions are resampled to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken, as OpenAI's own code does.
    """

    model: Literal["rn50", "rn101", "rn50x4", "rn50x16", "rn50x64"] = "rn50x4"

    SIZES: ClassVar[Mapping[str, int]] = CLIP_RESNETS["rn50x4"]

    def size(self, name: str) -> int:
        """Return a size of the architecture: the option, or what the named model has."""
        value: int = getattr(self, name)
        return value or CLIP_RESNETS[self.model][name]

    @property
    def side(self) -> int:
        """Side of the preprocessed picture in pixels."""
        return self.resolution or CLIP_RESNET_SIDES[self.model]

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        dim = self.size("dim")
        return f"clip-{self.model}/image[{dim}]", f"clip-{self.model}/text[{dim}]"
