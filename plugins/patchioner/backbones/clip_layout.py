"""Reading CLIP as it is released: OpenAI's own names, transformers' and timm's, into the names of ``clip``.

A checkpoint tells its layout by its names, and its sizes by its shapes. Every name is accounted for or the checkpoint
is refused. Our names are ``vision.`` with those of timm's vision transformer and ``text.`` with those of transformers'
``CLIPTextModelWithProjection``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.official_names import moved
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_PATCHES, ClipConfig
from regionkit.plugins.patchioner.backbones.layouts import (
    AGAIN,
    artifact_of,
    count_blocks,
    cut_attention,
    first,
    merges_tokenizer,
    shape_of,
)
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH
from regionkit.plugins.patchioner.backbones.vit import square_side

_BLOCK = r"(\d+)\.{}\.(weight|bias)"


def _blocks(prefix: str, target: str, names: Mapping[str, str]) -> dict[str, str]:
    """Return the rules of the parts of a transformer's blocks."""
    return {prefix + _BLOCK.format(old): rf"{target}.\1.{new}.\2" for old, new in names.items()}


_OPENAI_BLOCK = {r"ln_1": "norm1", r"ln_2": "norm2", r"attn\.out_proj": "attn.proj"}
_OPENAI_BLOCK |= {r"mlp\.c_fc": "mlp.fc1", r"mlp\.c_proj": "mlp.fc2"}
_TEXT_LAYERS = "text.text_model.encoder.layers"

OPENAI_VISION: dict[str, str] = {
    r"visual\.class_embedding": "vision.cls_token",
    r"visual\.positional_embedding": "vision.pos_embed",
    r"visual\.proj": "vision.head.weight",
    r"visual\.conv1\.weight": "vision.patch_embed.proj.weight",
    r"visual\.ln_pre\.(weight|bias)": r"vision.norm_pre.\1",
    r"visual\.ln_post\.(weight|bias)": r"vision.norm.\1",
    r"visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)": r"vision.blocks.\1.attn.qkv.\2",
    **_blocks(r"visual\.transformer\.resblocks\.", "vision.blocks", _OPENAI_BLOCK),
}
OPENAI_TEXT: dict[str, str] = {
    r"token_embedding\.weight": "text.text_model.embeddings.token_embedding.weight",
    r"positional_embedding": "text.text_model.embeddings.position_embedding.weight",
    r"ln_final\.(weight|bias)": r"text.text_model.final_layer_norm.\1",
    r"text_projection": "text.text_projection.weight",
    r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)": rf"{_TEXT_LAYERS}.\1.self_attn.qkv.\2",
    **_blocks(
        r"transformer\.resblocks\.",
        _TEXT_LAYERS,
        {
            r"ln_1": "layer_norm1",
            r"ln_2": "layer_norm2",
            r"attn\.out_proj": "self_attn.out_proj",
            r"mlp\.c_fc": "mlp.fc1",
            r"mlp\.c_proj": "mlp.fc2",
        },
    ),
}
HF_VISION: dict[str, str] = {
    r"vision_model\.embeddings\.class_embedding": "vision.cls_token",
    r"vision_model\.embeddings\.patch_embedding\.weight": "vision.patch_embed.proj.weight",
    r"vision_model\.embeddings\.position_embedding\.weight": "vision.pos_embed",
    r"vision_model\.pre_layrnorm\.(weight|bias)": r"vision.norm_pre.\1",
    r"vision_model\.post_layernorm\.(weight|bias)": r"vision.norm.\1",
    r"visual_projection\.weight": "vision.head.weight",
    r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)": r"vision.blocks.\1.attn.\2.\3",
    **_blocks(
        r"vision_model\.encoder\.layers\.",
        "vision.blocks",
        {
            r"layer_norm1": "norm1",
            r"layer_norm2": "norm2",
            r"self_attn\.out_proj": "attn.proj",
            r"mlp\.fc1": "mlp.fc1",
            r"mlp\.fc2": "mlp.fc2",
        },
    ),
}
HF_TEXT: dict[str, str] = {
    r"text_model\.embeddings\.(token|position)_embedding\.weight": r"text.text_model.embeddings.\1_embedding.weight",
    r"text_model\.final_layer_norm\.(weight|bias)": r"text.text_model.final_layer_norm.\1",
    r"text_projection\.weight": "text.text_projection.weight",
    r"text_model\.encoder\.layers\.(\d+)\.(layer_norm[12]|mlp\.fc[12]|self_attn\.(?:q|k|v|out)_proj)\.(weight|bias)": (
        rf"{_TEXT_LAYERS}.\1.\2.\3"
    ),
}
TIMM_VISION: dict[str, str] = {
    r"(cls_token|pos_embed|patch_embed\.proj\.weight|head\.weight)": r"vision.\1",
    r"(norm_pre|norm)\.(weight|bias)": r"vision.\1.\2",
    r"blocks\.(\d+)\.(norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\.(weight|bias)": r"vision.blocks.\1.\2.\3",
}
#: What official files hold beside weights: the temperature of training, and numbers that shapes say too.
ASIDE = (
    r"logit_scale",
    r"logit_bias",
    r"input_resolution|context_length|vocab_size",
    r"(?:text_model|vision_model)\.embeddings\.position_ids",
)


def read_clip(files: Mapping[str, Path], config: ClipConfig, model: type[Clip] = Clip) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``clip``.

    Args:
        files: ``model`` (OpenAI's or transformers' layout) and ``merges``; with ``vision`` the vision tower comes from
            that file of timm and the text tower from ``model``.
        config: Options; they say which model is meant.
        model: The backbone that reads them.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files hold
            another model.
    """
    if "model" not in files:
        raise WeightsError(
            f"backbone '{model.component}' needs the file of a CLIP model", "for example ViT-B-16.pt, or its folder"
        )
    source = str(files["model"])
    separate = "vision" in files
    tensors = read_clip_towers(files["model"], vision=not separate)
    if separate:
        source = f"{files['vision']} and {source}"
        tensors |= read_timm_vision(files["vision"])
    sizes, patch, side = clip_sizes(tensors, source, source)
    _check_model(config, patch, source)
    tokenizer = merges_tokenizer(files, sizes["vocabulary"], model.component)
    return artifact_of(model, config, tensors, tokenizer, sizes=sizes, side=side * patch, source=source, license="MIT")


def read_clip_towers(path: Path, *, vision: bool = True, text: bool = True) -> dict[str, Tensor]:
    """Read the towers of a CLIP checkpoint in OpenAI's or transformers' layout, under our names.

    Args:
        path: The checkpoint.
        vision: Whether the vision tower is wanted; otherwise it is left aside.
        text: The same of the text tower.

    Raises:
        WeightsError: The layout is unknown, or a tensor is not accounted for.
    """
    tensors = read_checkpoint(path)
    if any(name.startswith("visual.attnpool.") for name in tensors):
        raise WeightsError(
            f"{path}: this is a CLIP with a ResNet, not with a vision transformer; it holds {first(tensors)}",
            "backbone 'clip-resnet' reads it: write backbone: {name: clip-resnet}",
        )
    if any(name in tensors for name in ("visual.conv1.weight", "token_embedding.weight")):
        layout, finish = (OPENAI_VISION, OPENAI_TEXT), _finish_openai
    elif any(name.startswith(("text_model.", "vision_model.")) for name in tensors):
        layout, finish = (HF_VISION, HF_TEXT), _finish_hf
    else:
        raise WeightsError(
            f"{path}: this is no CLIP checkpoint of OpenAI's or transformers' layout; it holds {first(tensors)}",
            "a file of timm holds the vision tower alone: give it beside a whole model, for its text tower",
        )
    wanted = [rules for rules, want in zip(layout, (vision, text), strict=True) if want]
    aside = [pattern for rules, want in zip(layout, (vision, text), strict=True) if not want for pattern in rules]
    renamed = rename(tensors, {old: new for rules in wanted for old, new in rules.items()}, path, (*ASIDE, *aside))
    return _shaped(finish(as_floats(renamed, path), path))


def read_openai(
    tensors: Mapping[str, Tensor], rules: Mapping[str, str], path: Path, aside: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Bring tensors that have OpenAI's shapes, under whatever names, under our names.

    Args:
        tensors: As the checkpoint has them.
        rules: As of :func:`regionkit.core.checkpoints.rename`.
        path: The checkpoint, for messages.
        aside: Names that are known and not needed.

    Raises:
        WeightsError: A tensor is not accounted for.
    """
    return _shaped(_finish_openai(as_floats(rename(tensors, rules, path, aside), path), path))


def read_timm_vision(path: Path) -> dict[str, Tensor]:
    """Read timm's file of a CLIP vision tower, under our names.

    Raises:
        WeightsError: A tensor is not accounted for, or the projection has a bias, which CLIP has not.
    """
    tensors = read_checkpoint(path)
    bias = tensors.pop("head.bias", None)
    if bias is not None and bool(bias.any()):
        raise WeightsError(f"{path}: head.bias is not zero: this is no projection of CLIP but a classifier")
    return as_floats(rename(tensors, TIMM_VISION, path), path)


def clip_sizes(
    tensors: Mapping[str, Tensor], vision: str, text: str, hint: str = AGAIN
) -> tuple[dict[str, int], int, int]:
    """Return the sizes of both towers, the side of a patch in pixels and the side of the grid, told from their shapes.

    Args:
        tensors: Both towers under our names.
        vision: The checkpoint of the vision tower, for messages.
        text: That of the text tower.
        hint: Which files are meant.

    Raises:
        WeightsError: A tensor that says them is missing, its shape is impossible, or the towers are of two models.
    """
    sizes = {**vision_sizes(tensors, vision), **text_sizes(tensors, text)}
    patch, side, text_dim = (sizes.pop(name) for name in ("patch", "side", "text_dim"))
    sizes["dim"] = shape_of(tensors, "vision.head.weight", vision)[0]
    if text_dim != sizes["dim"]:
        raise WeightsError(
            f"{vision}: the two towers are projected to spaces of different width"
            if vision == text
            else f"{vision} projects to {sizes['dim']} numbers and {text} to {text_dim}: "
            "the files do not belong together",
            hint,
        )
    return sizes, patch, side


def vision_sizes(tensors: Mapping[str, Tensor], source: str) -> dict[str, int]:
    """Return width, layers, patch and the side of the grid of a vision tower, told from its shapes.

    Raises:
        WeightsError: A tensor that says them is missing, or its shape is impossible.
    """
    width, _, patch, _ = shape_of(tensors, "vision.patch_embed.proj.weight", source, 4)
    positions = shape_of(tensors, "vision.pos_embed", source, 3)[1]
    _check_heads(width, source)
    return {
        "width": width,
        "layers": count_blocks(tensors, r"vision\.blocks"),
        "patch": patch,
        "side": square_side(positions - 1, source),
    }


def text_sizes(tensors: Mapping[str, Tensor], source: str) -> dict[str, int]:
    """Return the sizes of a text tower, told from its shapes; ``text_dim`` is what it is projected to.

    Raises:
        WeightsError: A tensor that says them is missing, or its shape is impossible.
    """
    embeddings = "text.text_model.embeddings"
    vocabulary, width = shape_of(tensors, f"{embeddings}.token_embedding.weight", source, 2)
    _check_heads(width, source)
    return {
        "text_width": width,
        "text_layers": count_blocks(tensors, r"text\.text_model\.encoder\.layers"),
        "text_dim": shape_of(tensors, "text.text_projection.weight", source, 2)[0],
        "context": shape_of(tensors, f"{embeddings}.position_embedding.weight", source, 2)[0],
        "vocabulary": vocabulary,
    }


def _check_heads(width: int, source: str) -> None:
    if not width or width % HEAD_WIDTH:
        raise WeightsError(
            f"{source}: a tower of width {width} has no heads of {HEAD_WIDTH}, as CLIP and DINOv2 have", AGAIN
        )


def _check_model(config: ClipConfig, patch: int, source: str) -> None:
    if patch == config.patch:
        return
    others = [name for name, size in CLIP_PATCHES.items() if size == patch]
    raise WeightsError(
        f"{source}: this model has patches of {patch} pixels, {config.model} has {config.patch}",
        *(
            (
                f"write backbone.model: {others[0]}, or name the other file: backbone.weights: file:PATH",
                f"to convert it: --set model={others[0]}",
            )
            if others
            else (f"models are: {', '.join(CLIP_PATCHES)}",)
        ),
    )


def _finish_openai(tensors: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Turn projections around and cut the text tower's joint query, key and value."""
    for name in ("vision.head.weight", "text.text_projection.weight"):
        if name in tensors and tensors[name].ndim == 2:
            tensors[name] = tensors[name].T.contiguous()
    return cut_attention(tensors, source)


def _finish_hf(tensors: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Join query, key and value of the vision tower."""
    for name in [name for name in tensors if ".attn.q." in name]:
        letters = [name.replace(".attn.q.", f".attn.{letter}.") for letter in "qkv"]
        shapes = {tensors[letter].shape[1:] for letter in letters if letter in tensors and tensors[letter].ndim}
        if all(letter in tensors for letter in letters) and len(shapes) == 1:
            joint = torch.cat([tensors.pop(letter) for letter in letters])
            tensors[moved(name, lambda one: one.replace(".attn.q.", ".attn.qkv."))] = joint
    return tensors


def _shaped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give class token (width,) and positions (n, width) the dimensions that timm's have."""
    added = {"vision.cls_token": (None, None), "vision.pos_embed": (None,)}
    return {name: tensor[added[name]] if name in added else tensor for name, tensor in tensors.items()}
