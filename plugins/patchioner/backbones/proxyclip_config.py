"""Options and spaces of ``proxyclip``; torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES, ClipTowers
from regionkit.plugins.patchioner.backbones.sizes import check_heads

#: Side of a patch of CLIP B/16, whose values are proxied.
CLIP_PATCH = 16
#: What 0 stands for in the options: CLIP B/16 and a ViT-B.
PROXYCLIP_SIZES = {**CLIP_SIZES, "vfm_width": 768, "vfm_layers": 12}


@dataclass(frozen=True, slots=True)
class Vfm:
    """A vision foundation model whose patches say which places belong together.

    Attributes:
        patch: Side of a patch in pixels.
        resolution: At which the paper takes it; 37 x 37 patches both.
        registers: Register tokens.
        scale: Whether its blocks scale what they add.
    """

    patch: int
    resolution: int
    registers: int
    scale: bool


VFMS = {"dino-b8": Vfm(8, 296, 0, False), "dinov2-b14": Vfm(14, 518, 4, True)}


@dataclass(frozen=True)
class ProxyClipConfig(ClipTowers):
    """CLIP B/16 whose last values are gathered where the patches of another model are alike.

    Sizes of 0 are those of the release; weights bring theirs. Where an option is ``auto``, ``compat`` decides.

    Attributes:
        vfm: ``dino-b8`` (DINO ViT-B/8) or ``dinov2-b14`` (DINOv2 ViT-B/14 with registers), which names the space of
            pictures.
        resolution: Side of the preprocessed picture in pixels, a multiple of that model's patch; 0 is 296 for
            ``dino-b8`` and 518 for ``dinov2-b14``. CLIP sees the same pixels but for a rim beyond its last whole patch.
        beta: How many times the mean similarity a similarity has to exceed to count.
        gamma: Sharpness of the softmax over what counts.
        similarity_mean: Over what the mean similarity is taken: ``image``, each picture's own; ``batch``, all pictures
            that go through the network together, so that the features of a picture depend on its batch mates and on
            ``batch``, as the released code does. ``auto`` is ``image`` in compat ``paper``, ``batch`` in ``reference``.
        pixels: ``own`` normalises pixels for each of the two towers as it was trained; ``imagenet`` gives CLIP those of
            the other one, as the released code does. ``auto`` is ``own`` in compat ``paper``, ``imagenet`` in
            ``reference``.
        batch: Pictures that go through the network at once.
        compat: ``reference`` also resamples the learned positions of CLIP and DINO as their code does, with a scale
            that is a tenth of a patch too large; and with ``fit: crop`` it says how regions are mapped, see
            ``regionkit.core.frames.Frame.resize_crop``.
        width: Of CLIP's vision tower.
        heads: Of its blocks; 0 for as many as are 64 wide. The proxied attention is the same for all of them.
        layers: Its blocks.
        dim: Of the space that both towers of CLIP are projected to.
        vfm_width: Of the other model; a head is 64 wide.
        vfm_layers: Its blocks.
    """

    vfm: Literal["dino-b8", "dinov2-b14"] = "dino-b8"
    resolution: int = 0
    beta: float = 1.2  # ProxyCLIP, and the released code
    gamma: float = 3.0  # the same
    similarity_mean: Literal["auto", "image", "batch"] = "auto"
    pixels: Literal["auto", "own", "imagenet"] = "auto"
    heads: int = 0
    vfm_width: int = 0
    vfm_layers: int = 0

    SIZES: ClassVar[Mapping[str, int]] = PROXYCLIP_SIZES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < CLIP_PATCH:
            raise ValueError(f"resolution: {self.resolution} has no whole patch of CLIP, {CLIP_PATCH} pixels")
        check_heads(self, self.heads)
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta: {self.beta} must be 0 or more")
        if not 0 < self.gamma < math.inf:
            raise ValueError(f"gamma: {self.gamma} must be more than 0")

    @property
    def patch(self) -> int:
        """Side of a patch of the other model, whose grid is that of the features."""
        return VFMS[self.vfm].patch

    @property
    def side(self) -> int:
        """Side of the preprocessed picture in pixels."""
        return self.resolution or VFMS[self.vfm].resolution

    @property
    def whole_batch(self) -> bool:
        """Whether the mean similarity is that of all pictures that go through the network together."""
        return self.similarity_mean == "batch" or (self.similarity_mean == "auto" and self.compat == "reference")

    @property
    def own_pixels(self) -> bool:
        """Whether CLIP gets pixels as it was trained with."""
        return self.pixels == "own" or (self.pixels == "auto" and self.compat == "paper")

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and that of sentences, which is CLIP's own: its decoders and banks fit."""
        dim = self.size("dim")
        return f"proxyclip-{self.vfm}/image[{dim}]", f"clip-vit-b16/text[{dim}]"
