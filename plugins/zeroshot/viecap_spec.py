"""The component ``viecap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.zeroshot"
_VIECAP = "https://github.com/FeiElysia/ViECap"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"

VIECAP = ComponentSpec(
    kind="decoder",
    name="viecap",
    target=f"{_HERE}.viecap:Viecap",
    config=f"{_HERE}.viecap_config:ViecapConfig",
    summary="GPT-2 behind soft tokens and a sentence of the nearest words of a vocabulary, trained on text only",
    paper="viecap",
    ports=f"{_HERE}.entities_config:entity_ports",
    weights="index",
    reader=f"{_HERE}.viecap_layout:read_viecap",
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
            role="vocabulary",
            files=("*_embeddings_*with_ensemble.pickle", "*_embedding_*with_ensemble.pickle", "*_embeddings_*.pickle"),
            source=f"{_PATCHIONER}, or {_VIECAP}, the vectors of its vocabularies",
            license="see its repository",
            optional=True,
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, mapper_layers: 1, "
    "mapper_heads: 4, prefix: 2}",
)
