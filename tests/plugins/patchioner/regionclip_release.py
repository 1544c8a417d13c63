"""RegionCLIP at a small size in the layout of its release, written by hand and not with the reader's rules."""

from __future__ import annotations

from pathlib import Path

import torch
from official_layouts import clip_model, openai_state, write_merges
from resnet_layouts import resnet_state
from torch import Tensor


def regionclip_state(seed: int = 6) -> dict[str, Tensor]:
    """A checkpoint of RegionCLIP's pretraining: the model, and what training needed beside it."""
    generator = torch.Generator().manual_seed(seed)
    out = resnet_state("backbone", generator)
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
