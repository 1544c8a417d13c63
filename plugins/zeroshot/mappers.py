"""Mappers: networks that turn one vector into soft tokens of a language model.

Mokady et al., ClipCap, arXiv 2111.09734, from where CapDec, ViECap, MeaCap and IFCap have theirs. Names of the
tensors are those of the releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from regionkit.plugins.zeroshot.prefix_config import PrefixOptions


class Mlp(nn.Module):
    """Linear layers with tanh between them: (r, d) to (r, length, hidden).

    Args:
        sizes: Width of the vector, of hidden layers, and ``length`` times ``hidden``.
        length: Soft tokens.
    """

    def __init__(self, sizes: Sequence[int], length: int) -> None:
        super().__init__()
        self.length = length
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.Tanh()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (r, d)."""
        mapped: Tensor = self.model(vectors)
        return mapped.view(len(vectors), self.length, -1)


class Attention(nn.Module):
    """Attention over all tokens, without biases on queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, others: Tensor | None = None) -> Tensor:
        """Let tokens (r, t, d) look at ``others`` (r, s, d), or at themselves."""
        queries = self.to_queries(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
        both = self.to_keys_values(tokens if others is None else others).unflatten(2, (2, self.heads, -1))
        keys, values = both.permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(queries, keys, values)
        mixed: Tensor = self.project(seen.transpose(1, 2).flatten(2))
        return mixed


class Feedforward(nn.Module):
    """Two linear layers with ReLU between them, the inner one ``ratio`` times as wide."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change each of the tokens (r, t, d) for itself."""
        found: Tensor = self.fc2(relu(self.fc1(tokens)))
        return found


class Block(nn.Module):
    """A pre-norm block of attention and feed-forward layers."""

    def __init__(self, width: int, heads: int, ratio: float = 2.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Feedforward(width, ratio)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens (r, t, d)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        found: Tensor = tokens + self.mlp(self.norm2(tokens))
        return found


class Blocks(nn.Module):
    """Pre-norm blocks, one after the other."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens (r, t, d)."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class TransformerMapper(nn.Module):
    """A transformer over what a linear layer makes of the vector, and learned constants: (r, d) to (r, prefix, hidden).

    Args:
        dim: Width of the vector.
        hidden: Width of the language model.
        prefix: Constants, whose last states are the soft tokens.
        clip_length: Tokens that the linear layer makes.
        layers: Blocks.
        heads: Their attention heads.

    Source: ClipCap, section 3; ViECap (arXiv 2307.16525), section 3.2.
    """

    def __init__(self, dim: int, hidden: int, prefix: int, clip_length: int, layers: int, heads: int) -> None:
        super().__init__()
        self.clip_length = clip_length
        self.linear = nn.Linear(dim, clip_length * hidden)
        self.prefix_const = nn.Parameter(torch.randn(prefix, hidden))
        self.transformer = Blocks(hidden, heads, layers)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (r, dim)."""
        mapped = self.linear(vectors).view(len(vectors), self.clip_length, -1)
        constants = self.prefix_const.expand(len(mapped), -1, -1)
        states: Tensor = self.transformer(torch.cat([mapped, constants], dim=1))
        return states[:, self.clip_length :]


def make_mapper(config: PrefixOptions, dim: int) -> nn.Module:
    """Make the mapper that options ask for: (r, dim) to (r, ``prefix``, ``hidden``)."""
    whole = config.prefix * config.hidden
    if config.mapper == "linear":
        return Mlp((dim, whole), config.prefix)
    if config.mapper == "mlp":
        return Mlp((dim, whole // 2, whole), config.prefix)
    length = config.clip_length or config.prefix
    return TransformerMapper(dim, config.hidden, config.prefix, length, config.mapper_layers, config.mapper_heads)
