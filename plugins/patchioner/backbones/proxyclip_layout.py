"""Reading ProxyCLIP's parts as they are released: CLIP B/16, and DINO ViT-B/8 or DINOv2 ViT-B/14 with registers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.official_names import moved
from regionkit.plugins.patchioner.backbones.clip_layout import clip_sizes, read_clip_towers, read_timm_vision
from regionkit.plugins.patchioner.backbones.dinov2_layout import read_dinov2
from regionkit.plugins.patchioner.backbones.layouts import (
    artifact_of,
    count_blocks,
    first,
    merges_tokenizer,
    require,
    shape_of,
)
from regionkit.plugins.patchioner.backbones.proxyclip import ProxyClip
from regionkit.plugins.patchioner.backbones.proxyclip_config import CLIP_PATCH, VFMS, ProxyClipConfig
from regionkit.plugins.patchioner.backbones.vit import square_side

#: DINO's own names, which timm kept.
DINO: dict[str, str] = {
    r"(cls_token|pos_embed)": r"vfm.\1",
    r"(patch_embed\.proj|norm)\.(weight|bias)": r"vfm.\1.\2",
    r"blocks\.(\d+)\.(norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\.(weight|bias)": r"vfm.blocks.\1.\2.\3",
}
_ROLES = {"model": "CLIP B/16", "vfm": "DINO ViT-B/8 or DINOv2 ViT-B/14 with registers, as its option vfm says"}
_OTHER = {"dino-b8": "dinov2-b14", "dinov2-b14": "dino-b8"}


def read_proxyclip(files: Mapping[str, Path], config: ProxyClipConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``proxyclip``.

    Args:
        files: ``model`` (CLIP in OpenAI's or transformers' layout), ``vfm`` (DINO's or DINOv2's own names, or timm's)
            and ``merges``; with ``vision`` the vision tower of CLIP comes from that file of timm.
        config: Options; they say which other model is meant.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or a file holds
            another model.
    """
    require(files, _ROLES, "proxyclip")
    source = ", ".join(str(files[role]) for role in (*_ROLES, "vision") if role in files)
    tensors = read_clip_towers(files["model"], vision="vision" not in files)
    if "vision" in files:
        tensors |= read_timm_vision(files["vision"])
    sizes, patch, _ = clip_sizes(tensors, source, source)
    if patch != CLIP_PATCH:
        raise WeightsError(f"{source}: ProxyCLIP takes CLIP B/16, and this one has patches of another size")
    vfm = read_dino(files["vfm"]) if config.vfm == "dino-b8" else _renamed(read_dinov2(files["vfm"]))
    sizes |= _vfm_sizes(vfm, config, str(files["vfm"]))
    return artifact_of(
        ProxyClip,
        config,
        tensors | vfm,
        merges_tokenizer(files, sizes["vocabulary"], "proxyclip"),
        sizes=sizes,
        side=config.side,
        source=source,
        license="MIT (CLIP), Apache-2.0 (DINO, DINOv2)",
        resampled=True,  # the grids of both towers follow the resolution
    )


def read_dino(path: Path) -> dict[str, Tensor]:
    """Read the backbone of DINO in its own layout or in timm's, which are one, under our names.

    Raises:
        WeightsError: It is no DINO, or a tensor is not accounted for.
    """
    tensors = read_checkpoint(path)
    if "cls_token" not in tensors or any(re.fullmatch(r"reg(?:ister)?_tokens?", name) for name in tensors):
        raise WeightsError(
            f"{path}: this is no DINO without registers; it holds {first(tensors)}",
            "dino-b8 is dino_vitbase8_pretrain.pth, or vit_base_patch8_224.dino of timm",
            "for DINOv2 with registers write backbone.vfm: dinov2-b14",
        )
    return as_floats(rename(tensors, DINO, path), path)


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a vision tower as those of the other model."""
    return {moved(name, lambda one: one.replace("vision.", "vfm.", 1)): tensor for name, tensor in tensors.items()}


def _vfm_sizes(tensors: Mapping[str, Tensor], config: ProxyClipConfig, source: str) -> dict[str, int]:
    """Return width and layers of the other model, told from its shapes.

    Raises:
        WeightsError: A tensor that says them is missing or of an impossible shape, or this is another model.
    """
    known = VFMS[config.vfm]
    width, _, patch, _ = shape_of(tensors, "vfm.patch_embed.proj.weight", source, 4)
    if patch != known.patch:
        other = _OTHER[config.vfm]
        raise WeightsError(
            f"{source}: this model has patches of {patch} pixels, {config.vfm} has {known.patch}",
            f"write backbone.vfm: {other}" if patch == VFMS[other].patch else "name the other file",
        )
    positions = shape_of(tensors, "vfm.pos_embed", source, 3)[1]
    square_side(positions - (0 if known.registers else 1), source)
    return {"vfm_width": width, "vfm_layers": count_blocks(tensors, r"vfm\.blocks")}
