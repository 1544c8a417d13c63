"""Reading Talk2DINO as it is released: DINOv2, CLIP's text tower and the projection lie in three files.

Two different projections are released under the one name ``vitb_mlp_infonce.pth``:

================  ==================================================================================================
sha256            where, and for what
================  ==================================================================================================
5f6efcc520f22916  Talk2DINO's own repository (md5 ccd4242bfc5486d91c72d971aca3d637)
5db3e85d8745a621  the copy in Patch-ioner's repository (md5 5250b546d0ff468ed1775161c75d8f02); it fits the released
                  vocabulary of ViECap in this space (cosine 0.996, against 0.905 of the other) and so, almost
                  certainly, the released decoders and memories
================  ==================================================================================================

The header says which one was read: ``extra["projection_sha256"]``, all 64 digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.files import sha256_of
from regionkit.core.weights import WeightHeader, check_fit
from regionkit.plugins.patchioner.backbones.clip_layouts import (
    first,
    merges_tokenizer,
    read_clip_towers,
    shape_of,
    text_sizes,
    vision_sizes,
    with_sizes,
)
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.backbones.talk2dino_config import Talk2DinoConfig, talk2dino_spaces

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
PROJECTION: dict[str, str] = {
    r"linear_layer\.(weight|bias)": r"projection.linear_layer.\1",
    r"hidden_layers\.0\.(weight|bias)": r"projection.hidden_layers.0.\1",
    r"linear_layer2\.(weight|bias)": r"projection.hidden_layers.0.\1",  # older files
}
_WITH = "Talk2DINO was trained with dinov2_vitb14_reg4_pretrain.pth, or vit_base_patch14_reg4_dinov2 of timm"
_ROLES = {"vision": "DINOv2 ViT-B/14 with registers", "text": "CLIP B/16", "projection": "the projection of Talk2DINO"}


def read_talk2dino(files: Mapping[str, Path], config: Talk2DinoConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``dinov2-talk2dino``.

    Args:
        files: ``vision``, ``text``, ``projection`` and ``merges``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files do
            not belong together.
    """
    for role, what in _ROLES.items():
        if role not in files:
            raise WeightsError(f"backbone 'dinov2-talk2dino' needs {what}", f"the file with the role '{role}'")
    tensors = read_dinov2(files["vision"])
    tensors |= read_clip_towers(files["text"], vision=False)
    tensors |= read_projection(files["projection"])
    source = ", ".join(str(files[role]) for role in _ROLES)
    # Positions of DINOv2 with registers, as timm keeps them, belong to patches alone.
    vision = {**tensors, "vision.pos_embed": with_class(tensors, source)}
    sizes = {**vision_sizes(vision, str(files["vision"])), **text_sizes(tensors, str(files["text"]))}
    sizes["registers"] = shape_of(tensors, "vision.reg_token", str(files["vision"]), 3)[1]
    side = sizes.pop("side")
    tokenizer = merges_tokenizer(files, sizes["vocabulary"], "dinov2-talk2dino")
    whole = with_sizes(config, side * sizes["patch"], sizes, source)
    check_fit(Talk2Dino.skeleton(whole, tokenizer), tensors, source)
    projection = files["projection"]
    known = {"projection_sha256": sha256_of(projection)} if projection.is_file() else {}
    header = WeightHeader(
        "backbone",
        "dinov2-talk2dino",
        talk2dino_spaces(whole)[0],
        config=sizes,
        extra={"tokenizer": tokenizer.to_extra(), **known},
        license="Apache-2.0 (DINOv2), MIT (CLIP), Talk2DINO: see its repository",
    )
    return WeightArtifact({**tensors, **tokenizer.to_tensors()}, header)


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


def read_projection(path: Path) -> dict[str, Tensor]:
    """Read Talk2DINO's projection, under our names.

    Raises:
        WeightsError: A tensor is not accounted for.
    """
    return as_floats(rename(read_checkpoint(path), PROJECTION, path), path)


def with_class(tensors: Mapping[str, Tensor], source: str) -> Tensor:
    """Return positions with one in front for the class token, as :func:`vision_sizes` counts them.

    Raises:
        WeightsError: There are none, or of an impossible shape.
    """
    shape_of(tensors, "vision.pos_embed", source, 3)
    positions = tensors["vision.pos_embed"]
    return positions.new_zeros(1, positions.shape[1] + 1, 1)
