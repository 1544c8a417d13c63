"""The component ``viecap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.plugins.zeroshot.released_files import (
    GPT2_TOKENIZER,
    PATCHIONER_RELEASE,
    TINY_TRANSFORMER,
    VIECAP_MODEL,
    VIECAP_RELEASE,
)

_HERE = "regionkit.plugins.zeroshot"

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
        VIECAP_MODEL,
        GPT2_TOKENIZER,
        Checkpoint(
            role="vocabulary",
            files=("*_embeddings_*with_ensemble.pickle", "*_embedding_*with_ensemble.pickle", "*_embeddings_*.pickle"),
            source=f"{PATCHIONER_RELEASE}, or {VIECAP_RELEASE}, the vectors of its vocabularies",
            license="see its repository",
            size="0.1 to 3.8 MB",
            optional=True,
        ),
    ),
    tiny=TINY_TRANSFORMER,
)
