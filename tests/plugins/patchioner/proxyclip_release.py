"""ProxyCLIP at a small size in the layouts of its parts' releases: CLIP, and DINO or DINOv2 beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from official_layouts import WIDTH, clip_model, dinov2, facebook_state, write_clip
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer


def dino(seed: int = 3, grid: int = 7) -> VisionTransformer:
    """timm's ViT with patches of 8 at a small size, every parameter random; its names are DINO's own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(
            img_size=8 * grid, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=WIDTH // 64, num_classes=0
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def write_parts(folder: Path, vfm: str = "dino-b8", layout: str = "facebook", clip: str = "openai") -> dict[str, Path]:
    """Write CLIP, the other model and the merges; paths by role."""
    files = write_clip(folder, clip, clip_model())
    names = {
        ("dino-b8", "facebook"): "dino_vitbase8_pretrain.pth",
        ("dino-b8", "timm"): "vit_base_patch8_224.dino",
        ("dinov2-b14", "facebook"): "dinov2_vitb14_reg4_pretrain.pth",
        ("dinov2-b14", "timm"): "vit_base_patch14_reg4_dinov2.lvd142m",
    }
    path = folder / names[vfm, layout]
    model = dino() if vfm == "dino-b8" else dinov2()
    if layout == "facebook":
        torch.save(facebook_state(model) if vfm == "dinov2-b14" else dict(model.state_dict()), path)
    else:
        path.mkdir()
        save_file(dict(model.state_dict()), path / "model.safetensors")
    return {**files, "vfm": path}
