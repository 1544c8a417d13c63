"""The backbones of this plugin and the files that their weights were released in; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.patchioner.backbones"
_CLIP_HUB = "hub://openai/clip-vit-base-patch16"
_CLIP_FOLDER = ("model.safetensors", "pytorch_model.bin")  # of a folder that was named itself
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
#: The merges of CLIP's tokenizer, which most models here and the decoder come with.
MERGES = Checkpoint(
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
    config=f"{_HERE}.clip_config:ClipConfig",
    summary="CLIP B/16 or B/32, every patch projected into the space of pictures",
    paper="clip",
    ports=f"{_HERE}.clip_config:clip_ports",
    weights="index",
    reader=f"{_HERE}.clip_layouts:read_clip",
    checkpoints=(
        *(_clip_checkpoint(patch) for patch in (16, 32)),
        *(_timm_checkpoint(patch) for patch in (16, 32)),
        MERGES,
    ),
    tiny="{weights: none, resolution: 64, width: 64, layers: 2, dim: 32, text_width: 64, text_layers: 2, "
    "vocabulary: 514}",
)
TALK2DINO = ComponentSpec(
    kind="backbone",
    name="dinov2-talk2dino",
    target=f"{_HERE}.talk2dino:Talk2Dino",
    config=f"{_HERE}.talk2dino_config:Talk2DinoConfig",
    summary="DINOv2 with registers; sentences of CLIP projected to its patches by Talk2DINO",
    paper="talk2dino",
    ports=f"{_HERE}.talk2dino_config:talk2dino_ports",
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
        MERGES,
    ),
    tiny="{weights: none, resolution: 56, patch: 14, width: 64, layers: 2, text_dim: 32, text_width: 64, "
    "text_layers: 2, vocabulary: 514}",
)

BACKBONES = (CLIP, TALK2DINO)
