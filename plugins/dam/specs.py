"""The vision side as the registry knows it, and the folders that its weights are released in; strings only."""

from __future__ import annotations

from regionkit.core.spec import STILL_REGIONS, Checkpoint, ComponentSpec, Port

_HERE = "regionkit.plugins.dam"
_DAM = "https://huggingface.co/nvidia/DAM-3B, its folder"
_LICENSE = "see its repository; NVIDIA's weights are non-commercial"


SIGLIP = ComponentSpec(
    kind="backbone",
    name="siglip",
    target=f"{_HERE}.siglip:Siglip",
    config=f"{_HERE}.configs:SiglipConfig",
    summary="The vision tower of SigLIP, its blocks exposed; no text tower",
    paper="siglip",
    ports=f"{_HERE}.configs:siglip_ports",
    weights="index",
    reader=f"{_HERE}.siglip_layout:read_siglip",
    checkpoints=(
        Checkpoint(
            role="vision",
            files=("vision_tower", "siglip-*", "siglip[!2]*.safetensors"),  # SigLIP 2 is another component
            source="hub://google/siglip-so400m-patch14-384",
            license="Apache-2.0; NVIDIA's tuned tower is non-commercial",
            size="3.5 GB for both towers, 878 million weights in float32; 0.9 GB for NVIDIA's in half precision",
        ),
    ),
    tiny="{weights: none, resolution: 45, patch: 14, width: 32, layers: 3, heads: 2, intermediate: 48}",
)
FOCAL_PROMPT = ComponentSpec(
    kind="region_encoder",
    name="focal-prompt",
    target=f"{_HERE}.focal_prompt:FocalPrompt",
    config=f"{_HERE}.configs:FocalPromptConfig",
    summary="The whole picture and a crop around the region, with its mask, through the blocks of the backbone",
    paper="dam",
    reads=Port("blocks", many=True),
    writes=Port("own", many=True),
    accepts=STILL_REGIONS,
    weights="index",
    reader=f"{_HERE}.focal_layout:read_focal_prompt",
    checkpoints=(
        Checkpoint(
            role="vision",
            files=("vision_tower",),
            source=f"{_DAM} vision_tower",
            license=_LICENSE,
            size="about 0.9 GB for 428 million weights in half precision",
        ),
        Checkpoint(
            role="context",
            files=("context_provider",),
            source=f"{_DAM} context_provider",
            license=_LICENSE,
            when="context=cross-attention",
            size="about 0.8 GB for 411 million weights in half precision",
        ),
    ),
    tiny="{weights: none, intermediate: 24}",
)
MLP_DOWNSAMPLE = ComponentSpec(
    kind="bridge",
    name="mlp-downsample",
    target=f"{_HERE}.projector:MlpDownsample",
    config=f"{_HERE}.configs:MlpDownsampleConfig",
    summary="Merges 2 x 2 visual tokens and projects them to the embeddings of a language model",
    paper="dam",
    reads=Port("any", many=True),
    writes=Port("next"),
    weights="index",
    reader=f"{_HERE}.projector_layout:read_projector",
    checkpoints=(
        Checkpoint(
            role="projector",
            files=("mm_projector",),
            source=f"{_DAM} mm_projector",
            license=_LICENSE,
            size="about 37 MB for 18 million weights in half precision",
        ),
    ),
    tiny="{weights: none, type: mlp2x_gelu}",  # merging asks for a square of tokens
)

COMPONENTS = (SIGLIP, FOCAL_PROMPT, MLP_DOWNSAMPLE)
