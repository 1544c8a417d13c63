"""Reading AlphaCLIP as it is released: the vision tower by itself, the text tower in CLIP's own file.

The vision tower has OpenAI's names without ``visual.``, ``conv1_alpha`` beside ``conv1``, and ``attn.in_proj.weight``
where OpenAI writes ``attn.in_proj_weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import read_checkpoint
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.clip_layout import (
    OPENAI_VISION,
    clip_sizes,
    read_clip_towers,
    read_openai,
)
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, first, merges_tokenizer, require

_PREFIX = "visual."
_RULES: dict[str, str] = {
    old.removeprefix(r"visual\.").replace("in_proj_", r"in_proj\."): new for old, new in OPENAI_VISION.items()
}
_RULES[r"conv1_alpha\.weight"] = "vision.conv1_alpha.weight"
_ROLES = {"vision": "the vision tower of AlphaCLIP B/16", "text": "CLIP B/16, for its text tower"}
_WANTED = "Patch-ioner's row is made with clip_b16_grit1m_fultune_8xe.pth of AlphaCLIP's model zoo"


def read_alphaclip(files: Mapping[str, Path], config: AlphaClipConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``alphaclip``.

    Args:
        files: ``vision``, ``text`` and ``merges``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files do
            not belong together.
    """
    require(files, _ROLES, "alphaclip", _WANTED)
    vision, text = str(files["vision"]), str(files["text"])
    tensors = read_alphaclip_vision(files["vision"]) | read_clip_towers(files["text"], vision=False)
    sizes, patch, side = clip_sizes(
        tensors, vision, text, "AlphaCLIP B/16 was trained beside the text tower of CLIP B/16"
    )
    if patch != config.patch:
        raise WeightsError(
            f"{vision}: this model has patches of {patch} pixels, 'alphaclip' has {config.patch}", _WANTED
        )
    return artifact_of(
        AlphaClip,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "alphaclip"),
        sizes=sizes,
        side=side * patch,
        source=f"{vision} and {text}",
        license="AlphaCLIP: research only (data CC BY-NC 4.0), MIT (CLIP)",
    )


def read_alphaclip_vision(path: Path) -> dict[str, Tensor]:
    """Read the vision tower of AlphaCLIP, under our names.

    Raises:
        WeightsError: It is another model, or a tensor is not accounted for.
    """
    tensors = read_checkpoint(path)
    if tensors and all(name.startswith(_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    if "conv1_alpha.weight" not in tensors:
        raise WeightsError(f"{path}: this is no vision tower of AlphaCLIP; it holds {first(tensors)}", _WANTED)
    adapters = [name for name in tensors if "lora_" in name]
    if adapters:
        raise WeightsError(
            f"{path}: {adapters[0]} and {len(adapters) - 1} more are low-rank adapters beside the weights, and the file"
            " does not say whether they are added already",
            "add them and save the sum under the plain names; the released models were fine-tuned whole",
        )
    if any(name.startswith("layer1.") for name in tensors):
        raise WeightsError(f"{path}: this is an AlphaCLIP with a ResNet, and 'alphaclip' reads the one with ViT-B/16")
    return read_openai(tensors, _RULES, path)
