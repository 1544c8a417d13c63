"""Patch-ioner's aggregation: a region is a weighted mean of the patches under it (arXiv 2510.02898, section 3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regionkit.core.contracts import RegionEncoder
from regionkit.core.errors import FeatureError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.frames import Frame
from regionkit.core.geometry import Rules, box_spans, patch_parts
from regionkit.core.regions import Box, Point, Region, Regions, Trace, WholeImage
from regionkit.core.spec import STILL_REGIONS
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_weights import PatchWeights, pooled

#: From this variance on the released code leaves the Gaussian out.
_FLAT = 100.0


class PatchPool(RegionEncoder):
    """Average the patches of each region, v = sum_i w_i v_i, without another forward pass.

    Weights of a region sum to 1 (but for the two scales that ``compat: reference`` keeps). A weighting moves weight
    within a box and never from one box of a set to another; ``gaussian`` and ``central`` leave points and traces alone,
    whose counts already say where the user looked.

    Source: Bianchi et al., One Patch to Caption Them All, eq. 1 and section 3.
    """

    accepts = STILL_REGIONS

    def __init__(self, config: PatchPoolConfig | None = None) -> None:
        self.config = config = config or PatchPoolConfig()
        reference = config.compat == "reference"
        box_rule, set_weighting = config.box_rule, config.set_weighting
        self.rules = Rules(
            box_rule=box_rule if box_rule != "auto" else "reference" if reference else "intersect",
            set_weighting=set_weighting if set_weighting != "auto" else "per_box" if reference else "per_patch",
            mask_rule=config.mask_rule,
        )
        self.weighting = _effective(config)

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Pool r regions of b images, all of them in one sparse product (on a GPU one dense product an image).

        Args:
            scene: b images whose features are computed once.
            regions: r still regions in pixels of the original images.

        Returns:
            tokens (r, 1, d) in the backbone's space, in the dtype of its patches.

        Raises:
            RegionError: A region lies outside its image or is a mask track.
            FeatureError: The weighting needs a class token or an attention map that the backbone does not have.
        """
        regions.require(self.accepts, "patch-pool")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        features = scene.features
        self._check_has(features)
        weights = self._weights(features, regions)  # also for the class token: a region outside its image is refused
        if self.weighting == "cls" and features.cls is not None:
            image = torch.tensor(regions.image, device=features.cls.device)
            return RegionTokens.single(features.cls[image], scene.backbone.space)
        vectors = pooled(weights, np.array(regions.image), features.patches)
        return RegionTokens.single(vectors.to(features.patches.dtype), scene.backbone.space)

    def attention(self, scene: Scene, regions: Regions) -> Tensor:
        """Return (r, h, w): the weights of :meth:`encode`, each map scaled to a sum of 1.

        Raises:
            RegionError: As :meth:`encode`.
            FeatureError: The weighting is ``cls``, which reads no patches, or needs what the backbone does not have.
        """
        regions.require(self.accepts, "patch-pool")
        if self.weighting == "cls":
            raise FeatureError(
                "patch-pool with weighting 'cls' reads the class token alone and weighs no patches",
                "set region_encoder.weighting to uniform, gaussian, attention or central",
            )
        if not len(regions):
            grid = scene.backbone.frame(scene.images[0].size).grid if scene.images else (0, 0)
            return torch.zeros(0, *grid)
        features = scene.features
        self._check_has(features)
        weights = self.weights(features, regions)
        return torch.from_numpy(weights / weights.sum((1, 2), keepdims=True)).float()

    def weights(self, features: Features, regions: Regions) -> NDArray[np.float64]:
        """Return (r, h, w): what each patch contributes to each region."""
        if not len(regions):
            return np.zeros((0, *features.frames[0].grid))
        return self._weights(features, regions).maps(features.frames[0].grid)

    def _weights(self, features: Features, regions: Regions) -> PatchWeights:
        attention = None
        if self.weighting == "attention" and features.attention is not None:
            attention = features.attention.cpu().double().numpy()
        order: list[int] = []
        found: list[PatchWeights] = []
        boxes: dict[int, list[int]] = {}
        for row, (region, index) in enumerate(zip(regions.items, regions.image, strict=True)):
            if isinstance(region, Box) and self.rules.box_rule != "coverage":
                boxes.setdefault(index, []).append(row)
                continue
            own = None if attention is None else attention[index]
            found.append(PatchWeights.of_maps([self.region_weights(region, features.frames[index], own)]))
            order.append(row)
        for index, rows in boxes.items():
            corners = np.array([regions.items[row].corners for row in rows], dtype=np.float64)  # type: ignore[union-attr]
            own = None if attention is None else attention[index]
            found.append(self._box_weights(corners, features.frames[index], own))
            order.extend(rows)
        return PatchWeights.joined(found).taken(np.argsort(order))

    def _box_weights(
        self, boxes: NDArray[np.float64], frame: Frame, attention: NDArray[np.float64] | None
    ) -> PatchWeights:
        """Return the weights of boxes (k, 4) of one picture: what :meth:`region_weights` returns of each."""
        rule: Literal["intersect", "reference"] = "reference" if self.rules.box_rule == "reference" else "intersect"
        spans = box_spans(boxes, frame, rule)
        if self.weighting == "central":
            spans = _centres(spans)
        even = PatchWeights.of_spans(spans, frame.grid[1])
        if self.weighting == "gaussian":
            return even.shaped(_bells(spans, even, frame.grid[1], self.config.variance))
        if attention is None:
            return even
        if self.config.attention_map == "shared":
            return even.shaped(_of_shared_map(even, attention))
        return even.shaped(attention.ravel()[even.places])

    def region_weights(
        self, region: Region, frame: Frame, attention: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the weights (h, w) of one region.

        Args:
            region: A still region.
            frame: Of its image.
            attention: (h, w) map of that image, for weighting ``attention``.
        """
        parts = patch_parts(region, frame, self.rules)
        totals = parts.sum((1, 2), keepdims=True)
        shaped = parts
        if attention is not None and self._reuses_map(parts):
            shaped = _one_after_another(parts, attention)
        elif attention is not None:
            shaped = parts * attention
        elif self.weighting in ("gaussian", "central") and not isinstance(region, Point | Trace):
            shaped = np.stack([_windowed(part, self.weighting, self.config.variance) for part in parts])
        sums = shaped.sum((1, 2), keepdims=True)
        # A part in which the attention vanishes is taken uniformly.
        shaped = np.where(sums > 0, shaped / np.where(sums > 0, sums, 1), parts / totals)
        if self.config.compat == "reference" and sums.all() and _left_unnormalised(region, attention):
            shaped = shaped * (sums.sum() / (frame.grid[0] * frame.grid[1]))
        elif self.rules.set_weighting == "per_patch":
            shaped = shaped * (totals / totals.sum())  # eq. 1: every (box, patch) occurrence weighs the same
        else:
            shaped = shaped / len(parts)
        weights: NDArray[np.float64] = shaped.sum(0)
        return weights

    def _reuses_map(self, parts: NDArray[np.float64]) -> bool:
        """Say whether the boxes of a set share one attention map that each of them changes, as in the released code."""
        return self.config.compat == "reference" and self.rules.set_weighting == "per_box" and len(parts) > 1

    def _check_has(self, features: Features) -> None:
        for weighting, what in (("cls", features.cls), ("attention", features.attention)):
            if self.weighting == weighting and what is None:
                name = "a class token" if weighting == "cls" else "an attention map"
                raise FeatureError(
                    f"patch-pool with weighting '{weighting}' needs a backbone with {name}, and this one has none",
                    "set region_encoder.weighting to uniform, gaussian or central, or choose another backbone: "
                    "toolkit list-components --kind backbone",
                )


def _effective(config: PatchPoolConfig) -> str:
    """Name the weighting that a Gaussian of variance 0, or of a very large one, is in truth."""
    if config.weighting == "gaussian" and config.variance == 0:
        return "central"
    if config.weighting == "gaussian" and config.variance >= _FLAT:
        return "uniform"
    return config.weighting


def _left_unnormalised(region: Region, attention: NDArray[np.float64] | None) -> bool:
    """Say whether the released code takes a mean over all patches of the image for this region."""
    return isinstance(region, Trace) or (isinstance(region, WholeImage) and attention is not None)


def _one_after_another(parts: NDArray[np.float64], attention: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh the boxes of a set by a map that each box leaves normalised within itself, for the boxes after it.

    The released code divides a view of its map by the sum over the box. We do so on a copy for each set, so that a
    region still depends on nothing but itself.
    """
    left, shaped = attention.copy(), np.zeros_like(parts)
    for part, own in zip(parts, shaped, strict=True):
        own[:] = part * left
        if own.sum() > 0:
            left = np.where(part > 0, own / own.sum(), left)
    return shaped


def _of_shared_map(listed: PatchWeights, attention: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,): the attention that each box finds at its patches where those before it left theirs normalised."""
    left, found = attention.flatten(), np.empty(len(listed.places))
    for start, count in zip(listed.starts(), listed.counts, strict=True):
        places = listed.places[start : start + count]
        own = left[places]
        found[start : start + count] = own
        if own.sum() > 0:
            left[places] = own / own.sum()
    return found


def _centres(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the middle patch of each rectangle (k, 4), the first of two or four."""
    first, beyond = spans[:, ::2], spans[:, 1::2]
    middle = first + (beyond - first - 1) // 2
    return np.stack([middle, middle + 1], axis=2).reshape(-1, 4)


def _bells(spans: NDArray[np.int64], listed: PatchWeights, columns: int, variance: float) -> NDArray[np.float64]:
    """Return (n,): the window of :func:`_windowed` at each patch of k rectangles (k, 4), its largest value 1."""
    box, squares = listed.rows(), np.zeros(len(listed.places))
    for places, start, stop in zip(np.divmod(listed.places, columns), spans.T[::2], spans.T[1::2], strict=True):
        last = stop - start - 1
        squares += np.where(last[box] > 0, 2 * (places - start[box]) / np.maximum(last, 1)[box] - 1, -1.0) ** 2
    # Measured from the innermost patch, which changes nothing after normalising, so that the sum cannot vanish.
    squares -= np.minimum.reduceat(squares, listed.starts())[box]
    with np.errstate(over="ignore"):
        window: NDArray[np.float64] = np.exp(-squares / variance)
    return window


def _windowed(part: NDArray[np.float64], weighting: str, variance: float) -> NDArray[np.float64]:
    """Weigh the patches of a part by their place in the rectangle around it, coordinates -1..1 (a single row: -1)."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    window = np.zeros_like(part)
    inner = part[top:bottom, left:right]
    if weighting == "central":
        y, x = (np.arange(size) - (size - 1) / 2 for size in inner.shape)
        distance = np.where(inner > 0, y[:, None] ** 2 + x[None, :] ** 2, np.inf)
        # The released code draws among the four patches around an even centre; we take the first of them.
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        window[top + row, left + column] = 1
        return window
    y, x = (np.linspace(-1, 1, size) for size in inner.shape)
    radius = np.where(inner > 0, y[:, None] ** 2 + x[None, :] ** 2, np.inf)
    # Measured from the innermost patch, which changes nothing after normalising, so that the sum cannot vanish.
    with np.errstate(over="ignore"):
        window[top:bottom, left:right] = np.exp(-(radius - radius.min()) / variance) * inner
    return window
