"""The components of this plugin and the files that their weights were released in; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import STILL_REGIONS, Checkpoint, ComponentSpec, Port

_HERE = "regionkit.plugins.patchioner"
_CLIP_HUB = "hub://openai/clip-vit-base-patch16"
_CLIP_FOLDER = ("model.safetensors", "pytorch_model.bin")  # of a folder that was named itself
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
_DECAP = "https://github.com/dhg-wei/DeCap"
_MERGES = Checkpoint(
    role="merges",
    files=("bpe_simple_vocab_16e6.txt.gz", "merges.txt"),
    source=f"{_CLIP_HUB}/merges.txt",
    license="MIT",
    shared=True,
)


def _clip_checkpoint(patch: int) -> Checkpoint:
    """Describe a whole CLIP model, as OpenAI or transformers have it."""
    return Checkpoint(
        role="model",
        files=(f"ViT-B-{patch}*", f"clip-vit-base-patch{patch}*", *_CLIP_FOLDER),
        source=f"hub://openai/clip-vit-base-patch{patch}",
        license="MIT",
        when=f"model=vit-b{patch}",
    )


def _timm_checkpoint(patch: int) -> Checkpoint:
    """Describe timm's file of a vision tower; the text tower comes from the whole model."""
    return Checkpoint(
        role="vision",
        files=(f"vit_base_patch{patch}_clip_224*",),
        source=f"hub://timm/vit_base_patch{patch}_clip_224.openai",
        license="MIT",
        optional=True,
        when=f"model=vit-b{patch}",
    )


CLIP = ComponentSpec(
    kind="backbone",
    name="clip",
    target=f"{_HERE}.clip:Clip",
    config=f"{_HERE}.backbone_configs:ClipConfig",
    summary="CLIP B/16 or B/32, every patch projected into the space of pictures",
    paper="clip",
    ports=f"{_HERE}.backbone_configs:clip_ports",
    weights="index",
    reader=f"{_HERE}.clip_layouts:read_clip",
    checkpoints=(
        *(_clip_checkpoint(patch) for patch in (16, 32)),
        *(_timm_checkpoint(patch) for patch in (16, 32)),
        _MERGES,
    ),
    tiny="{weights: none, resolution: 64, width: 64, layers: 2, dim: 32, text_width: 64, text_layers: 2, "
    "vocabulary: 514}",
)
TALK2DINO = ComponentSpec(
    kind="backbone",
    name="dinov2-talk2dino",
    target=f"{_HERE}.talk2dino:Talk2Dino",
    config=f"{_HERE}.backbone_configs:Talk2DinoConfig",
    summary="DINOv2 with registers; sentences of CLIP projected to its patches by Talk2DINO",
    paper="talk2dino",
    ports=f"{_HERE}.backbone_configs:talk2dino_ports",
    weights="index",
    reader=f"{_HERE}.talk2dino_layouts:read_talk2dino",
    checkpoints=(
        Checkpoint(
            role="vision",
            files=("dinov2_vitb14_reg4_pretrain*", "vit_base_patch14_reg4_dinov2*"),
            source="hub://timm/vit_base_patch14_reg4_dinov2.lvd142m",
            license="Apache-2.0",
        ),
        Checkpoint(
            role="text",
            files=("ViT-B-16*", "clip-vit-base-patch16*", *_CLIP_FOLDER),
            source=_CLIP_HUB,
            license="MIT",
        ),
        # Two different files share this name, so no hash is pinned; the copy in Patch-ioner's repository fits the
        # released decoders, that of Talk2DINO's own does not. The header says which it was: see talk2dino_layouts.py.
        Checkpoint(
            role="projection",
            files=("vitb_mlp_infonce*.pth", "talk2dino*.pth", "vitb_mlp_infonce*", "talk2dino*"),
            source=f"{_PATCHIONER}, src/viecap/training/talk2dino/weights/vitb_mlp_infonce.pth",
            license="see its repository",
        ),
        _MERGES,
    ),
    tiny="{weights: none, resolution: 56, patch: 14, width: 64, layers: 2, text_dim: 32, text_width: 64, "
    "text_layers: 2, vocabulary: 514}",
)
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
        _MERGES,
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

COMPONENTS = (CLIP, TALK2DINO, PATCH_POOL, MEMORY, NOISE, DECAP, TEXT_ONLY)
