"""The backbone that knows colours alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from regionkit.core.contracts import Backbone
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.baselines.configs import ColoursConfig


class Colours(Backbone):
    """Give each cell of a grid its mean colour and brightness.

    It has no weights and costs nothing. Pipelines whose decoder looks at pictures itself have it in the place of a
    backbone that never runs; others show with it what colour alone does.
    """

    space = "colours[4]"

    def __init__(self, config: ColoursConfig | None = None) -> None:
        self.config = config or ColoursConfig()

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Return the frame of a picture that is squashed until a cell is a pixel."""
        grid = (self.config.grid, self.config.grid)
        return Frame.squash(image_size, grid, grid)

    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Return patches (b, grid, grid, 4) in 0..1: red, green, blue of sRGB as it is stored, and their mean."""
        side = self.config.grid
        small = [image.convert("RGB").resize((side, side), Image.Resampling.BOX) for image in images]
        arrays = [np.asarray(picture, dtype=np.float32) / 255 for picture in small]
        colours = torch.from_numpy(np.stack(arrays)) if arrays else torch.zeros(0, side, side, 3)
        patches = torch.cat([colours, colours.mean(-1, keepdim=True)], dim=-1)
        return Features(patches, tuple(self.frame(image.size) for image in images))
