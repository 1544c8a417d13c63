"""Small random decoders in the layouts that CapDec and Diffusion Bridge save, written by hand, name by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

WIDTH, LAYERS, POSITIONS, DIM, PREFIX, CLIP_LENGTH, BLOCKS, ROWS = 48, 2, 64, 20, 4, 3, 2, 260
Mapper = Literal["linear", "mlp", "transformer"]


def write_tokenizer(folder: Path) -> Path:
    """Write a tokenizer.json like GPT-2's: bytes, few merges, one special token at the end."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("o", "g"), ("d", "og"), ("Ġ", ".")]
    units = [*letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({unit: index for index, unit in enumerate(units)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def gpt2_state(seed: int = 0, *, masks: bool = False) -> dict[str, Tensor]:
    """GPT2LMHeadModel with the output layer that repeats the words."""
    draw = torch.Generator().manual_seed(seed)

    def made(*shape: int, centre: float = 0.0) -> Tensor:
        return centre + 0.2 * torch.randn(shape, generator=draw)

    state = {"transformer.wte.weight": made(ROWS, WIDTH), "transformer.wpe.weight": made(POSITIONS, WIDTH)}
    for layer in range(LAYERS):
        place = f"transformer.h.{layer}"
        for part, wide, narrow in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            state[f"{place}.{part}.weight"], state[f"{place}.{part}.bias"] = made(wide, narrow), made(narrow)
        for norm in ("ln_1", "ln_2"):
            state[f"{place}.{norm}.weight"], state[f"{place}.{norm}.bias"] = made(WIDTH, centre=1.0), made(WIDTH)
        if masks:
            state[f"{place}.attn.bias"] = torch.ones(1, 1, POSITIONS, POSITIONS).tril().bool()
            state[f"{place}.attn.masked_bias"] = torch.tensor(-1e4)
    state["transformer.ln_f.weight"], state["transformer.ln_f.bias"] = made(WIDTH, centre=1.0), made(WIDTH)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    return state


def mapper_state(mapper: Mapper, seed: int = 1) -> dict[str, Tensor]:
    """The network that CapDec calls clip_project."""
    draw = torch.Generator().manual_seed(seed)

    def made(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=draw)

    whole = WIDTH * PREFIX
    if mapper == "linear":  # Diffusion Bridge alone has this one
        return {"weight": made(whole, DIM), "bias": made(whole)}
    if mapper == "mlp":
        first = {"model.0.weight": made(whole // 2, DIM), "model.0.bias": made(whole // 2)}
        return first | {"model.2.weight": made(whole, whole // 2), "model.2.bias": made(whole)}
    state = {"prefix_const": made(PREFIX, WIDTH)}
    state["linear.weight"], state["linear.bias"] = made(CLIP_LENGTH * WIDTH, DIM), made(CLIP_LENGTH * WIDTH)
    for layer in range(BLOCKS):
        place = f"transformer.layers.{layer}"
        for norm in ("norm1", "norm2"):
            state[f"{place}.{norm}.weight"], state[f"{place}.{norm}.bias"] = 1 + made(WIDTH), made(WIDTH)
        state[f"{place}.attn.to_queries.weight"] = made(WIDTH, WIDTH)
        state[f"{place}.attn.to_keys_values.weight"] = made(2 * WIDTH, WIDTH)
        state[f"{place}.attn.project.weight"], state[f"{place}.attn.project.bias"] = made(WIDTH, WIDTH), made(WIDTH)
        state[f"{place}.mlp.fc1.weight"], state[f"{place}.mlp.fc1.bias"] = made(2 * WIDTH, WIDTH), made(2 * WIDTH)
        state[f"{place}.mlp.fc2.weight"], state[f"{place}.mlp.fc2.bias"] = made(WIDTH, 2 * WIDTH), made(WIDTH)
    return state


def capdec_state(mapper: Mapper = "mlp", *, masks: bool = False) -> dict[str, Tensor]:
    """What CapDec's training saves: a plain state."""
    gpt = {f"gpt.{name}": tensor for name, tensor in gpt2_state(masks=masks).items()}
    return {f"clip_project.{name}": tensor for name, tensor in mapper_state(mapper).items()} | gpt


def bridge_checkpoint(mapper: Mapper = "mlp") -> dict[str, object]:
    """What the training of Diffusion Bridge saves: a checkpoint of Lightning around its module."""
    state = {f"model.clip_project.{name}": tensor for name, tensor in mapper_state(mapper).items()}
    state |= {f"model.model.{name}": tensor for name, tensor in gpt2_state().items()}
    return {"epoch": 9, "global_step": 3, "pytorch-lightning_version": "2.0.0", "state_dict": state, "loops": {}}
