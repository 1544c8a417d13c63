"""The one-dimensional U-Net of Diffusion Bridge, which reads an embedding as a signal with one channel.

Lee et al., Diffusion Bridge, CVPR 2025; the blocks are those of the denoising network that its release uses. Names of
the tensors are the official ones. `diffusers`' one-dimensional U-Nets normalise and attend otherwise and cannot hold
these weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: Width of the heads of all attention.
HEAD = 32
#: Square of the length below which a vector counts as having none.
_SMALLEST = 1e-24
_LONGEST_WAVE = 10_000


class _RmsNorm(nn.Module):
    """Scale (n, c, d) to root mean square 1 over its c channels, times a learned gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, values: Tensor) -> Tensor:
        # A sum of squares: torch's norm along channels that lie apart in memory takes a multiple of its time on a CPU.
        length = values.square().sum(1, keepdim=True).clamp(min=_SMALLEST).rsqrt()
        scaled: Tensor = values * length * (self.g * values.shape[1] ** 0.5)
        return scaled


class _StepEmbedding(nn.Module):
    """Sines, then cosines, of steps (n,), as (n, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, step: Tensor) -> Tensor:
        half = self.dim // 2
        places = torch.arange(half, device=step.device)
        angles = step[:, None] * torch.exp(places * (-math.log(_LONGEST_WAVE) / (half - 1)))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class _Block(nn.Module):
    """Convolution, norm, the shift and scale of a step, activation."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Conv1d(channels, out, 3, padding=1)
        self.norm = _RmsNorm(out)

    def forward(self, values: Tensor, shaped: tuple[Tensor, Tensor] | None = None) -> Tensor:
        values = self.norm(self.proj(values))
        if shaped is not None:
            values = values * (shaped[0] + 1) + shaped[1]
        return nn.functional.silu(values)


class _ResidualBlock(nn.Module):
    """Two blocks, the first told the step, around which the input passes."""

    def __init__(self, channels: int, out: int, step_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(step_dim, 2 * out))
        self.block1 = _Block(channels, out)
        self.block2 = _Block(out, out)
        self.res_conv = nn.Conv1d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, values: Tensor, step: Tensor) -> Tensor:
        scale, shift = self.mlp(step).unsqueeze(-1).chunk(2, dim=1)
        out: Tensor = self.block2(self.block1(values, (scale, shift))) + self.res_conv(values)
        return out


class _Attention(nn.Module):
    """Queries, keys and values (n, heads, width, d) of (n, c, d)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv1d(channels, 3 * heads * HEAD, 1, bias=False)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.to_qkv(values).unflatten(1, (3, self.heads, HEAD)).unbind(1)
        return query, key, value


class _LinearAttention(_Attention):
    """Attention whose cost grows with the length alone: keys and values are summed up before queries see them."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, heads)
        self.to_out = nn.Sequential(nn.Conv1d(heads * HEAD, channels, 1), _RmsNorm(channels))

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = self.split(values)
        summary = key.softmax(-1) @ value.transpose(-1, -2)  # (n, heads, width of keys, width of values)
        read = summary.transpose(-1, -2) @ (query.softmax(-2) * HEAD**-0.5)
        out: Tensor = self.to_out(read.flatten(1, 2))
        return out


class _FullAttention(_Attention):
    """Softmax attention over all places of the signal."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, heads)
        self.to_out = nn.Conv1d(heads * HEAD, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = (part.transpose(-1, -2) for part in self.split(values))
        read = scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out(read.transpose(-1, -2).flatten(1, 2))
        return out


class _Normed(nn.Module):
    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = _RmsNorm(channels)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.fn(self.norm(values))
        return out


class _Residual(nn.Module):
    """Attention on the normed signal, added to it; nested as the official names are."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = _Normed(channels, fn)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.fn(values) + values
        return out


class _Twice(nn.Module):
    """Repeat each place of (n, c, d) once, to (n, c, 2 d)."""

    def forward(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-1).expand(*values.shape, 2).flatten(-2)


class Unet1d(nn.Module):
    """Predicts x_0 of x_t (n, 1, d) at steps t (n,); d must divide by 2 once for every level but the last.

    Args:
        dim: Width of the sinusoidal embedding of the step.
        init_dim: Channels before the first level.
        mults: Channels of the levels, in multiples of ``init_dim``.
        heads: Heads of all attention, each 32 wide.
    """

    def __init__(self, dim: int = 512, init_dim: int = 32, mults: Sequence[int] = (1, 2, 4, 8), heads: int = 4) -> None:
        super().__init__()
        step_dim = 4 * init_dim
        widths = [init_dim, *(init_dim * mult for mult in mults)]
        levels = list(pairwise(widths))
        last = len(levels) - 1
        self.init_conv = nn.Conv1d(1, init_dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            _StepEmbedding(dim), nn.Linear(dim, step_dim), nn.GELU(), nn.Linear(step_dim, step_dim)
        )
        self.downs = nn.ModuleList(
            nn.ModuleList(
                [
                    _ResidualBlock(width, width, step_dim),
                    _ResidualBlock(width, width, step_dim),
                    _Residual(width, _LinearAttention(width, heads)),
                    nn.Conv1d(width, out, 3, padding=1) if level == last else nn.Conv1d(width, out, 4, 2, 1),
                ]
            )
            for level, (width, out) in enumerate(levels)
        )
        self.mid_block1 = _ResidualBlock(widths[-1], widths[-1], step_dim)
        self.mid_attn = _Residual(widths[-1], _FullAttention(widths[-1], heads))
        self.mid_block2 = _ResidualBlock(widths[-1], widths[-1], step_dim)
        self.ups = nn.ModuleList(
            nn.ModuleList(
                [
                    _ResidualBlock(out + width, out, step_dim),
                    _ResidualBlock(out + width, out, step_dim),
                    _Residual(out, _LinearAttention(out, heads)),
                    _up(out, width, doubles=level > 0),
                ]
            )
            for level, (width, out) in reversed(list(enumerate(levels)))
        )
        self.final_res_block = _ResidualBlock(2 * init_dim, init_dim, step_dim)
        self.final_conv = nn.Conv1d(init_dim, 1, 1)

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        """Return x_0 (n, 1, d)."""
        values = first = self.init_conv(noisy)
        embedding, *rest = self.time_mlp
        told = embedding(step).to(noisy.dtype)  # angles of late steps need float32
        for layer in rest:
            told = layer(told)
        kept: list[Tensor] = []
        for level in self.downs:
            block1, block2, attend, down = _parts(level)
            values = block1(values, told)
            kept.append(values)
            values = attend(block2(values, told))
            kept.append(values)
            values = down(values)
        values = self.mid_block2(self.mid_attn(self.mid_block1(values, told)), told)
        for level in self.ups:
            block1, block2, attend, up = _parts(level)
            values = block1(torch.cat([values, kept.pop()], dim=1), told)
            values = up(attend(block2(torch.cat([values, kept.pop()], dim=1), told)))
        out: Tensor = self.final_conv(self.final_res_block(torch.cat([values, first], dim=1), told))
        return out


def _parts(level: nn.Module) -> tuple[nn.Module, ...]:
    assert isinstance(level, nn.ModuleList)
    return tuple(level)


def _up(channels: int, out: int, *, doubles: bool) -> nn.Module:
    convolution = nn.Conv1d(channels, out, 3, padding=1)
    return nn.Sequential(_Twice(), convolution) if doubles else convolution
