"""Reading released decoders of CapDec, and that of Diffusion Bridge, which is built alike, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.plugins.zeroshot.capdec_config import CapDecConfig
from regionkit.plugins.zeroshot.gpt2_layout import Places, read_prefix_decoder

#: What CapDec saves is the state of its model.
CAPDEC = Places("clip_project", "gpt")
#: What Diffusion Bridge saves is that of a training module around its own.
DIFFUSION_BRIDGE = Places("model.clip_project", "model.model")


def read_capdec(files: Mapping[str, Path], config: CapDecConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``capdec``.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint, and ``tokenizer``, the file ``tokenizer.json`` of GPT-2.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    return WeightArtifact(*read_prefix_decoder(files, config, "capdec", (CAPDEC, DIFFUSION_BRIDGE)))
