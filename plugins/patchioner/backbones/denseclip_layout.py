"""Reading DenseCLIP as it is released: a segmentation model of which the two towers of CLIP are wanted.

``state_dict`` of the checkpoint holds ``backbone.`` and ``text_encoder.`` with OpenAI's names behind them. Beside them
lies what only segmentation needs; it is left aside by name, and never passed over in silence: the released code of
Patch-ioner loads leniently, so a checkpoint without a projection gives it random features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import read_checkpoint
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.backbones.clip_layout import (
    OPENAI_TEXT,
    OPENAI_VISION,
    clip_sizes,
    read_openai,
)
from regionkit.plugins.patchioner.backbones.denseclip import DenseClip
from regionkit.plugins.patchioner.backbones.denseclip_config import DenseClipConfig
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, first, merges_tokenizer

_RULES: dict[str, str] = {
    **{old.replace(r"visual\.", r"backbone\.", 1): new for old, new in OPENAI_VISION.items()},
    **{r"text_encoder\." + old: new for old, new in OPENAI_TEXT.items()},
}
#: What segmentation alone needs, and why it plays no part here.
ASIDE: dict[str, str] = {
    r"backbone\.fpn[1-4]\..*": "the pyramid that is made of layers in between",
    r"neck\..*": "the feature pyramid behind it",
    r"(?:decode|auxiliary|identity)_head\..*": "segmentation heads",
    r"context_decoder\..*": "adapts class names to the picture, which sentences are not",
    r"contexts": "learned words around the class names",
    r"gamma": "how much the context decoder counts",
}
#: The names of a whole projection: norm and matrix.
_PROJECTION = ("backbone.ln_post.weight", "backbone.ln_post.bias", "backbone.proj")
_WANTED = "Patch-ioner's row is made with ViT-B-DenseCLIP_long_ctx.pth, DenseCLIP's own is ViT-B-DenseCLIP.pth"


def read_denseclip(files: Mapping[str, Path], config: DenseClipConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``denseclip``.

    Args:
        files: ``model`` and ``merges``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files hold
            another model.
    """
    if "model" not in files:
        raise WeightsError("backbone 'denseclip' needs the checkpoint of a DenseCLIP with ViT-B/16", _WANTED)
    source = str(files["model"])
    tensors = read_denseclip_towers(files["model"])
    sizes, patch, side = clip_sizes(tensors, source, source, _WANTED)
    if patch != config.patch:
        raise WeightsError(
            f"{source}: this model has patches of {patch} pixels, 'denseclip' has {config.patch}", _WANTED
        )
    return artifact_of(
        DenseClip,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "denseclip"),
        sizes=sizes,
        side=side * patch,
        source=source,
        license="MIT (CLIP), DenseCLIP: see its repository",
    )


def read_denseclip_towers(path: Path) -> dict[str, Tensor]:
    """Read both towers of a DenseCLIP checkpoint, under our names.

    Raises:
        WeightsError: It is another model, has no projection into the space of sentences, or a tensor is not accounted
            for.
    """
    tensors = read_checkpoint(path)
    if any(name.startswith("backbone.layer1.") for name in tensors):
        raise WeightsError(f"{path}: this is a DenseCLIP with a ResNet, and 'denseclip' reads the one with ViT-B/16")
    if not any(name.startswith("backbone.transformer.") for name in tensors):
        raise WeightsError(f"{path}: this is no checkpoint of DenseCLIP; it holds {first(tensors)}", _WANTED)
    missing = [name for name in _PROJECTION if name not in tensors]
    if missing:
        raise WeightsError(
            f"{path}: the checkpoint has no {', '.join(missing)}: its patches lead into no space of sentences",
            f"it was trained without get_embeddings, as CLIP's baseline is; {_WANTED}",
        )
    if not any(name.startswith("text_encoder.") for name in tensors):
        raise WeightsError(
            f"{path}: the checkpoint has no text_encoder: CLIP's own is another one than DenseCLIP's", _WANTED
        )
    return read_openai(tensors, _RULES, path, ASIDE)
