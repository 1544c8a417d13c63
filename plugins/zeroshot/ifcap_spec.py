"""The component ``ifcap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.plugins.zeroshot.released_files import GPT2_TOKENIZER

_HERE = "regionkit.plugins.zeroshot"

IFCAP = ComponentSpec(
    kind="decoder",
    name="ifcap",
    target=f"{_HERE}.ifcap:Ifcap",
    config=f"{_HERE}.ifcap_config:IfcapConfig",
    summary="IFCap: GPT-2 behind soft tokens that look at retrieved captions, and the nouns these agree on",
    paper="ifcap",
    ports=f"{_HERE}.entities_config:entity_ports",
    memory="bridge/memory",
    weights="index",
    reader=f"{_HERE}.ifcap_layout:read_ifcap",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("coco_prefix-00*.pt", "flickr30k_prefix-00*.pt", "*_prefix-00*.pt", "*_latest.pt"),
            source="https://github.com/boreng0817/IFCap, its checkpoints",
            license="see its repository",
            size="about 700 MB for 175 million weights in float32",
        ),
        GPT2_TOKENIZER,
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, mapper_layers: 1, "
    "mapper_heads: 4, prefix: 2, retrieved: 2, captions: 3, frequency: 1}",
)
