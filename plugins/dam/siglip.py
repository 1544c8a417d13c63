"""The vision tower of SigLIP as a backbone whose blocks are exposed (Zhai et al., arXiv 2303.15343)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from regionkit.core.contracts import Backbone, BuildContext, WeightArtifact, iter_batches
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.stored import drawn_from, with_memory
from regionkit.core.vision.siglip_tower import TowerSizes, at_grid, blocks_of, states_of, vision_tower
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.dam.configs import SIGLIP_SIZES, SiglipConfig, siglip_ports


class Siglip(nn.Module, Backbone):
    """SigLIP's patches after all blocks and the closing LayerNorm; no class token, no pooling head, no text tower.

    Pictures are squashed to a square by Pillow's bicubic filter and scaled to -1..1, which is what the released models
    were trained on; torchvision's filter differs from it by up to 0.09.

    Args:
        config: Options and sizes.
    """

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.config = config
        ports = siglip_ports(config)
        assert ports.writes is not None
        self.space, self.block_space = ports.writes.space, ports.blocks
        self.vision = vision_tower(TowerSizes(**{name: config.size(name) for name in SIGLIP_SIZES}), head=False)

    @classmethod
    def build(cls, config: SiglipConfig, context: BuildContext) -> Self:
        """Make the tower with the weights of the context; without any it starts from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged or of other sizes than the options say.
        """
        file = context.weights
        if file is None:
            with drawn_from(context.seed):
                return cls(config).eval()
        backbone = with_memory(cls.skeleton(config))
        load_into(backbone, at_grid(file.tensors(), config.grid), file.path)
        return backbone.eval()

    @classmethod
    def skeleton(cls, config: SiglipConfig) -> Self:
        """Return the tower without memory for its weights, to hold the names and shapes of a checkpoint against."""
        with torch.device("meta"):
            return cls(config)

    def artifact(self) -> WeightArtifact:
        """Return the weights with the sizes that they are of."""
        sizes: dict[str, Any] = {name: self.config.size(name) for name in SIGLIP_SIZES}
        header = WeightHeader("backbone", "siglip", self.space, config={"model": self.config.model, **sizes})
        return WeightArtifact(self.state_dict(), header)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks, in order."""
        return blocks_of(self.vision)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block: patches and their positions, row-major."""
        tokens: Tensor = self.vision.embeddings(pixels)
        return tokens

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe the squash of a picture of (width, height) pixels."""
        side, grid = self.config.grid * self.config.size("patch"), self.config.grid
        if side == self.config.size("resolution"):
            return Frame.squash(image_size, (side, side), (grid, grid))
        # Pixels beyond the last whole patch are not seen: the patches cover only this much of the squashed picture.
        whole = self.config.size("resolution")
        return Frame(image_size, (side, side), (whole / image_size[0], whole / image_size[1]), (0.0, 0.0), (grid, grid))

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return pixels (b, 3, resolution, resolution) in -1..1 and the frames."""
        side = self.config.size("resolution")
        frames = tuple(self.frame(image.size) for image in images)
        if not images:
            return torch.zeros(0, 3, side, side), frames
        square = [image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for image in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in square]))
        return ((pixels.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous(), frames

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode pictures, ``config.batch`` at a time; nothing is normalised beyond the closing LayerNorm."""
        weight, grid = self.vision.post_layernorm.weight, self.config.grid
        parts = []
        for part in iter_batches(len(images), self.config.batch) if images else [slice(0, 0)]:
            pixels, frames = self.preprocess(images[part])
            patches = states_of(self.vision, pixels.to(weight))
            parts.append(Features(patches.reshape(len(patches), grid, grid, len(weight)), frames))
        return Features.cat(parts)
