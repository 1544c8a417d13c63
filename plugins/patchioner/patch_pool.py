"""Patch-ioner's aggregation: a region is a weighted mean of the patches under it (arXiv 2510.02898, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from regionkit.core.contracts import RegionEncoder, iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.frames import Frame
from regionkit.core.geometry import Rules, box_spans, patch_parts
from regionkit.core.regions import Box, Point, Region, Regions, Trace, WholeImage
from regionkit.core.spec import STILL_REGIONS
from regionkit.plugins.patchioner.configs import PatchPoolConfig

#: A box whose attention sums to less is weighed in float64.
_FAINT = 1e-20
#: From this variance on the released code leaves the Gaussian out.
_FLAT = 100.0
#: Regions of one picture that are pooled in one product. Always so many, empty ones if need be: products of one shape
#: add up each row in one order, so that a region's vector does not depend on how many others are asked for.
_ROWS = 80


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
        """Pool r regions of b images, one matrix product an image.

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
        # Also for the class token: a region outside its image is refused. In the type of the products they cost half.
        weights = self._weights(features, regions, np.float32)
        if self.weighting == "cls" and features.cls is not None:
            image = torch.tensor(regions.image, device=features.cls.device)
            return RegionTokens.single(features.cls[image], scene.backbone.space)
        pooled = _products(weights, regions.image, features.patches)
        return RegionTokens.single(pooled.to(features.patches.dtype), scene.backbone.space)

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
        found: NDArray[np.float64] = self._weights(features, regions, np.float64)
        return found

    def _weights(self, features: Features, regions: Regions, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        attention = None
        if self.weighting == "attention" and features.attention is not None:
            attention = features.attention.cpu().double().numpy()
        found = np.empty((len(regions), *features.frames[0].grid), dtype)
        boxes: dict[int, list[int]] = {}
        for row, (region, index) in enumerate(zip(regions.items, regions.image, strict=True)):
            if isinstance(region, Box) and self.rules.box_rule != "coverage":
                boxes.setdefault(index, []).append(row)
                continue
            own = None if attention is None else attention[index]
            found[row] = self.region_weights(region, features.frames[index], own)
        for index, rows in boxes.items():
            corners = np.array([regions.items[row].corners for row in rows], dtype=np.float64)  # type: ignore[union-attr]
            own = None if attention is None else attention[index]
            weights = self._box_weights(corners, features.frames[index], own, dtype)
            if len(rows) == len(found):
                return weights
            found[rows] = weights
        return found

    def _box_weights(
        self,
        boxes: NDArray[np.float64],
        frame: Frame,
        attention: NDArray[np.float64] | None,
        dtype: type[np.floating[Any]],
    ) -> NDArray[Any]:
        """Return the weights (k, h, w) of boxes (k, 4) of one picture: what :meth:`region_weights` returns of each.

        The patches of a box are a rectangle, so its weights are those of its rows times those of its columns.
        """
        rule: Literal["intersect", "reference"] = "reference" if self.rules.box_rule == "reference" else "intersect"
        spans = box_spans(boxes, frame, rule)
        variance = self.config.variance
        rows, columns = (
            _along(start, stop, size, self.weighting, variance)
            for start, stop, size in zip(spans.T[::2], spans.T[1::2], frame.grid, strict=True)
        )
        if attention is None:
            return _outer(rows, columns, dtype)
        sums = (np.einsum("kh,hw->kw", rows, attention) * columns).sum(1)
        # What attention all but leaves out would grow beyond float32 when its sum becomes 1; what it leaves out is
        # taken uniformly.
        faint, unseen = (sums > 0) & (sums < _FAINT), sums == 0
        weights = _outer(rows / np.where(faint | unseen, 1, sums)[:, None], columns, dtype)
        weights *= attention.astype(dtype)
        if faint.any():
            weights[faint] = _outer(rows[faint], columns[faint], np.float64) * attention / sums[faint, None, None]
        if unseen.any():
            weights[unseen] = _outer(rows[unseen], columns[unseen], dtype)
        return weights

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


def _outer(rows: NDArray[np.float64], columns: NDArray[np.float64], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return (k, h, w): the products of rows (k, h) and columns (k, w)."""
    product: NDArray[Any] = rows.astype(dtype)[:, :, None] * columns.astype(dtype)[:, None, :]
    return product


def _along(
    start: NDArray[np.int64], stop: NDArray[np.int64], size: int, weighting: str, variance: float
) -> NDArray[np.float64]:
    """Return the weights (k, size) along one side of k rectangles, each with a sum of 1; see :func:`_windowed`."""
    places = np.arange(size)
    first, length = start[:, None], (stop - start)[:, None]
    if weighting == "central":
        centre: NDArray[np.float64] = (places == first + (length - 1) // 2).astype(np.float64)
        return centre
    inside = (places >= first) & (places < stop[:, None])
    if weighting != "gaussian":
        even: NDArray[np.float64] = inside / length
        return even
    position = np.where(length > 1, 2 * (places - first) / np.maximum(length - 1, 1) - 1, -1.0)
    squares = np.where(inside, position**2, np.inf)
    with np.errstate(over="ignore"):
        window: NDArray[np.float64] = np.exp(-(squares - squares.min(1, keepdims=True)) / variance)
    window /= window.sum(1, keepdims=True)
    return window


def _products(weights: NDArray[Any], image: Sequence[int], patches: Tensor) -> Tensor:
    """Return the sums (r, d) of the patches (b, h, w, d) of each region's image by weights (r, h, w), in float32.

    All weights go to the device at once, and nothing comes back from it.
    """
    rows: dict[int, list[int]] = {}
    for row, index in enumerate(image):
        rows.setdefault(index, []).append(row)
    device = patches.device
    matrix = torch.from_numpy(weights.reshape(len(weights), -1)).to(device, torch.float32, non_blocking=True)
    order = torch.tensor([row for own in rows.values() for row in own])
    one_picture = len(rows) == 1  # its regions are in their order already
    if not one_picture:
        matrix = matrix[order.to(device, non_blocking=True)]
    pooled, start = [], 0
    with torch.autocast(device.type, enabled=False):
        for index, own in rows.items():
            seen = patches[index].flatten(0, 1).float()
            for part in iter_batches(len(own), _ROWS):
                tile = matrix[start + part.start : start + part.stop]
                pooled.append((pad(tile, (0, 0, 0, _ROWS - len(tile))) @ seen)[: len(tile)])
            start += len(own)
    joined = torch.cat(pooled)
    return joined if one_picture else joined[order.argsort().to(device, non_blocking=True)]


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
