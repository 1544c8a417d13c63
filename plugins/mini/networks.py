"""The tiny backbones of the mini-world: a stem of convolutions, an optional mixer and a word-level text tower.

=============  ==================================  ===========================================================
name           what mixes the patches              what is compared with the sentence in training
=============  ==================================  ===========================================================
mini-clip      a transformer block with CLS        the CLS token (patches are never aligned; stands for CLIP)
mini-mean      a transformer block                 the mean of the patches
mini-local     nothing                             the mean of the patches
mini-dense     nothing; CLS reads the patches      mean, CLS, and each phrase with the patches that fit it best
mini-vit       four transformer blocks with CLS    as mini-dense, and each phrase with the patches of its objects
=============  ==================================  ===========================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regionkit.plugins.mini.config import NetworkConfig
from regionkit.plugins.mini.words import PAD, SPECIALS, Words

#: What the output layers of several blocks are multiplied with at the start.
_FIRST_STEP = 0.1


@dataclass(frozen=True)
class Seen:
    """What a backbone sees: ``patches`` (b, h, w, d), ``cls`` (b, d) or None, ``attention`` (b, h, w) or None.

    Attention is not computed in training mode.
    """

    patches: Tensor
    cls: Tensor | None
    attention: Tensor | None


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int) -> None:
        """Make projections for ``heads`` heads of ``width / heads``."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def _split(self, vectors: Tensor) -> Tensor:
        """Turn (b, t, d) into (b, heads, t, d / heads)."""
        return vectors.reshape(*vectors.shape[:2], self.heads, vectors.shape[2] // self.heads).transpose(1, 2)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let ``queries`` (b, q, d) read ``tokens`` (b, t, d); ``mask`` (b, t) is True at real tokens."""
        keys, values = self.key_value(tokens).chunk(2, dim=-1)
        read = F.scaled_dot_product_attention(
            self._split(self.query(queries)),
            self._split(keys),
            self._split(values),
            attn_mask=None if mask is None else mask[:, None, None, :],
        )
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out

    def weights(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Return how strongly ``queries`` (b, q, d) read ``tokens`` (b, t, d), mean over heads: (b, q, t)."""
        split, keys = self._split(self.query(queries)), self._split(self.key_value(tokens).chunk(2, dim=-1)[0])
        logits: Tensor = split @ keys.transpose(-1, -2) * split.shape[-1] ** -0.5
        return logits.softmax(dim=-1).mean(dim=1)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        """Make a block whose feed-forward layer is twice as wide."""
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix ``tokens`` (b, t, d)."""
        normed = self.before(tokens)
        tokens = tokens + self.attention(normed, normed, mask)
        mixed: Tensor = tokens + self.feed_forward(self.between(tokens))
        return mixed

    def first_reads(self, tokens: Tensor) -> Tensor:
        """Return how strongly the first token reads the others in this block, summing to 1: (b, t - 1)."""
        normed = self.before(tokens)
        weights = self.attention.weights(normed[:, :1], normed)[:, 0, 1:]
        return weights / weights.sum(dim=-1, keepdim=True)


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Return convolution, batch norm and ReLU; the output is ``stride`` times smaller than the input."""
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Stem(nn.Module):
    """Convolutions from a (b, 3, 96, 96) picture in -1..1 to a (b, 12, 12, width) grid of 8-pixel patches."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make one stride-4 and one stride-2 convolution, then ``config.depth`` residual ones."""
        super().__init__()
        self.shrink = nn.Sequential(convolution(3, config.first, 8, 4), convolution(config.first, config.width, 3, 2))
        self.deepen = nn.ModuleList(convolution(config.width, config.width, 3, 1) for _ in range(config.depth))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the grid, channels last."""
        grid = self.shrink(pictures.contiguous(memory_format=torch.channels_last))
        for layer in self.deepen:
            grid = grid + layer(grid)
        last: Tensor = grid.permute(0, 2, 3, 1)
        return last


class TextTower(nn.Module):
    """Words to one vector: embedding, one transformer block, mean over the words, projection."""

    def __init__(self, config: NetworkConfig) -> None:
        """Make a tower for the words of the mini language."""
        super().__init__()
        self.words = Words.of_language()
        self.embed = nn.Embedding(len(self.words), config.text_width)
        self.position = nn.Parameter(torch.randn(config.text_length, config.text_width) * 0.02)
        self.block = Block(config.text_width, config.heads)
        self.project = nn.Sequential(nn.LayerNorm(config.text_width), nn.Linear(config.text_width, config.dim))

    def ids(self, captions: Sequence[str]) -> list[list[int]]:
        """Turn captions into equally long lists of word ids."""
        return self.words.pad(captions, len(self.position))

    def forward(self, ids: Tensor) -> Tensor:
        """Encode word ids (n, l), padded with ``PAD``, to (n, dim)."""
        mask = ids != SPECIALS.index(PAD)
        tokens = self.block(self.embed(ids) + self.position[: ids.shape[1]], mask)
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        vectors: Tensor = self.project(mean)
        return vectors


class Reader(nn.Module):
    """A learned query that reads the patches into a CLS vector; the patches stay as they are."""

    def __init__(self, width: int, dim: int, heads: int, cells: int) -> None:
        """Make the query, the places of ``cells`` patches and the output layers."""
        super().__init__()
        self.query = nn.Parameter(torch.randn(heads, width) * 0.02)
        self.place = nn.Parameter(torch.randn(cells, width) * 0.02)
        self.attention = Attention(width, heads)
        self.out = nn.Sequential(
            nn.LayerNorm(heads * width), nn.Linear(heads * width, width), nn.GELU(), nn.Linear(width, dim)
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return CLS (b, dim) and, outside training, how strongly each patch was read (b, t)."""
        queries, placed = self.query.expand(len(tokens), -1, -1), tokens + self.place
        weights = None if self.training else self.attention.weights(queries, placed).mean(dim=1)
        return self.out(self.attention(queries, placed).flatten(1)), weights


class MiniNetwork(nn.Module):
    """One of the backbones; ``config`` says which parts it has."""

    def __init__(self, config: NetworkConfig) -> None:
        """Build the parts that the configuration names."""
        super().__init__()
        self.config = config
        cells = config.grid**2
        self.stem = Stem(config)
        self.text = TextTower(config)
        self.project: nn.Module = nn.Linear(config.width, config.dim)
        # exp(2.7) is close to 1 / 0.07, where CLIP starts.
        self.logit_scale = nn.Parameter(torch.tensor(2.7))
        self.place: nn.Parameter | None = None
        self.block: Block | None = None
        self.blocks = nn.ModuleList(_small_step(config) for _ in range(config.blocks))
        self.reader = Reader(config.width, config.dim, config.heads, cells) if config.reader else None
        if config.mixer != "none":
            self.place = nn.Parameter(torch.randn(cells + 1, config.width) * 0.02)
            self.block = None if config.blocks else Block(config.width, config.heads)
            # Without it the residual stream has no common length; unmixed patches keep theirs, as pooling weighs by it.
            self.project = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.dim))

    def forward(self, pictures: Tensor) -> Seen:
        """Look at pictures (b, 3, 96, 96) in -1..1."""
        if self.blocks:
            return self._through_blocks(pictures)
        grid = self.stem(pictures)
        tokens = grid.flatten(1, 2)
        if self.block is None or self.place is None:
            cls, attention = self.reader(tokens) if self.reader else (None, None)
            return self._seen(grid.shape, self.project(tokens), cls, attention)
        tokens = tokens + self.place[1:]
        if self.config.mixer == "mean":
            return self._seen(grid.shape, self.project(self.block(tokens)), None, None)
        tokens = torch.cat([self.place[:1].expand(len(tokens), -1, -1), tokens], dim=1)
        attention = None if self.training else self.block.first_reads(tokens)
        mixed = self.project(self.block(tokens))
        return self._seen(grid.shape, mixed[:, 1:], mixed[:, 0], attention)

    def enter(self, pictures: Tensor) -> Tensor:
        """Return the tokens (b, 1 + h w, width) that enter the first block: the CLS token, then the placed patches."""
        if self.place is None:
            raise ValueError("this network has no blocks to enter")
        tokens = self.stem(pictures).flatten(1, 2) + self.place[1:]
        return torch.cat([self.place[:1].expand(len(tokens), -1, -1), tokens], dim=1)

    def leave(self, tokens: Tensor, attention: Tensor | None = None) -> Seen:
        """Return what is seen once ``tokens`` (b, 1 + h w, width) have left the last block."""
        mixed, grid = self.project(tokens), self.config.grid
        return self._seen(torch.Size((len(tokens), grid, grid)), mixed[:, 1:], mixed[:, 0], attention)

    def _through_blocks(self, pictures: Tensor) -> Seen:
        """Enter, run all blocks, leave; the attention is that of the CLS token in the last block."""
        tokens, attention = self.enter(pictures), None
        for number, block in enumerate(cast(Sequence[Block], self.blocks), start=1):
            if number == len(self.blocks) and not self.training:
                attention = block.first_reads(tokens)
            tokens = block(tokens)
        return self.leave(tokens, attention)

    @staticmethod
    def _seen(shape: torch.Size, patches: Tensor, cls: Tensor | None, attention: Tensor | None) -> Seen:
        """Give patches and attention their grid back."""
        h, w = shape[1], shape[2]
        weights = None if attention is None else attention.reshape(-1, h, w)
        return Seen(patches.reshape(-1, h, w, patches.shape[-1]), cls, weights)


@torch.no_grad()
def _small_step(config: NetworkConfig) -> Block:
    """Return one of several blocks: at first a small step from what the stem sees, so that patches begin as local."""
    block = Block(config.width, config.heads)
    for layer in (block.attention.out, cast(nn.Linear, block.feed_forward[-1])):
        layer.weight.mul_(_FIRST_STEP)
    return block


def to_pixels(arrays: Tensor) -> Tensor:
    """Turn (b, 96, 96, 3) bytes into (b, 3, 96, 96) in -1..1."""
    return arrays.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
