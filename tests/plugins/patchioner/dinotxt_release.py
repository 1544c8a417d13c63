"""DINO.txt at a small size in the layouts of its release, written by hand and not with the reader's rules."""

from __future__ import annotations

from pathlib import Path

import torch
from official_layouts import CONTEXT, TEXT_LAYERS, TEXT_WIDTH, VOCABULARY, WIDTH, dinov2, facebook_state, write_merges
from safetensors.torch import save_file
from torch import Tensor

#: Blocks of DINO.txt's vision head, and what SwiGLU makes of the width: two thirds of four widths, rounded up to 64.
HEAD_LAYERS, SWIGLU = 2, 384


def vision_head_state(seed: int = 3) -> dict[str, Tensor]:
    """DINO.txt's vision head in the names of its release; its attention has no bias at query, key and value."""
    generator = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {}
    for block in (f"block_list.{layer}" for layer in range(HEAD_LAYERS)):
        for norm in ("norm1", "norm2"):
            out |= norm_state(f"{block}.{norm}", WIDTH, generator)
        out[f"{block}.attn.qkv.weight"] = 0.1 * torch.randn(3 * WIDTH, WIDTH, generator=generator)
        out |= linear_state(f"{block}.attn.proj", WIDTH, WIDTH, generator)
        out |= linear_state(f"{block}.mlp.w1", WIDTH, SWIGLU, generator)
        out |= linear_state(f"{block}.mlp.w2", WIDTH, SWIGLU, generator)
        out |= linear_state(f"{block}.mlp.w3", SWIGLU, WIDTH, generator)
        for scale in ("ls1", "ls2"):
            out[f"{block}.{scale}.gamma"] = 0.2 * torch.randn(WIDTH, generator=generator)
    return out | norm_state("ln_final", WIDTH, generator)


def text_encoder_state(seed: int = 4) -> dict[str, Tensor]:
    """DINO.txt's text encoder in the names of its release."""
    generator = torch.Generator().manual_seed(seed)
    out = {
        "backbone.token_embedding.weight": 0.1 * torch.randn(VOCABULARY, TEXT_WIDTH, generator=generator),
        "backbone.positional_embedding": 0.1 * torch.randn(CONTEXT, TEXT_WIDTH, generator=generator),
        "head.linear_projection.weight": 0.1 * torch.randn(2 * WIDTH, TEXT_WIDTH, generator=generator),
    }
    for block in (f"backbone.blocks.{layer}" for layer in range(TEXT_LAYERS)):
        out |= norm_state(f"{block}.attention_norm", TEXT_WIDTH, generator)
        out[f"{block}.attention.qkv.weight"] = 0.1 * torch.randn(3 * TEXT_WIDTH, TEXT_WIDTH, generator=generator)
        out |= linear_state(f"{block}.attention.proj", TEXT_WIDTH, TEXT_WIDTH, generator)
        out |= norm_state(f"{block}.ffn_norm", TEXT_WIDTH, generator)
        out |= linear_state(f"{block}.feed_forward.fc1", TEXT_WIDTH, 4 * TEXT_WIDTH, generator)
        out |= linear_state(f"{block}.feed_forward.fc2", 4 * TEXT_WIDTH, TEXT_WIDTH, generator)
    return out | norm_state("backbone.ln_final", TEXT_WIDTH, generator)


def write_dinotxt(folder: Path, layout: str = "facebook") -> dict[str, Path]:
    """Write DINO.txt as ``facebook`` has it, with the vision tower of ``timm``, or ``whole`` in one file; by role."""
    folder.mkdir(parents=True, exist_ok=True)
    files, name = {"merges": write_merges(folder)}, "dinov2_vitl14_reg4_dinotxt_tet1280d20h24l"
    vision = facebook_state(dinov2())
    if layout == "whole":
        path = folder / f"{name}.pth"
        whole = {f"visual_model.backbone.model.{key}": tensor for key, tensor in vision.items()}
        whole |= {f"visual_model.head.{key}": tensor for key, tensor in vision_head_state().items()}
        whole |= {f"text_model.{key}": tensor for key, tensor in text_encoder_state().items()}
        torch.save({**whole, "logit_scale": torch.ones(1)}, path)
        return {**files, "vision": path, "head": path, "text": path}
    files |= {"head": folder / f"{name}_vision_head.pth", "text": folder / f"{name}_text_encoder.pth"}
    torch.save(vision_head_state(), files["head"])
    torch.save(text_encoder_state(), files["text"])
    if layout == "timm":
        files["vision"] = folder / "vit_large_patch14_reg4_dinov2.lvd142m.safetensors"
        save_file(dict(dinov2().state_dict()), files["vision"])
    else:
        files["vision"] = folder / "dinov2_vitl14_reg4_pretrain.pth"
        torch.save(vision, files["vision"])
    return files


def linear_state(name: str, inputs: int, outputs: int, generator: torch.Generator) -> dict[str, Tensor]:
    weight = 0.1 * torch.randn(outputs, inputs, generator=generator)
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(outputs, generator=generator)}


def norm_state(name: str, width: int, generator: torch.Generator) -> dict[str, Tensor]:
    weight = 1 + 0.1 * torch.randn(width, generator=generator)
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(width, generator=generator)}
