"""The component ``meacap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.plugins.zeroshot.released_files import (
    GPT2_TOKENIZER,
    PATCHIONER_RELEASE,
    SCENE_PARSER,
    SENTENCE_ENCODER,
    TINY_TRANSFORMER,
    VIECAP_MODEL,
)

_HERE = "regionkit.plugins.zeroshot"
_MEACAP = "https://github.com/joeyz0z/MeaCap"

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
        VIECAP_MODEL,
        GPT2_TOKENIZER,
        Checkpoint(
            role="memory_embeddings",
            files=("memory_clip_embeddings.pt",),
            source=f"{_MEACAP}, one of its memories; or {PATCHIONER_RELEASE}",
            license="see its repository",
            size="about 1.2 GB for 566,747 captions in float32 with CLIP B/16 or B/32, 1.7 GB with Talk2DINO",
            optional=True,
        ),
        Checkpoint(
            role="memory_captions",
            files=("memory_captions.json",),
            source=f"{_MEACAP}, one of its memories; or {PATCHIONER_RELEASE}",
            license="see its repository",
            size="about 30 MB for 566,747 captions",
            optional=True,
        ),
    ),
    option_files=(SCENE_PARSER, SENTENCE_ENCODER),
    tiny=TINY_TRANSFORMER,
)
