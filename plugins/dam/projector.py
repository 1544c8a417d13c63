"""The bridge ``mlp-downsample``: visual tokens into the embeddings of a language model, four of them as one."""

from __future__ import annotations

import dataclasses
import math
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import pad

from regionkit.core.contracts import BuildContext, GapBridge, WeightArtifact
from regionkit.core.errors import FeatureError, PortError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.dam.configs import MLP, MlpDownsampleConfig

#: Tokens along a side that become one.
_SIDE = 2


class _Merge(nn.Module):
    """Place of the merging among the layers, which keeps the numbers of the released weights; it has none itself."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order

    def forward(self, grids: Tensor) -> Tensor:
        return merged(grids, self.order)


def merged(grids: Tensor, order: str = "column") -> Tensor:
    """Merge 2 x 2 tokens of a square grid into one of four times the width.

    A side of odd length is filled up with zeros at the right and at the bottom. The four lie in the order left to
    right, top to bottom.

    Args:
        grids: (r, s x s, d), row-major.
        order: Order of the merged tokens: ``column`` (the released code, which transposes the grid on the way) or
            ``row``.

    Returns:
        (r, (s / 2)^2, 4 d), s / 2 rounded up.
    """
    regions, count, width = grids.shape
    side = math.isqrt(count)
    odd = side % _SIDE
    half = (side + odd) // _SIDE
    square = pad(grids.reshape(regions, side, side, width), (0, 0, 0, odd, 0, odd))
    cells = square.reshape(regions, half, _SIDE, half, _SIDE, width)  # (r, row, 2, column, 2, d)
    places = (0, 3, 1, 2, 4, 5) if order == "column" else (0, 1, 3, 2, 4, 5)
    return cells.permute(places).reshape(regions, half * half, _SIDE * _SIDE * width)


class MlpDownsample(nn.Module, GapBridge):
    """Project tokens; with ``mlp_downsample`` 2 x 2 become one first, so that 729 become 196.

    Padding passes through: what is padded stays padded, as zeros. Merging needs whole squares of tokens, so it refuses
    padded regions.

    Args:
        config: Options.
        reads: Space of the tokens that come in, ``name[dim]``.
        writes: Space that the decoder reads.
    """

    def __init__(self, config: MlpDownsampleConfig, reads: str, writes: str) -> None:
        super().__init__()
        self.config = config
        self.reads, self.writes = reads, writes
        self.width = Space.parse(reads).dim
        self.layers = layers_of(config, self.width, Space.parse(writes).dim)

    @classmethod
    def build(cls, config: MlpDownsampleConfig, context: BuildContext) -> Self:
        """Make the projector between the two spaces of the context, with its weights or from its seed.

        Raises:
            PortError: ``type: identity`` stands between spaces of different width.
            WeightsError: The weights are for other widths, or of another type.
        """
        with drawn_from(context.seed):
            projector = cls(config, context.reads, context.writes)
        if context.weights is not None:
            load_into(projector, context.weights.tensors(), context.weights.path)
        return projector.eval()

    def artifact(self) -> WeightArtifact:
        """Return the weights with the options that they were trained under."""
        options = {k: v for k, v in dataclasses.asdict(self.config).items() if k != "weights"}
        header = WeightHeader("bridge", "mlp-downsample", self.reads, self.writes, config=options)
        return WeightArtifact(self.state_dict(), header)

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Return projected tokens (r, t', d').

        Raises:
            FeatureError: A token is NaN or of another width, or tokens that are to be merged form no squares.
        """
        values, mask = tokens.tokens, tokens.mask
        if values.shape[2] != self.width:
            raise FeatureError(
                f"mlp-downsample reads tokens of width {self.width}, these are {values.shape[2]} wide",
                "build it between the parts that it is used with",
            )
        values = values.masked_fill(~mask.unsqueeze(-1), 0)
        dataclasses.replace(tokens, tokens=values).check_finite("what mlp-downsample reads")
        if not len(tokens):
            return RegionTokens.none(self.writes)
        if self.config.type == "mlp_downsample":
            grids = self._grids(mask)
            values = values.reshape(len(tokens) * grids, -1, self.width)
            mask = mask.new_ones(len(tokens), grids * math.ceil(math.isqrt(values.shape[1]) / _SIDE) ** 2)
        where = next(self.layers.parameters(), values)
        projected = self.layers(values.to(where)).reshape(len(tokens), -1, Space.parse(self.writes).dim)
        projected = projected.masked_fill(~mask.unsqueeze(-1), 0)
        return RegionTokens(projected.to(values.dtype), mask, self.writes)

    def _grids(self, mask: Tensor) -> int:
        """Return of how many square grids each region is made.

        Raises:
            FeatureError: They are no squares, or some tokens are padding.
        """
        count = mask.shape[1]
        wanted = (self.config.grids,) if self.config.grids else (1, 2)  # never both: a square is not twice a square
        fits = [one for one in wanted if count % one == 0 and math.isqrt(count // one) ** 2 == count // one]
        other = "set bridge.type to mlp2x_gelu, which takes any number of tokens, or choose a region encoder that "
        if not fits or not count:
            squares = f"{wanted[0]} square grids" if self.config.grids > 1 else "a square grid"
            raise FeatureError(
                f"mlp-downsample merges 2 x 2 tokens of {squares}, and a region has {count} tokens here",
                other + "gives a square of them, such as focal-prompt",
            )
        if not bool(mask.all()):
            raise FeatureError(
                "mlp-downsample merges 2 x 2 tokens of a square grid, and some tokens of these regions are padding",
                other + "gives every region the same number of tokens, such as focal-prompt",
            )
        return fits[0]


def layers_of(config: MlpDownsampleConfig, width: int, out: int) -> nn.Module:
    """Make the layers of a projector; their names are those of the released weights.

    Raises:
        PortError: ``identity`` stands between different widths.
    """
    if config.type == "identity":
        if width != out:
            raise PortError(
                f"mlp-downsample of type identity stands between vectors of width {width} and {out}",
                "set bridge.type to linear, mlp2x_gelu or mlp_downsample",
            )
        return nn.Identity()
    if config.type == "linear":
        return nn.Linear(width, out)
    deep = MLP.fullmatch(config.type)
    if deep is None:
        merging, wide = _Merge(config.order), width * _SIDE * _SIDE
        return nn.Sequential(merging, nn.LayerNorm(wide), nn.Linear(wide, out), nn.GELU(), nn.Linear(out, out))
    more = [layer for _ in range(int(deep[1]) - 1) for layer in (nn.GELU(), nn.Linear(out, out))]
    return nn.Sequential(nn.Linear(width, out), *more)
