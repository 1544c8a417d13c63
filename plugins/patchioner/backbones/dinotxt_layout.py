"""Reading DINO.txt as it is released: DINOv2, the vision head and the text encoder lie in three files.

A file that holds the whole model, ``visual_model.*`` and ``text_model.*``, may stand for any of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import text_sizes
from regionkit.plugins.patchioner.backbones.dinotxt import DinoTxt
from regionkit.plugins.patchioner.backbones.dinotxt_config import DinoTxtConfig
from regionkit.plugins.patchioner.backbones.dinov2_layout import dinov2_sizes, named_dinov2
from regionkit.plugins.patchioner.backbones.layouts import (
    artifact_of,
    count_blocks,
    cut_attention,
    merges_tokenizer,
    require,
)

_ROLES = {
    "vision": "DINOv2 ViT-L/14 with registers",
    "text": "the text encoder of DINO.txt",
    "head": "the vision head of DINO.txt",
}
_WITH = "DINO.txt was trained with dinov2_vitl14_reg4_pretrain.pth, or vit_large_patch14_reg4_dinov2 of timm"
#: Where each part lies in a file of the whole model.
_INSIDE = {
    "vision": r"visual_model\.backbone\.(?:model\.)?",
    "text": r"text_model\.",
    "head": r"visual_model\.head\.",
}
#: The whole model's own: the parts, and the temperature of training.
_WHOLE = r"visual_model\.|text_model\.|logit_scale$|logit_bias$"
_LAYERS = "text.text_model.encoder.layers"

HEAD: dict[str, str] = {
    r"block_list\.(\d+)\.(norm[12])\.(weight|bias)": r"head.blocks.\1.\2.\3",
    r"block_list\.(\d+)\.(attn\.qkv\.weight|attn\.proj\.(?:weight|bias)|ls[12]\.gamma)": r"head.blocks.\1.\2",
    r"block_list\.(\d+)\.mlp\.w1\.(weight|bias)": r"head.blocks.\1.mlp.fc1_g.\2",  # through SiLU
    r"block_list\.(\d+)\.mlp\.w2\.(weight|bias)": r"head.blocks.\1.mlp.fc1_x.\2",
    r"block_list\.(\d+)\.mlp\.w3\.(weight|bias)": r"head.blocks.\1.mlp.fc2.\2",
    r"ln_final\.(weight|bias)": r"head.norm.\1",
}
TEXT: dict[str, str] = {
    r"backbone\.token_embedding\.weight": "text.text_model.embeddings.token_embedding.weight",
    r"backbone\.positional_embedding": "text.text_model.embeddings.position_embedding.weight",
    r"backbone\.ln_final\.(weight|bias)": r"text.text_model.final_layer_norm.\1",
    r"head\.linear_projection\.weight": "text.text_projection.weight",
    r"backbone\.blocks\.(\d+)\.attention_norm\.(weight|bias)": rf"{_LAYERS}.\1.layer_norm1.\2",
    r"backbone\.blocks\.(\d+)\.ffn_norm\.(weight|bias)": rf"{_LAYERS}.\1.layer_norm2.\2",
    r"backbone\.blocks\.(\d+)\.attention\.qkv\.(weight|bias)": rf"{_LAYERS}.\1.self_attn.qkv.\2",
    r"backbone\.blocks\.(\d+)\.attention\.proj\.(weight|bias)": rf"{_LAYERS}.\1.self_attn.out_proj.\2",
    r"backbone\.blocks\.(\d+)\.feed_forward\.(fc[12])\.(weight|bias)": rf"{_LAYERS}.\1.mlp.\2.\3",
}


def read_dinotxt(files: Mapping[str, Path], config: DinoTxtConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``dinotxt``.

    Args:
        files: ``vision``, ``text``, ``merges`` and, unless the options leave the vision head out, ``head``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files do
            not belong together.
    """
    roles = {role: what for role, what in _ROLES.items() if role != "head" or config.with_head}
    require(files, roles, "dinotxt")
    tensors = named_dinov2(_part(files["vision"], "vision"), files["vision"], _WITH)
    tensors |= read_text_encoder(files["text"])
    sizes, side = _sizes(tensors, files)
    if config.with_head:
        tensors |= read_vision_head(files["head"])
        sizes["head_layers"] = count_blocks(tensors, r"head\.blocks")
    return artifact_of(
        DinoTxt,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "dinotxt"),
        sizes=sizes,
        side=side * sizes["patch"],
        source=", ".join(str(files[role]) for role in roles),
        license="Apache-2.0 (DINOv2 and DINO.txt), MIT (merges of CLIP)",
    )


def read_vision_head(path: Path) -> dict[str, Tensor]:
    """Read the vision head, under our names.

    Raises:
        WeightsError: A tensor is not accounted for.
    """
    return as_floats(rename(_part(path, "head"), HEAD, path), path)


def read_text_encoder(path: Path) -> dict[str, Tensor]:
    """Read the text encoder, under the names of transformers' CLIP.

    Its attention has no bias at query, key and value; CLIP's has one, which is zero here.

    Raises:
        WeightsError: A tensor is not accounted for.
    """
    tensors = as_floats(rename(_part(path, "text"), TEXT, path), path)
    joint = [name for name in tensors if ".self_attn.qkv." in name]
    if not any(name.endswith(".bias") for name in joint):
        for name in [name for name in joint if tensors[name].ndim]:
            tensors[name.removesuffix("weight") + "bias"] = tensors[name].new_zeros(len(tensors[name]))
    return cut_attention(tensors, path)


def _part(path: Path, role: str) -> dict[str, Tensor]:
    """Return the tensors of one part, out of its own file or of one that holds the whole model."""
    tensors = read_checkpoint(path)
    if not any(name.startswith(("visual_model.", "text_model.")) for name in tensors):
        return tensors
    strange = [name for name in tensors if not re.match(_WHOLE, name)]
    if strange:
        raise WeightsError(
            f"{path}: not every tensor of this checkpoint is accounted for", f"unknown: {', '.join(strange[:3])}"
        )
    found = {re.sub(f"^{_INSIDE[role]}", "", name): t for name, t in tensors.items() if re.match(_INSIDE[role], name)}
    if not found:
        raise WeightsError(f"{path}: {_ROLES[role]} is not in this file", f"name its own file, with the role '{role}'")
    return found


def _sizes(tensors: Mapping[str, Tensor], files: Mapping[str, Path]) -> tuple[dict[str, int], int]:
    """Return the sizes of both towers and the side of the grid, told from their shapes."""
    vision, side = dinov2_sizes(tensors, str(files["vision"]))
    sizes = {**vision, **text_sizes(tensors, str(files["text"]))}
    if sizes["text_dim"] != 2 * sizes["width"]:
        raise WeightsError(
            f"{files['text']}: texts become vectors of {sizes['text_dim']}, and {files['vision']} makes patches of "
            f"{sizes['width']}: a text vector is one half for the class token, one for the patches",
            _WITH,
        )
    return sizes, side
