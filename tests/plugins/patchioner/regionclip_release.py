"""RegionCLIP at a small size in the layout of its release, written by hand and not with the reader's rules."""

from __future__ import annotations

from pathlib import Path

import torch
from dinotxt_release import linear_state, norm_state
from official_layouts import DIM, clip_model, openai_state, write_merges
from torch import Tensor

#: A modified ResNet at a small size: channels of its stem, blocks of its stages, places along a side of the last one.
CHANNELS, STAGES, PLACES = 8, (1, 2, 1, 1), 3


def regionclip_state(seed: int = 6) -> dict[str, Tensor]:
    """A checkpoint of RegionCLIP's pretraining: the model, and what training needed beside it."""
    generator = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {}
    stem = ((3, CHANNELS // 2), (CHANNELS // 2, CHANNELS // 2), (CHANNELS // 2, CHANNELS))
    for place, (inputs, outputs) in enumerate(stem, 1):
        out |= convolution_state("backbone", f"{place}", inputs, outputs, 3, generator)
    inputs = CHANNELS
    for stage, blocks in enumerate(STAGES, 1):
        width = CHANNELS * 2 ** (stage - 1)
        for block in range(blocks):
            prefix = f"backbone.layer{stage}.{block}"
            out |= convolution_state(prefix, "1", inputs, width, 1, generator)
            out |= convolution_state(prefix, "2", width, width, 3, generator)
            out |= convolution_state(prefix, "3", width, 4 * width, 1, generator)
            if block == 0:
                shortcut = convolution_state(prefix, "", inputs, 4 * width, 1, generator)
                out |= {
                    key.replace("conv.", "downsample.0."): value for key, value in shortcut.items() if "conv" in key
                }
                out |= {key.replace("bn.", "downsample.1."): value for key, value in shortcut.items() if "bn." in key}
            inputs = 4 * width
    positions = 0.1 * torch.randn(1 + PLACES**2, inputs, generator=generator)
    out["backbone.attnpool.positional_embedding"] = positions
    for letter in "qkv":
        out |= linear_state(f"backbone.attnpool.{letter}_proj", inputs, inputs, generator)
    out |= linear_state("backbone.attnpool.c_proj", inputs, DIM, generator)
    text = {k: t for k, t in openai_state(clip_model()).items() if not k.startswith("visual.") and t.ndim}
    out |= {f"lang_encoder.{key}": tensor for key, tensor in text.items()}
    beside = ("offline_backbone.stem.conv1.weight", "offline_proposal_generator.rpn_head.conv.weight")
    beside += ("roi_heads.box_predictor.cls_score.weight", "teacher_backbone.conv1.weight", "pixel_mean")
    return out | {name: torch.ones(2) for name in beside}


def write_regionclip(folder: Path) -> dict[str, Path]:
    """Write RegionCLIP as detectron2 saves a model, the number of the step beside it; paths by role."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"merges": write_merges(folder), "model": folder / "regionclip_pretrained-cc_rn50.pth"}
    torch.save({"model": regionclip_state(), "iteration": 599999}, files["model"])
    return files


def convolution_state(
    prefix: str, place: str, inputs: int, outputs: int, kernel: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """A convolution of variance-keeping size and its frozen batch norm, as detectron2 stores it: without a count."""
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * (inputs * kernel**2) ** -0.5
    out = {f"{prefix}.conv{place}.weight": weight, **norm_state(f"{prefix}.bn{place}", outputs, generator)}
    out[f"{prefix}.bn{place}.running_mean"] = 0.1 * torch.randn(outputs, generator=generator)
    out[f"{prefix}.bn{place}.running_var"] = 0.5 + torch.rand(outputs, generator=generator)
    return out
