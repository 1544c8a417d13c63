"""What the released code of Patch-ioner does, in our own words: the baseline that our times are held against.

It is slow in the ways that the release is, and in no other: the whole attention map of the last block in every forward
pass; a loop over boxes; the bank normalised anew for every few boxes; captions without a cache, every position and all
its logits computed again at each of 30 steps, and no stop. Networks and weights are ours, so that both sides compute
the same thing.

Source: arXiv 2510.02898 and its release, https://github.com/Ruggero1912/Patch-ioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.regions import Box
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.decap import Decap

#: Tokens of every caption.
STEPS = 30
#: Boxes that the release projects and decodes together, unless its option ``bs_factor`` says otherwise.
AT_ONCE = 4
#: Heads that the release counts in every model that is no ViT-S.
HEADS = 16
_TEMPERATURE = 0.01


def encode(backbone: Talk2Dino, image: Image.Image) -> tuple[Tensor, Tensor]:
    """Return patches (37, 37, 768) and the attention map (37, 37); the map and two kinds of tokens are always made."""
    held: dict[str, Tensor] = {}
    last: Any = backbone.blocks[-1]
    hook = last.attn.qkv.register_forward_hook(lambda module, inputs, output: held.update(qkv=output))
    try:
        tokens = backbone.vision.forward_features(backbone.preprocess([image])[0])
    finally:
        hook.remove()
    prefix = backbone.vision.num_prefix_tokens
    patches = tokens[:, prefix:]
    weights, _, _ = whole_attention(held["qkv"], patches, prefix)
    side = backbone.preprocessing.grid
    return patches[0].view(side, side, -1), weights[0].view(side, side)


def whole_attention(qkv: Tensor, patches: Tensor, prefix: int, heads: int = HEADS) -> tuple[Tensor, Tensor, Tensor]:
    """Return the class token's weights (b, n), the token that they average (b, d), and one token a head (b, heads, d).

    Args:
        qkv: (b, prefix + n, 3 d) of the last block.
        patches: (b, n, d).
        prefix: Tokens in front that belong to no patch.
        heads: Attention heads; the logits of all tokens with all tokens are made for each.
    """
    batch, count, _ = qkv.shape
    query, key, _ = qkv.reshape(batch, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
    logits = query @ key.transpose(-2, -1) * 0.125  # the scale of 64-wide heads, also where there are 16 of 48
    of_class = logits[:, :, 0, prefix:]
    weights = of_class.mean(1).softmax(-1)
    average = (patches * weights.unsqueeze(-1)).mean(1)
    by_head = (patches.unsqueeze(1) * of_class.softmax(-1).unsqueeze(-1)).mean(2)
    return weights, average, by_head


def patch_span(box: Box, image: tuple[int, int], grid: int, patch: int) -> tuple[slice, slice]:
    """Return rows and columns of a box: its first patch and as many more as whole patches fit into it."""
    side = grid * patch
    x, y = box.x1 * side / image[0], box.y1 * side / image[1]
    width, height = (box.x2 - box.x1) * side / image[0], (box.y2 - box.y1) * side / image[1]
    left, top = int(x // patch), int(y // patch)
    return slice(top, top + int(height // patch) + 1), slice(left, left + int(width // patch) + 1)


def pool(
    patches: Tensor,
    boxes: Sequence[Box],
    image: tuple[int, int],
    patch: int,
    weighting: str = "uniform",
    attention: Tensor | None = None,
) -> Tensor:
    """Average the patches (h, w, d) under each box, one box after the other; returns (r, d).

    The map is not changed in place, which the release does: overlapping boxes would then differ from ours.
    """
    pooled = []
    for box in boxes:
        rows, columns = patch_span(box, image, patches.shape[0], patch)
        inside = patches[rows, columns]
        if weighting == "uniform":
            pooled.append(inside.mean(dim=(0, 1)))
            continue
        if weighting == "gaussian":
            y, x = (torch.linspace(-1, 1, size) for size in inside.shape[:2])
            weights = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2))
        else:
            assert attention is not None
            weights = attention[rows, columns]
        weights = weights / weights.sum()
        pooled.append((inside * weights.unsqueeze(-1)).sum(dim=(0, 1)))
    return torch.stack(pooled)


def project(vectors: Tensor, bank: Tensor) -> Tensor:
    """Project vectors (r, d) onto a bank (n, d), whose rows are normalised anew and whose similarities are all kept."""
    unit_bank = bank / bank.norm(dim=-1, keepdim=True)
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    shares = ((unit @ unit_bank.T) / _TEMPERATURE).softmax(dim=-1)
    return normalize(shares @ bank, dim=-1)


def decode(decoder: Decap, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Write 30 tokens for vectors (r, d): ids (r, 30) and the probability of each caption (r,)."""
    embeddings = decoder.clip_project(vectors).unsqueeze(1)
    tokens, scores = [], []
    for _ in range(STEPS):
        logits = decoder.decoder(inputs_embeds=embeddings).logits[:, -1, :]
        best, token = logits.softmax(dim=-1).log().max(dim=-1)
        tokens.append(token)
        scores.append(best)
        embeddings = torch.cat([embeddings, decoder.decoder.transformer.wte(token).unsqueeze(1)], dim=1)
    return torch.stack(tokens, dim=1), torch.stack(scores).sum(0).exp()


def caption(decoder: Decap, bank: Tensor, vectors: Tensor, at_once: int = AT_ONCE) -> Tensor:
    """Project and decode region vectors (r, d), a few at a time; returns ids (r, 30)."""
    return torch.cat([decode(decoder, project(part, bank))[0] for part in vectors.split(at_once)])
