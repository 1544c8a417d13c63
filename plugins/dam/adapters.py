"""Gated cross-attention between the blocks of a backbone (section 3.2.2, eq. 6 and 7)."""

from __future__ import annotations

from torch import Tensor, nn, zeros
from torch.nn.functional import gelu, scaled_dot_product_attention

#: As in SigLIP, whose blocks the adapters follow.
_EPSILON = 1e-6


class CrossAttention(nn.Module):
    """Attention of one view's tokens to those of another.

    Args:
        width: Of the tokens of both.
        heads: Attention heads, which share the width evenly.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return (b, n, width).

        Args:
            queries: (b, n, width).
            context: (b, m, width), which gives keys and values.
            keep: (b, m), True for the tokens of the context that may be attended to; None for all.
        """
        q, k, v = (
            values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)
            for values in (self.q_proj(queries), self.k_proj(context), self.v_proj(context))
        )
        mask = None if keep is None else keep[:, None, None, :]
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(gelu(self.fc1(tokens), approximate="tanh"))
        return out


class Adapter(nn.Module):
    """What follows a whole block of the backbone: the crop's tokens attend to the whole picture's.

    Both gates start at zero, so that the first forward pass is the backbone's own, bit for bit. Queries are normalised
    first, as the released code does; the paper leaves that out of its formulas. The context is not.

    Args:
        width: Of the tokens.
        heads: Of the cross-attention.
        hidden: Width inside the feed-forward part.
        form: ``tanh``: gates through tanh, and the feed-forward part reads the state that entered (eq. 6 and 7).
            ``scalar``: plain gates, and it reads the state after the cross-attention (the released code).
    """

    def __init__(self, width: int, heads: int, hidden: int, form: str) -> None:
        super().__init__()
        self.form = form
        self.layer_norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.cross_attn = CrossAttention(width, heads)
        self.layer_norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = _Mlp(width, hidden)
        self.attn_factor = nn.Parameter(zeros(1))
        self.mlp_factor = nn.Parameter(zeros(1))

    def forward(self, tokens: Tensor, context: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the tokens (b, n, width) that enter the next block; arguments as in :class:`CrossAttention`."""
        attended: Tensor = self.cross_attn(self.layer_norm1(tokens), context, keep)
        if self.form == "tanh":
            fed: Tensor = self.mlp(self.layer_norm2(tokens))
            return tokens + self.attn_factor.tanh() * attended + self.mlp_factor.tanh() * fed
        updated = tokens + self.attn_factor * attended
        fed = self.mlp(self.layer_norm2(updated))
        return updated + self.mlp_factor * fed
