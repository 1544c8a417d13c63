"""The component ``meacap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.zeroshot"
_VIECAP = "https://github.com/FeiElysia/ViECap"
_MEACAP = "https://github.com/joeyz0z/MeaCap"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"

MEACAP = ComponentSpec(
    kind="decoder",
    name="meacap",
    target=f"{_HERE}.meacap:Meacap",
    config=f"{_HERE}.meacap_config:MeacapConfig",
    summary="GPT-2 behind soft tokens and what the nearest captions of a memory agree on",
    paper="meacap",
    ports=f"{_HERE}.entities_config:entity_ports",
    takes="decoder/viecap",
    memory="bridge/memory",
    weights="index",
    reader=f"{_HERE}.viecap_layout:read_meacap",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("coco_prefix-*.pt", "flickr30k_prefix-*.pt", "*_prefix_latest.pt"),
            source=f"{_VIECAP}, its checkpoints; or {_PATCHIONER}, the release of its decoders",
            license="see its repository",
            size="about 670 MB for 168 million weights in float32",
        ),
        Checkpoint(
            role="tokenizer",
            files=("tokenizer.json",),
            source="https://huggingface.co/openai-community/gpt2",
            license="MIT",
            size="1.4 MB",
            shared=True,
        ),
        Checkpoint(
            role="memory_embeddings",
            files=("memory_clip_embeddings.pt",),
            source=f"{_MEACAP}, one of its memories; or {_PATCHIONER}",
            license="see its repository",
            optional=True,
        ),
        Checkpoint(
            role="memory_captions",
            files=("memory_captions.json",),
            source=f"{_MEACAP}, one of its memories; or {_PATCHIONER}",
            license="see its repository",
            optional=True,
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, mapper_layers: 1, "
    "mapper_heads: 4, prefix: 2}",
)
