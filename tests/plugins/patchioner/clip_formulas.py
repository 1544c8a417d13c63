"""CLIP's towers as formulas in float64, on tensors under OpenAI's names: what backbones are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EPS = 1e-5


def norm(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    """(x - mean) / sqrt(variance + eps), scaled and moved."""
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return unit * state[f"{name}.weight"] + state[f"{name}.bias"]


def layer(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def block(x: Tensor, state: Mapping[str, Tensor], name: str, *, causal: bool = False) -> Tensor:
    """A residual block, heads of 64: x + attention(norm(x)), then x + mlp(norm(x)) with QuickGELU."""
    separate = f"{name}.attn.in_proj.weight" in state
    ending = "in_proj." if separate else "in_proj_"
    weight, bias = (state[f"{name}.attn.{ending}{end}"] for end in ("weight", "bias"))
    normed, (b, n, d) = norm(x, state, f"{name}.ln_1"), x.shape
    query, key, value = ((normed @ weight.T + bias).reshape(b, n, 3, d // 64, 64)[:, :, place] for place in range(3))
    logits = torch.einsum("bqhc,bkhc->bhqk", query, key) / 8
    if causal:
        logits = logits.masked_fill(torch.ones(n, n).triu(1) > 0, -torch.inf)
    mixed = torch.einsum("bhqk,bkhc->bqhc", logits.exp() / logits.exp().sum(-1, keepdim=True), value)
    x = x + layer(mixed.reshape(b, n, d), state, f"{name}.attn.out_proj")
    hidden = layer(norm(x, state, f"{name}.ln_2"), state, f"{name}.mlp.c_fc")
    return x + layer(hidden / (1 + (-1.702 * hidden).exp()), state, f"{name}.mlp.c_proj")


def depth(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})


def patches_of(pixels: Tensor, weight: Tensor) -> Tensor:
    """A convolution whose stride is its size: every patch, channel by channel, times the weights."""
    b, c, side, patch = *pixels.shape[:2], pixels.shape[-1], weight.shape[-1]
    grid = side // patch
    cut = pixels.reshape(b, c, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5).reshape(b, grid * grid, -1)
    return cut @ weight.flatten(1).T


def entering(state: Mapping[str, Tensor], pixels: Tensor, alpha: Tensor | None = None, embeddings: int = 1) -> Tensor:
    """What enters the first block: embedded patches, class token and positions, and the first norm.

    Args:
        state: A vision tower, no prefix before its names.
        pixels: (b, 3, side, side).
        alpha: (b, 1, side, side), for AlphaCLIP.
        embeddings: How often the class embedding is added to the class token's place.
    """
    x = patches_of(pixels, state["conv1.weight"])
    if alpha is not None:
        x = x + patches_of(alpha, state["conv1_alpha.weight"])
    first = (embeddings * state["class_embedding"]).expand(len(x), 1, -1)
    return norm(torch.cat([first, x], 1) + state["positional_embedding"], state, "ln_pre")


def image_tokens(state: Mapping[str, Tensor], pixels: Tensor, **more: object) -> Tensor:
    """All tokens (b, 1 + n, dim) of a vision tower, through last norm and projection."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = entering(state, pixels.double(), **more)
    for index in range(depth(state)):
        x = block(x, state, f"transformer.resblocks.{index}")
    return norm(x, state, "ln_post") @ state["proj"]


def text_vectors(state: Mapping[str, Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """The projected state (n, dim) at the last token of each row of ids."""
    state = {name: tensor.double() for name, tensor in state.items()}
    found = []
    for ids in rows:
        x = (state["token_embedding.weight"][list(ids)] + state["positional_embedding"][: len(ids)])[None]
        for index in range(depth(state)):
            x = block(x, state, f"transformer.resblocks.{index}", causal=True)
        found.append(norm(x, state, "ln_final")[0, -1] @ state["text_projection"])
    return torch.stack(found)
