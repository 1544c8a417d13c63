"""Reading the vision tower of SigLIP and SigLIP 2 as it is released, alone or inside a whole model.

Sizes are told from shapes; what shapes cannot say, the heads, from the ``config.json`` beside the tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from regionkit.core.checkpoints import config_beside
from regionkit.core.errors import WeightsError
from regionkit.core.vision.siglip_tower import POSITIONS

AGAIN = "fetch it again, or name another file"
#: What a tower is called inside a whole model; LLaVA's classes wrap theirs twice.
TOWER = r"(?:vision_tower\.)*(?:vision_model\.)?"
#: The parts of a transformer layer, which vision and text tower have alike.
LAYER = r"(layer_norm[12]|self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12])\.(weight|bias)"
#: The tower without its head: official names, and ours.
TOWER_RULES: dict[str, str] = {
    TOWER + r"embeddings\.patch_embedding\.(weight|bias)": r"vision.embeddings.patch_embedding.\1",
    TOWER + r"embeddings\.position_embedding\.weight": POSITIONS,
    TOWER + r"encoder\.layers\.(\d+)\." + LAYER: r"vision.encoder.layers.\1.\2.\3",
    TOWER + r"post_layernorm\.(weight|bias)": r"vision.post_layernorm.\1",
}
#: Counts, which older versions of transformers stored.
COUNTS = r"(?:text_model\.|" + TOWER + r")embeddings\.position_ids"
#: Attention heads of the published models by width, for files without a config.json.
_HEADS = {768: 12, 1024: 16, 1152: 16}
#: Attention heads where a config.json does not say them: transformers writes what differs from its own defaults.
_DEFAULT_HEADS = 12


def tower_sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Return resolution, patch, width, layers, heads and intermediate width of a tower under our names.

    Args:
        tensors: Its tensors, renamed.
        path: Where they come from.

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
    said = config_beside(path, "vision_config")  # where a whole model keeps what differs from transformers' defaults
    resolution = _number(said, "image_size", side * patch, path)
    if resolution // patch != side:
        raise WeightsError(f"{path}: {resolution} pixels are not {side} patches of {patch}", "its config.json is wrong")
    return {
        "resolution": resolution,
        "patch": patch,
        "width": width,
        "layers": count_layers(tensors, r"vision\.encoder\.layers"),
        "heads": attention_heads(said, width, path),
        "intermediate": len(hidden),
    }


def attention_heads(said: Mapping[str, Any] | None, width: int, path: Path) -> int:
    """Return how many heads a tower has, and refuse a config.json that speaks of another kind of network.

    Args:
        said: What the config.json says of the tower; None where there is none.
        width: Of the tower.
        path: Of the weights.

    Raises:
        WeightsError: It is nowhere said, or the network is another one.
    """
    heads = _number(said, "num_attention_heads", _HEADS.get(width, 0) if said is None else _DEFAULT_HEADS, path)
    if not heads:
        raise WeightsError(
            f"{path}: how many heads a tower of width {width} has cannot be told from its tensors",
            "put its config.json beside it",
        )
    for name, wanted in (("hidden_act", "gelu_pytorch_tanh"), ("layer_norm_eps", 1e-6)):
        if said is not None and said.get(name, wanted) != wanted:
            raise WeightsError(f"{path}: its config.json says {name} {said[name]!r}, and SigLIP has {wanted!r}")
    return heads


def count_layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many different numbers follow ``prefix.``; layers left out in between are found missing later."""
    return len({match[1] for name in tensors if (match := re.match(prefix + r"\.(\d+)\.", name))})


def _number(said: Mapping[str, Any] | None, name: str, default: int, path: Path) -> int:
    value = default if said is None else said.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WeightsError(f"{path}: its config.json says {name} {value!r}, which is no number of them", AGAIN)
    return value
