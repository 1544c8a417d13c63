"""Reading a CLIP with a ResNet as it is released: by OpenAI, and by open_clip, which keeps OpenAI's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import read_checkpoint
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import ASIDE, OPENAI_TEXT, read_openai
from regionkit.plugins.patchioner.backbones.clip_resnet import ClipResNet
from regionkit.plugins.patchioner.backbones.clip_resnet_config import CLIP_RESNETS, ClipResNetConfig
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, first, merges_tokenizer
from regionkit.plugins.patchioner.backbones.resnet_config import STRIDE
from regionkit.plugins.patchioner.backbones.resnet_layout import resnet_rules, resnet_sizes, training_steps

VISION: dict[str, str] = resnet_rules("visual")
#: Sizes that tell the released models apart.
_TELLING = ("channels", "stage1", "stage2", "stage3", "stage4")


def read_clip_resnet(files: Mapping[str, Path], config: ClipResNetConfig) -> WeightArtifact:
    """Turn an official checkpoint into the tensors of ``clip-resnet``.

    Args:
        files: ``model`` (OpenAI's layout) and ``merges``.
        config: Options; they say which model is meant.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or it is another
            model.
    """
    if "model" not in files:
        raise WeightsError("backbone 'clip-resnet' needs the file of a CLIP model with a ResNet", "such as RN50x4.pt")
    source = str(files["model"])
    tensors = read_resnet_towers(files["model"])
    sizes, side = resnet_sizes(tensors, source)
    _check_model(config, sizes, source)
    return artifact_of(
        ClipResNet,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "clip-resnet"),
        sizes=sizes,
        side=side * STRIDE,
        source=source,
        license="MIT",
    )


def read_resnet_towers(path: Path) -> dict[str, Tensor]:
    """Read both towers of a CLIP with a ResNet, under our names.

    Raises:
        WeightsError: It is another checkpoint, or a tensor is not accounted for.
    """
    tensors = read_checkpoint(path)
    if not any(name.startswith("visual.attnpool.") for name in tensors):
        raise WeightsError(
            f"{path}: this is no CLIP with a ResNet in OpenAI's layout: it has no attention pool (visual.attnpool.*); "
            f"it holds {first(tensors)}",
            "take RN50x4.pt of OpenAI or open_clip_model.safetensors of open_clip; "
            "CLIPs with a vision transformer are read by backbone 'clip'",
        )
    return read_openai(tensors, VISION | OPENAI_TEXT, path, (*ASIDE, training_steps("visual")))


def _check_model(config: ClipResNetConfig, sizes: Mapping[str, int], source: str) -> None:
    """Refuse a released model under another one's name."""
    found = [name for name, own in CLIP_RESNETS.items() if all(own[size] == sizes[size] for size in _TELLING)]
    if found and found[0] != config.model:
        raise WeightsError(
            f"{source}: this is CLIP {found[0].replace('rn', 'RN')}, and {config.model} is asked for",
            f"write backbone.model: {found[0]}, or name the other file: backbone.weights: file:PATH",
            f"to convert it: --set model={found[0]}",
        )
