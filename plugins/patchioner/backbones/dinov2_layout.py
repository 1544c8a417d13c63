"""Reading DINOv2 with registers as it is released, in its own layout or in timm's, for the backbones that are on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import vision_sizes
from regionkit.plugins.patchioner.backbones.layouts import first, shape_of

_BLOCK_PARTS = (
    r"norm[12]\.(?:weight|bias)|attn\.(?:qkv|proj)\.(?:weight|bias)|mlp\.fc[12]\.(?:weight|bias)|ls[12]\.gamma"
)
_SHARED: dict[str, str] = {
    r"(cls_token|pos_embed)": r"vision.\1",
    r"(patch_embed\.proj|norm)\.(weight|bias)": r"vision.\1.\2",
    rf"blocks\.(\d+)\.({_BLOCK_PARTS})": r"vision.blocks.\1.\2",
}
#: DINOv2's own names, and timm's.
FACEBOOK = {**_SHARED, r"register_tokens": "vision.reg_token"}
TIMM = {**_SHARED, r"reg_token": "vision.reg_token"}
_WITH = "of DINOv2 ViT-B/14 that is dinov2_vitb14_reg4_pretrain.pth, or vit_base_patch14_reg4_dinov2 of timm"


def read_dinov2(path: Path, hint: str = _WITH) -> dict[str, Tensor]:
    """Read DINOv2 with registers in its own layout or in timm's, under our names.

    In its own layout the class token has a position; timm adds it to the token once and for all, and so do we. The mask
    token belongs to training.

    Args:
        path: The checkpoint.
        hint: Which files are meant, for messages.

    Raises:
        WeightsError: It is no DINOv2 with registers, or a tensor is not accounted for.
    """
    return named_dinov2(read_checkpoint(path), path, hint)


def named_dinov2(tensors: Mapping[str, Tensor], path: Path, hint: str = _WITH) -> dict[str, Tensor]:
    """Bring the tensors of DINOv2 with registers, as :func:`read_dinov2` reads them, under our names.

    Raises:
        WeightsError: They are none, or one is not accounted for.
    """
    if "register_tokens" in tensors:
        renamed = as_floats(rename(tensors, FACEBOOK, path, (r"mask_token",)), path)
        positions = renamed.get("vision.pos_embed")
        if positions is not None and positions.ndim == 3 and "vision.cls_token" in renamed:
            renamed["vision.cls_token"] = renamed["vision.cls_token"] + positions[:, :1]
            renamed["vision.pos_embed"] = positions[:, 1:].contiguous()
        return renamed
    if "reg_token" in tensors:
        return as_floats(rename(tensors, TIMM, path), path)
    raise WeightsError(
        f"{path}: this is no DINOv2 with registers; it holds {first(tensors)}",
        hint,
    )


def dinov2_sizes(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, int], int]:
    """Return patch, width, layers and registers, and the side of the grid, told from the shapes of the vision tower.

    Raises:
        WeightsError: A tensor that says them is missing, or its shape is impossible.
    """
    shape_of(tensors, "vision.pos_embed", source, 3)
    positions = tensors["vision.pos_embed"]
    # Positions of DINOv2 with registers, as timm keeps them, belong to patches alone; CLIP's count the class token.
    counted = positions.new_zeros(1, positions.shape[1] + 1, 1)
    sizes = vision_sizes({**tensors, "vision.pos_embed": counted}, source)
    sizes["registers"] = shape_of(tensors, "vision.reg_token", source, 3)[1]
    side = sizes.pop("side")
    return sizes, side
