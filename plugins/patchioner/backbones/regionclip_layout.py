"""Reading RegionCLIP as it is released: ``regionclip_pretrained-cc_rn50.pth``, a checkpoint of its pretraining.

It holds the model that was trained, ``backbone.*`` and ``lang_encoder.*``, and beside it what training needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import read_checkpoint
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import OPENAI_TEXT, read_openai, text_sizes
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, count_blocks, first, merges_tokenizer, shape_of
from regionkit.plugins.patchioner.backbones.regionclip import RegionClip
from regionkit.plugins.patchioner.backbones.regionclip_config import STRIDE, RegionClipConfig
from regionkit.plugins.patchioner.backbones.vit import square_side

_NORM = "weight|bias|running_mean|running_var"
_CONVOLUTIONS = {1: "conv1_1x1", 2: "conv2_kxk", 3: "conv3_1x1"}


def _stage(number: int) -> dict[str, str]:
    """Return the rules of one stage, which timm counts from 0."""
    old, new = rf"backbone\.layer{number}\.(\d+)", rf"vision.stages.{number - 1}.\1"
    rules = {
        rf"{old}\.downsample\.0\.weight": rf"{new}.shortcut.conv.conv.weight",
        rf"{old}\.downsample\.1\.({_NORM})": rf"{new}.shortcut.conv.bn.\2",
    }
    for place, name in _CONVOLUTIONS.items():
        rules[rf"{old}\.conv{place}\.weight"] = rf"{new}.{name}.conv.weight"
        rules[rf"{old}\.bn{place}\.({_NORM})"] = rf"{new}.{name}.bn.\2"
    return rules


VISION: dict[str, str] = {
    r"backbone\.conv([123])\.weight": r"vision.stem.conv\1.conv.weight",
    rf"backbone\.bn([123])\.({_NORM})": r"vision.stem.conv\1.bn.\2",
    **_stage(1),
    **_stage(2),
    **_stage(3),
    **_stage(4),
    r"backbone\.attnpool\.positional_embedding": "vision.head.pos_embed",
    r"backbone\.attnpool\.([qkv])_proj\.(weight|bias)": r"vision.head.\1.\2",
    r"backbone\.attnpool\.c_proj\.(weight|bias)": r"vision.head.proj.\1",
}
TEXT: dict[str, str] = {rf"lang_encoder\.{old}": new for old, new in OPENAI_TEXT.items()}
#: What the checkpoint holds of its training, and inference has no use for.
ASIDE = (
    r"offline_backbone\..*|offline_proposal_generator\..*|proposal_generator\..*",  # finds regions: another ResNet, RPN
    r"roi_heads\..*|teacher_roi_heads\..*",  # pool and classify the regions that were found
    r"teacher_backbone\..*",  # CLIP's own ResNet, which says what the regions should match
    r"concept_emb|teacher_concept_emb",  # the concepts that regions were matched with
    r"(?:offline_)?pixel_(?:mean|std)",  # how pixels are normalised; CLIP's own numbers
    r"backbone\..*\.num_batches_tracked",  # a count of training steps
    r"(?:lang_encoder\.)?logit_scale",  # the temperature of training
    r"ignore_others",  # a mark that RegionCLIP's loader adds
)
#: Channels of the stem of the other model that was released beside RN50.
_X4 = 80
_AGAIN = "name regionclip_pretrained-cc_rn50.pth"


def read_regionclip(files: Mapping[str, Path], config: RegionClipConfig) -> WeightArtifact:
    """Turn the official checkpoint into the tensors of ``regionclip``.

    Args:
        files: ``model`` and ``merges``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or it is another
            model.
    """
    if "model" not in files:
        raise WeightsError("backbone 'regionclip' needs the checkpoint of RegionCLIP's pretraining", _AGAIN)
    source = str(files["model"])
    tensors = read_pretrained(files["model"])
    sizes = {**_vision_sizes(tensors, source), **text_sizes(tensors, source)}
    side = sizes.pop("side")
    if sizes["channels"] == _X4:
        raise WeightsError(f"{source}: this is RegionCLIP with RN50x4, and 'regionclip' is the one with RN50", _AGAIN)
    if sizes.pop("text_dim") != sizes["dim"]:
        raise WeightsError(f"{source}: the two towers are projected to spaces of different width", _AGAIN)
    return artifact_of(
        RegionClip,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "regionclip"),
        sizes=sizes,
        side=side * STRIDE,
        source=source,
        license="Apache-2.0 (RegionCLIP), MIT (CLIP)",
    )


def read_pretrained(path: Path) -> dict[str, Tensor]:
    """Read both towers of RegionCLIP, under our names.

    Raises:
        WeightsError: It is another checkpoint, or a tensor is not accounted for.
    """
    tensors = read_checkpoint(path)
    for prefix, what in (("backbone.attnpool.", "attention pool"), ("lang_encoder.", "text tower")):
        if not any(name.startswith(prefix) for name in tensors):
            raise WeightsError(
                f"{path}: this is no pretrained RegionCLIP: it has no {what} ({prefix}*); it holds {first(tensors)}",
                "the detectors that were finetuned from it have none: " + _AGAIN,
            )
    return read_openai(tensors, VISION | TEXT, path, ASIDE)


def _vision_sizes(tensors: Mapping[str, Tensor], source: str) -> dict[str, int]:
    """Return the sizes of the trunk and the side of the grid that the pool has positions for."""
    positions = shape_of(tensors, "vision.head.pos_embed", source)[0]
    sizes = {
        "channels": shape_of(tensors, "vision.stem.conv3.conv.weight", source, 4)[0],
        "dim": shape_of(tensors, "vision.head.proj.weight", source)[0],
        "side": square_side(positions - 1, source),
    }
    return sizes | {f"stage{n}": count_blocks(tensors, rf"vision\.stages\.{n - 1}") for n in range(1, 5)}
