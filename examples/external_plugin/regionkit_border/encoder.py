"""A region's rim: what it touches rather than what it holds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from regionkit.core.contracts import RegionEncoder
from regionkit.core.features import RegionTokens, Scene
from regionkit.core.geometry import patch_weights
from regionkit.core.regions import Regions
from regionkit.core.spec import STILL_REGIONS
from regionkit_border.configs import BorderConfig


class Border(RegionEncoder):
    """Average the patches along a region's rim, by the share of each that the region covers."""

    accepts = STILL_REGIONS

    def __init__(self, config: BorderConfig | None = None) -> None:
        self.config = config or BorderConfig()

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d) in the backbone's space, one forward pass an image.

        Args:
            scene: b images; ``scene.features.patches`` is (b, h, w, d).
            regions: r regions in pixels of the original images; ``regions.image`` says which image each lies in.

        Raises:
            RegionError: A region is of another kind, or lies outside its image.
        """
        regions.require(self.accepts, "border")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        features, vectors = scene.features, []
        for region, image in zip(regions.items, regions.image, strict=True):
            weights = rim(patch_weights(region, features.frames[image]), self.config.width)
            rows = torch.from_numpy(weights / weights.sum()).to(features.patches)
            vectors.append(torch.einsum("hw,hwd->d", rows, features.patches[image]))
        return RegionTokens.single(torch.stack(vectors), scene.backbone.space)


def rim(weights: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return patch weights (h, w) with those set to 0 that lie deeper inside than ``width`` patches.

    What is beyond the picture is no part of any region, so a region that fills the picture has its rim at the edge.
    """
    inside = weights > 0
    for _ in range(width):
        around = np.pad(inside, 1)
        inside = inside & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        if not inside.any():
            break
    return np.where(inside, 0.0, weights)
