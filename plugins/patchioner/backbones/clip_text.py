"""CLIP's text tower: transformers' model, our tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from regionkit.core.contracts import iter_batches
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

#: Sentences that go through the tower at once.
_BATCH = 128


def text_tower(
    *,
    width: int,
    layers: int,
    dim: int,
    context: int,
    vocabulary: int,
    tokenizer: ClipTokenizer,
    activation: str,
) -> CLIPTextModelWithProjection:
    """Make an untrained text tower; ``activation`` is transformers' name of one, ``quick_gelu`` in OpenAI's models."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=dim,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=context,
        hidden_act=activation,
        layer_norm_eps=1e-5,
        pad_token_id=0,
        bos_token_id=tokenizer.start,
        eos_token_id=tokenizer.end,
    )
    return CLIPTextModelWithProjection(config)


def encode_texts(tower: Any, tokenizer: ClipTokenizer, texts: Sequence[str]) -> Tensor:
    """Return the projected state at the end token, (n, dim), not normalised.

    Texts longer than the tower's context keep their first tokens and the end token, as CLIP's own code does when it
    is told to truncate.
    """
    context = tower.config.max_position_embeddings
    rows = [cut(tokenizer.encode(text), context) for text in texts]
    weight: Tensor = tower.text_projection.weight
    vectors = weight.new_zeros(len(rows), len(weight))
    # Equally long texts together: padding comes after the end token, where nothing is read, but costs time.
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for part in iter_batches(len(rows), _BATCH):
        chosen = order[part]
        longest = max(len(rows[row]) for row in chosen)
        ids = [rows[row] + [0] * (longest - len(rows[row])) for row in chosen]
        vectors[chosen] = tower(input_ids=torch.tensor(ids, device=weight.device)).text_embeds
    return vectors


def cut(ids: list[int], context: int) -> list[int]:
    """Return at most ``context`` ids, the last one kept."""
    return ids if len(ids) <= context else [*ids[: context - 1], ids[-1]]
