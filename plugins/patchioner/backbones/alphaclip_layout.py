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
from regionkit.core.weights import WeightHeader, check_fit
from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import ALPHACLIP_PATCH, AlphaClipConfig, alphaclip_spaces
from regionkit.plugins.patchioner.backbones.clip_layouts import (
    OPENAI_VISION,
    first,
    merges_tokenizer,
    read_clip_towers,
    read_openai,
    shape_of,
    text_sizes,
    vision_sizes,
    with_sizes,
)

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
    for role, what in _ROLES.items():
        if role not in files:
            raise WeightsError(f"backbone 'alphaclip' needs {what}", f"the file with the role '{role}'; {_WANTED}")
    vision, text = str(files["vision"]), str(files["text"])
    tensors = read_alphaclip_vision(files["vision"]) | read_clip_towers(files["text"], vision=False)
    sizes = {**vision_sizes(tensors, vision), **text_sizes(tensors, text)}
    patch, side, text_dim = (sizes.pop(name) for name in ("patch", "side", "text_dim"))
    sizes["dim"] = shape_of(tensors, "vision.head.weight", vision)[0]
    if patch != ALPHACLIP_PATCH:
        raise WeightsError(
            f"{vision}: this model has patches of {patch} pixels, 'alphaclip' has {ALPHACLIP_PATCH}", _WANTED
        )
    if text_dim != sizes["dim"]:
        raise WeightsError(
            f"{vision} projects to {sizes['dim']} numbers and {text} to {text_dim}: the files do not belong together",
            "AlphaCLIP B/16 was trained beside the text tower of CLIP B/16",
        )
    tokenizer = merges_tokenizer(files, sizes["vocabulary"], "alphaclip")
    source = f"{vision} and {text}"
    whole = with_sizes(config, side * patch, sizes, source)
    check_fit(AlphaClip.skeleton(whole, tokenizer), tensors, source)
    header = WeightHeader(
        "backbone",
        "alphaclip",
        alphaclip_spaces(whole)[0],
        config=sizes,
        extra={"tokenizer": tokenizer.to_extra()},
        license="AlphaCLIP: research only (data CC BY-NC 4.0), MIT (CLIP)",
    )
    return WeightArtifact({**tensors, **tokenizer.to_tensors()}, header)


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
