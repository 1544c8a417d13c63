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
from regionkit.plugins.patchioner.backbones.clip_layout import OPENAI_TEXT, read_openai
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, first, merges_tokenizer
from regionkit.plugins.patchioner.backbones.regionclip import RegionClip
from regionkit.plugins.patchioner.backbones.regionclip_config import RegionClipConfig
from regionkit.plugins.patchioner.backbones.resnet_config import STRIDE
from regionkit.plugins.patchioner.backbones.resnet_layout import resnet_rules, resnet_sizes, training_steps

VISION: dict[str, str] = resnet_rules("backbone")
TEXT: dict[str, str] = {rf"lang_encoder\.{old}": new for old, new in OPENAI_TEXT.items()}
#: What the checkpoint holds of its training, and inference has no use for.
ASIDE = (
    r"offline_backbone\..*|offline_proposal_generator\..*|proposal_generator\..*",  # finds regions: another ResNet, RPN
    r"roi_heads\..*|teacher_roi_heads\..*",  # pool and classify the regions that were found
    r"teacher_backbone\..*",  # CLIP's own ResNet, which says what the regions should match
    r"concept_emb|teacher_concept_emb",  # the concepts that regions were matched with
    r"(?:offline_)?pixel_(?:mean|std)",  # how pixels are normalised; CLIP's own numbers
    training_steps("backbone"),
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
    sizes, side = resnet_sizes(tensors, source, _AGAIN)
    if sizes["channels"] == _X4:
        raise WeightsError(f"{source}: this is RegionCLIP with RN50x4, and 'regionclip' is the one with RN50", _AGAIN)
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
