"""Small random checkpoints of models that were made of CLIP, in the layouts of their releases, written by hand."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from official_layouts import CONTEXT, DIM, TEXT_WIDTH, WIDTH, clip_model, openai_state, write_clip, write_merges
from torch import Tensor
from transformers import CLIPModel


def denseclip_state(model: CLIPModel, context: int = CONTEXT, seed: int = 6) -> dict[str, Tensor]:
    """A segmentation model of mmsegmentation around both towers, everything that a training run leaves in it."""
    generator = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {"contexts": torch.randn(1, 8, TEXT_WIDTH, generator=generator), "gamma": torch.ones(DIM)}
    for name, tensor in openai_state(model).items():
        if name.startswith("visual."):
            out["backbone." + name[len("visual.") :]] = tensor
        elif name == "positional_embedding":
            out["text_encoder.positional_embedding"] = tensor[:context].clone()
        elif name not in ("logit_scale", "input_resolution", "context_length", "vocab_size"):
            out["text_encoder." + name] = tensor
    out["backbone.fpn1.0.weight"] = torch.ones(WIDTH)
    out["backbone.fpn1.1.weight"] = torch.randn(4, 4, 2, 2, generator=generator)
    out["backbone.fpn1.2.running_mean"] = torch.zeros(WIDTH)
    out["backbone.fpn1.2.num_batches_tracked"] = torch.tensor(80000)
    out["backbone.fpn3.bias"] = torch.zeros(WIDTH)
    out["context_decoder.memory_proj.0.weight"] = torch.ones(DIM)
    out["context_decoder.decoder.0.self_attn.q_proj.weight"] = torch.randn(8, 8, generator=generator)
    out["neck.lateral_convs.0.conv.weight"] = torch.randn(4, 4, 1, 1, generator=generator)
    out["decode_head.conv_seg.weight"] = torch.randn(5, 4, 1, 1, generator=generator)
    out["decode_head.scale_heads.0.0.bn.num_batches_tracked"] = torch.tensor(80000)
    out["identity_head.conv_seg.bias"] = torch.zeros(5)
    return out


def mmseg_file(state: dict[str, Tensor], palette: object = ((120, 120, 120), (180, 120, 120))) -> dict[str, object]:
    """What mmcv saves around the weights of a model."""
    meta = {"epoch": 127, "iter": 80000, "mmcv_version": "1.3.17", "config": "model = dict(type='DenseCLIP')\n"}
    meta |= {"CLASSES": ("wall", "building"), "PALETTE": palette, "hook_msgs": {}, "seed": None}
    optimizer = {"state": {0: {"step": 80000, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-6}]}
    return {"meta": meta, "state_dict": OrderedDict(state), "optimizer": optimizer}


def write_denseclip(folder: Path, context: int = CONTEXT) -> dict[str, Path]:
    """Write DenseCLIP's checkpoint and CLIP's merges; paths by role."""
    files = {"model": folder / "ViT-B-DenseCLIP_long_ctx.pth", "merges": write_merges(folder)}
    torch.save(mmseg_file(denseclip_state(clip_model(), context)), files["model"])
    return files


def alphaclip_state(model: CLIPModel, seed: int = 7) -> dict[str, Tensor]:
    """AlphaCLIP's vision tower: no prefix, query, key and value as a layer of their own, a channel more."""
    out = {}
    for name, tensor in openai_state(model).items():
        if name.startswith("visual."):
            out[name[len("visual.") :].replace(".attn.in_proj_", ".attn.in_proj.")] = tensor
    out["conv1_alpha.weight"] = 0.1 * torch.randn(WIDTH, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    return out


def write_alphaclip(folder: Path) -> dict[str, Path]:
    """Write AlphaCLIP's vision tower, fine-tuned, beside the file of another CLIP B/16; paths by role."""
    files = write_clip(folder, "openai", clip_model())
    files["text"] = files.pop("model")
    files["vision"] = folder / "clip_b16_grit1m_fultune_8xe.pth"
    torch.save(alphaclip_state(clip_model(seed=3)), files["vision"])
    return files
