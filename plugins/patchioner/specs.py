"""The components of this plugin and the files that their weights were released in; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import STILL_REGIONS, Checkpoint, ComponentSpec, Port
from regionkit.plugins.patchioner.backbones.specs import BACKBONES, MERGES

_HERE = "regionkit.plugins.patchioner"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
_DECAP = "https://github.com/dhg-wei/DeCap"
PATCH_POOL = ComponentSpec(
    kind="region_encoder",
    name="patch-pool",
    target=f"{_HERE}.patch_pool:PatchPool",
    config=f"{_HERE}.configs:PatchPoolConfig",
    summary="Weighted mean of the patches under a region",
    paper="patchioner",
    reads=Port("image"),
    writes=Port("image"),
    accepts=STILL_REGIONS,
)
MEMORY = ComponentSpec(
    kind="bridge",
    name="memory",
    target=f"{_HERE}.memory:Memory",
    config=f"{_HERE}.configs:MemoryConfig",
    summary="Projection onto a bank of text embeddings, softmax-weighted",
    paper="decap",
    reads=Port("image"),
    writes=Port("text"),
    needs=("corpus",),
    weights="index",
    reader=f"{_HERE}.release:read_memory",
    checkpoints=(
        Checkpoint(
            role="bank",
            files=("*_text_embeddings*.h5", "*.h5"),
            source=f"{_PATCHIONER}, the release of its memories",
            license="see its repository",
        ),
    ),
    tiny="{weights: none}",
)
NOISE = ComponentSpec(
    kind="bridge",
    name="noise",
    target=f"{_HERE}.noise:Noise",
    config=f"{_HERE}.configs:NoiseConfig",
    summary="Gaussian noise on the text embeddings of training, nothing at inference",
    paper="capdec",
    reads=Port("image"),
    writes=Port("text"),
)
DECAP = ComponentSpec(
    kind="decoder",
    name="decap",
    target=f"{_HERE}.decap:Decap",
    config=f"{_HERE}.decap_config:DecapConfig",
    summary="GPT-2 type decoder with one prefix token, trained on text only",
    paper="decap",
    reads=Port("weights"),
    weights="index",
    reader=f"{_HERE}.release:read_decap",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("*-009.pt", "decap*.pt", "*_prefix*.pt", "*-009.safetensors"),
            source=f"{_PATCHIONER}, the release of its decoders; or {_DECAP}",
            license="see its repository",
        ),
        Checkpoint(
            role="config",
            files=("decoder_config.json", "decap*config.json"),
            source=f"{_DECAP}, decoder_config.pkl, through `toolkit weights convert`",
            license="see its repository",
            optional=True,
        ),
        MERGES,
    ),
    tiny="{weights: none, tokenizer: bytes, hidden: 64, layers: 2, heads: 4, positions: 256}",
)
TEXT_ONLY = ComponentSpec(
    kind="recipe",
    name="text-only",
    target=f"{_HERE}.text_only:TextOnly",
    config=f"{_HERE}.decap_config:TextOnlyConfig",
    summary="Train a decoder to write a sentence back from its own embedding",
    paper="decap",
    needs=("backbone", "bridge", "decoder", "corpus"),
    trains=("decoder",),
    tiny="{steps: 2, batch_size: 4}",
)

COMPONENTS = (*BACKBONES, PATCH_POOL, MEMORY, NOISE, DECAP, TEXT_ONLY)
