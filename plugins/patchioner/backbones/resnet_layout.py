"""What readers of CLIP's modified ResNet share: its official names, which OpenAI gave it, and its sizes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import text_sizes
from regionkit.plugins.patchioner.backbones.layouts import AGAIN, count_blocks, shape_of
from regionkit.plugins.patchioner.backbones.vit import square_side

_NORM = "weight|bias|running_mean|running_var"
_CONVOLUTIONS = {1: "conv1_1x1", 2: "conv2_kxk", 3: "conv3_1x1"}


def resnet_rules(prefix: str) -> dict[str, str]:
    """Return the rules from official names below ``prefix.`` to ours, those of timm's network below ``vision.``."""
    return {
        rf"{prefix}\.conv([123])\.weight": r"vision.stem.conv\1.conv.weight",
        rf"{prefix}\.bn([123])\.({_NORM})": r"vision.stem.conv\1.bn.\2",
        **{old: new for stage in range(1, 5) for old, new in _stage(prefix, stage).items()},
        rf"{prefix}\.attnpool\.positional_embedding": "vision.head.pos_embed",
        rf"{prefix}\.attnpool\.([qkv])_proj\.(weight|bias)": r"vision.head.\1.\2",
        rf"{prefix}\.attnpool\.c_proj\.(weight|bias)": r"vision.head.proj.\1",
    }


def training_steps(prefix: str) -> str:
    """Return the pattern of what batch norms keep beside their statistics: counts of the steps that made them.

    Training alone reads them, and only where a norm averages over all steps alike.
    """
    return rf"{prefix}\..*\.num_batches_tracked"


def resnet_sizes(tensors: Mapping[str, Tensor], source: str, hint: str = AGAIN) -> tuple[dict[str, int], int]:
    """Return the sizes of both towers, and the side of the grid that the pool has positions for, told from shapes.

    Args:
        tensors: Both towers under our names.
        source: The checkpoint, for messages.
        hint: Which file is meant.

    Raises:
        WeightsError: A tensor that says them is missing, its shape is impossible, or the towers are of two models.
    """
    positions = shape_of(tensors, "vision.head.pos_embed", source)[0]
    side = square_side(positions - 1, source)
    sizes = {
        "channels": shape_of(tensors, "vision.stem.conv3.conv.weight", source, 4)[0],
        "dim": shape_of(tensors, "vision.head.proj.weight", source)[0],
        **{f"stage{n}": count_blocks(tensors, rf"vision\.stages\.{n - 1}") for n in range(1, 5)},
        **text_sizes(tensors, source),
    }
    if sizes.pop("text_dim") != sizes["dim"]:
        raise WeightsError(f"{source}: the two towers are projected to spaces of different width", hint)
    return sizes, side


def _stage(prefix: str, number: int) -> dict[str, str]:
    """Return the rules of one stage, which timm counts from 0."""
    old, new = rf"{prefix}\.layer{number}\.(\d+)", rf"vision.stages.{number - 1}.\1"
    rules = {
        rf"{old}\.downsample\.0\.weight": rf"{new}.shortcut.conv.conv.weight",
        rf"{old}\.downsample\.1\.({_NORM})": rf"{new}.shortcut.conv.bn.\2",
    }
    for place, name in _CONVOLUTIONS.items():
        rules[rf"{old}\.conv{place}\.weight"] = rf"{new}.{name}.conv.weight"
        rules[rf"{old}\.bn{place}\.({_NORM})"] = rf"{new}.{name}.bn.\2"
    return rules
