"""The tiny backbones as parts of a pipeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from regionkit.core.contracts import Backbone, BuildContext, iter_batches
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.stored import drawn_from
from regionkit.core.weights import load_into
from regionkit.plugins.mini.config import NETWORKS, PATCH, MiniBackboneConfig
from regionkit.plugins.mini.networks import MiniNetwork, to_pixels
from regionkit.plugins.mini.refusal import refuse_strangers

#: Pictures or sentences that go through a network at once.
_BATCH = 64


class MiniBackbone(nn.Module, Backbone):
    """A tiny backbone that knows the mini-world and nothing else.

    Patches are 8 pixels each, 12 x 12 over a picture of 96 x 96. Pictures are squashed to the option ``resolution``, at
    which learned places are resampled, as CLIP's are at 592 pixels in the paper of Patch-ioner.
    """

    name: ClassVar[str]

    def __init__(self, config: MiniBackboneConfig) -> None:
        """Make the network of this name, untrained."""
        super().__init__()
        self.options = config
        self.side = config.resolution
        self.network = MiniNetwork(NETWORKS[self.name])
        dim = NETWORKS[self.name].dim
        self.space, self.text_space = f"{self.name}/image[{dim}]", f"{self.name}/text[{dim}]"
        if self.network.blocks:
            self.block_space, self.prefix_tokens = f"{self.name}/blocks[{self.network.config.width}]", 1

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Transformer blocks in order; empty for a network without them."""
        return tuple(self.network.blocks)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, 1 + h w, 96) that enter the first block: the CLS token, then the patches."""
        return self.network.enter(pixels) if self.network.blocks else super().embed(pixels)

    @classmethod
    def build(cls, config: MiniBackboneConfig, context: BuildContext) -> Self:
        """Make the backbone and load its weights where there are any; without them it starts from ``context.seed``."""
        with drawn_from(context.seed):
            backbone = cls(config)
        if context.weights is not None:
            load_into(backbone.network, context.weights.tensors(), context.weights.path)
        _place_on(backbone.network, config.resolution // PATCH)
        return backbone.eval()

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe the squash to a square of patches, 8 pixels each."""
        grid = self.side // PATCH
        return Frame.squash(image_size, (self.side, self.side), (grid, grid))

    def check_images(self, images: Sequence[Image.Image]) -> None:
        """Refuse pictures that are not of the mini-world's making, unless the option ``force`` is set."""
        refuse_strangers(images, self.name, force=self.options.force)

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return pixels (b, 3, side, side) in -1..1 and the frames."""
        side = self.side
        arrays = np.array([np.asarray(_fit(image, side)) for image in images], dtype=np.uint8).reshape(
            -1, side, side, 3
        )
        return to_pixels(torch.from_numpy(arrays)), tuple(self.frame(image.size) for image in images)

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode pictures; patches and class token share one space and are not normalised."""
        pixels, frames = self.preprocess(images)
        parts = list(iter_batches(len(images), _BATCH)) or [slice(0, 0)]
        seen = [self.network(pixels[part].to(self.network.logit_scale)) for part in parts]
        batches = [
            Features(one.patches, frames[part], one.cls, one.attention) for one, part in zip(seen, parts, strict=True)
        ]
        return Features.cat(batches)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode sentences as (n, d), not normalised; words outside the mini language count as one unknown word."""
        tower = self.network.text
        device = self.network.logit_scale.device
        rows = [torch.zeros(0, self.network.config.dim, device=device)]
        for part in iter_batches(len(texts), 8 * _BATCH):
            rows.append(tower(torch.tensor(tower.ids(texts[part]), device=device)))
        return torch.cat(rows)


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Return a picture as an RGB square."""
    image = image.convert("RGB")
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BICUBIC)


def _place_on(network: MiniNetwork, grid: int) -> None:
    """Resample the learned places of patches to another grid, bicubic and antialiased as those of released ViTs are."""
    if grid == network.config.grid:
        return
    if network.place is not None:
        first, places = network.place[:1], network.place[1:]
        network.place = nn.Parameter(torch.cat([first, _resampled(places, grid)]))
    if network.reader is not None:
        network.reader.place = nn.Parameter(_resampled(network.reader.place, grid))
    network.config = replace(network.config, grid=grid)


def _resampled(places: Tensor, grid: int) -> Tensor:
    """Resample places (n, d) of a square of patches to (grid * grid, d)."""
    side = math.isqrt(len(places))
    square = places.detach().T.reshape(1, -1, side, side)
    square = interpolate(square, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return square.flatten(2)[0].T.contiguous()


class MiniClip(MiniBackbone):
    """Trained like CLIP: only the class token meets the sentence, the patches are never aligned."""

    name = "mini-clip"


class MiniMean(MiniBackbone):
    """The mean of patches that attend to each other meets the sentence."""

    name = "mini-mean"


class MiniLocal(MiniBackbone):
    """The mean of patches that only see their surroundings meets the sentence."""

    name = "mini-local"


class MiniDense(MiniBackbone):
    """Each phrase of the caption meets the patches that fit it best; stands for Talk2DINO."""

    name = "mini-dense"


class MiniVit(MiniBackbone):
    """A vision transformer whose blocks are exposed, for parts that work between them; phrases meet its patches."""

    name = "mini-vit"
