"""The component ``capdec`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec, Port
from regionkit.plugins.zeroshot.released_files import GPT2_TOKENIZER

_HERE = "regionkit.plugins.zeroshot"

CAPDEC = ComponentSpec(
    kind="decoder",
    name="capdec",
    target=f"{_HERE}.capdec:CapDec",
    config=f"{_HERE}.capdec_config:CapDecConfig",
    summary="GPT-2 behind the soft tokens of ClipCap, trained on text embeddings with noise",
    paper="capdec",
    reads=Port("weights"),
    weights="index",
    reader=f"{_HERE}.capdec_layout:read_capdec",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("coco_prefix*.pt", "*_latest.pt", "*-009.pt", "epoch=*.ckpt", "last.ckpt"),
            source="https://github.com/DavidHuji/CapDec, its pre-trained models; or a decoder made by the training of "
            "https://github.com/mongeoroo/diffusion-bridge",
            license="see its repository",
            size="about 730 MB for 182 million weights in float32, with the transformer of its release as mapper",
        ),
        GPT2_TOKENIZER,
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, prefix: 4, "
    "clip_length: 3, mapper_layers: 1, mapper_heads: 4}",
)
