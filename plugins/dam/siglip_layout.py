"""Reading SigLIP's vision tower as it is released, alone or as the tower of a whole model, into ``siglip``'s names.

Sizes are told from shapes; what shapes cannot say, the heads, from the ``config.json`` beside the tensors.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.dam.configs import SiglipConfig
from regionkit.plugins.dam.released import AGAIN, beside
from regionkit.plugins.dam.siglip import POSITIONS, Siglip

#: What a tower is called inside a whole model; LLaVA's classes wrap theirs twice.
_TOWER = r"(?:vision_tower\.)*(?:vision_model\.)?"
_LAYER = r"(layer_norm[12]|self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12])\.(weight|bias)"
SIGLIP_RULES: dict[str, str] = {
    _TOWER + r"embeddings\.patch_embedding\.(weight|bias)": r"vision.embeddings.patch_embedding.\1",
    _TOWER + r"embeddings\.position_embedding\.weight": POSITIONS,
    _TOWER + r"encoder\.layers\.(\d+)\." + _LAYER: r"vision.encoder.layers.\1.\2.\3",
    _TOWER + r"post_layernorm\.(weight|bias)": r"vision.post_layernorm.\1",
}
#: The embedding of masks that a release keeps in its tower; it is the focal prompt's.
MASK_EMBEDDING = _TOWER + r"embeddings\.mask_patch_embedding\.(weight|bias)"
#: Known and not needed.
_ASIDE = (
    MASK_EMBEDDING,
    _TOWER + r"head\..*",  # pools the patches into one vector, which no part here reads
    _TOWER + r"embeddings\.position_ids",  # counts, which older versions stored
    r"text_model\..*|logit_scale|logit_bias",  # the other tower of a whole SigLIP
    r"(?:llm|mm_projector|context_provider)\..*",  # the other parts of a whole captioner, each with its own reader
)
#: Attention heads of the published towers by width, for files without a config.json.
_HEADS = {768: 12, 1024: 16, 1152: 16}


def read_siglip(files: Mapping[str, Path], config: SiglipConfig) -> WeightArtifact:
    """Turn an official checkpoint into the tensors of ``siglip``.

    Args:
        files: ``vision``: a file, or a folder with its ``config.json``.
        config: Options.

    Raises:
        WeightsError: It is damaged, a tensor is unknown, missing or of another shape, or its sizes cannot be told.
    """
    path = files["vision"]
    found = read_checkpoint(path)
    tensors = as_floats(rename(found, SIGLIP_RULES, path, _ASIDE), path)
    sizes = tower_sizes(tensors, path)
    tuned = any(re.fullmatch(MASK_EMBEDDING, name) for name in found)
    # A tower that was tuned with masks is another space than the original of the same sizes.
    options: dict[str, Any] = {"model": config.model or ("dam" if tuned else ""), **sizes}
    try:
        whole = dataclasses.replace(config, **options)
    except ValueError as error:
        raise WeightsError(f"{path}: the checkpoint has impossible sizes: {error}", AGAIN) from None
    check_fit(Siglip.skeleton(whole), tensors, path)
    # The space's name is made of what stands in `config` here, so only its width is said.
    header = WeightHeader(
        "backbone",
        "siglip",
        f"{UNNAMED}[{sizes['width']}]",
        config=options,
        license="see its repository",
    )
    return WeightArtifact(tensors, header)


def tower_sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Return the sizes of a tower under our names.

    Raises:
        WeightsError: A tensor that says them is missing or of an impossible shape, the positions form no square, or the
            number of heads is nowhere said.
    """
    patches = tensors.get("vision.embeddings.patch_embedding.weight")
    positions = tensors.get(POSITIONS)
    hidden = tensors.get("vision.encoder.layers.0.mlp.fc1.weight")
    if patches is None or positions is None or hidden is None or patches.ndim != 4 or 0 in patches.shape:
        raise WeightsError(f"{path}: this is no vision tower of SigLIP", AGAIN)
    width, _, patch, _ = patches.shape
    side = math.isqrt(len(positions))
    if positions.ndim != 2 or side * side != len(positions) or not side:
        raise WeightsError(f"{path}: the learned positions belong to {len(positions)} patches, which form no square")
    said = beside(path, "vision_config")  # where a whole SigLIP keeps what differs from transformers' defaults
    resolution = _number(said, "image_size", side * patch, path)
    if resolution // patch != side:
        raise WeightsError(f"{path}: {resolution} pixels are not {side} patches of {patch}", "its config.json is wrong")
    heads = _number(said, "num_attention_heads", 12 if said is not None else _HEADS.get(width, 0), path)
    if not heads:
        raise WeightsError(
            f"{path}: how many heads a tower of width {width} has cannot be told from its tensors",
            "put its config.json beside it",
        )
    for name, wanted in (("hidden_act", "gelu_pytorch_tanh"), ("layer_norm_eps", 1e-6)):
        if said is not None and said.get(name, wanted) != wanted:
            raise WeightsError(f"{path}: its config.json says {name} {said[name]!r}, and SigLIP has {wanted!r}")
    layers = {match[1] for name in tensors if (match := re.match(r"vision\.encoder\.layers\.(\d+)\.", name))}
    return {
        "resolution": resolution,
        "patch": patch,
        "width": width,
        "layers": len(layers),  # one that is left out in between is found missing later
        "heads": heads,
        "intermediate": len(hidden),
    }


def _number(said: Mapping[str, Any] | None, name: str, default: int, path: Path) -> int:
    value = default if said is None else said.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WeightsError(f"{path}: its config.json says {name} {value!r}, which is no number of them", AGAIN)
    return value
