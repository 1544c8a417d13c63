"""The backbones of this plugin and the files that their weights were released in; strings and dataclasses only."""

from __future__ import annotations

from dataclasses import replace

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.patchioner.backbones"
_PORTS = f"{_HERE}.square_config:ports_of"
_CLIP_FOLDER = ("model.safetensors", "pytorch_model.bin")  # of a folder that was named itself
_DINOTXT_WHOLE = "dinov2_vitl14_reg4_dinotxt_tet1280d20h24l.*"  # all parts in one file, as some keep it
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
#: The merges of CLIP's tokenizer, which most models here and the decoder come with.
MERGES = Checkpoint(
    role="merges",
    files=("bpe_simple_vocab_16e6.txt.gz", "merges.txt"),
    source="hub://openai/clip-vit-base-patch16/merges.txt",
    license="MIT",
    shared=True,
    size="0.5 MB, 1.4 MB as bpe_simple_vocab_16e6.txt.gz",
)
#: Sizes of CLIP's and of its vision tower, in float32.
_CLIP_SIZES = {
    "vit-b16": "599 MB for 149.6 million weights in float32",
    "vit-b32": "605 MB for 151.3 million weights in float32",
    "vit-l14": "1.71 GB for 427.6 million weights in float32",
}
_TOWER_SIZES = {
    "vit-b16": "345 MB for 86.2 million weights in float32",
    "vit-b32": "351 MB for 87.8 million weights in float32",
    "vit-l14": "1.22 GB for 304.0 million weights in float32",
}
#: How files call them. Those of L/14 are named in full: another model of that shape, for 336 pixels, begins alike.
_CLIP_NAMES = {
    "vit-b16": ("ViT-B-16*", "clip-vit-base-patch16*"),
    "vit-b32": ("ViT-B-32*", "clip-vit-base-patch32*"),
    "vit-l14": ("ViT-L-14.*", "clip-vit-large-patch14"),
}
_TIMM_NAMES = {
    "vit-b16": "vit_base_patch16_clip_224",
    "vit-b32": "vit_base_patch32_clip_224",
    "vit-l14": "vit_large_patch14_clip_224",
}


def _clip_checkpoint(model: str) -> Checkpoint:
    """Describe a whole CLIP model, as OpenAI or transformers have it."""
    names = _CLIP_NAMES[model]
    return Checkpoint(
        role="model",
        files=(*names, *_CLIP_FOLDER),
        source=f"hub://openai/{names[1].removesuffix('*')}",
        license="MIT",
        when=f"model={model}",
        size=_CLIP_SIZES[model],
    )


def _timm_checkpoint(model: str) -> Checkpoint:
    """Describe timm's file of a vision tower; the text tower comes from the whole model."""
    return Checkpoint(
        role="vision",
        files=(f"{_TIMM_NAMES[model]}*",),
        source=f"hub://timm/{_TIMM_NAMES[model]}.openai",
        license="MIT",
        optional=True,
        when=f"model={model}",
        size=_TOWER_SIZES[model],
    )


def _clip_b16(role: str) -> Checkpoint:
    """Describe CLIP B/16 as a part of another model."""
    return replace(_clip_checkpoint("vit-b16"), role=role, when="")


def _dinov2_b14(role: str, when: str = "") -> Checkpoint:
    """Describe DINOv2 ViT-B/14 with registers, in its own layout or timm's."""
    return Checkpoint(
        role=role,
        files=("dinov2_vitb14_reg4_pretrain*", "vit_base_patch14_reg4_dinov2*"),
        source="hub://timm/vit_base_patch14_reg4_dinov2.lvd142m",
        license="Apache-2.0",
        when=when,
        size="346 MB for 86.6 million weights in float32",
    )


#: Sizes with which CLIP and its relatives are made in a moment.
_TINY_CLIP = (
    "{weights: none, resolution: 64, width: 64, layers: 2, dim: 32, text_width: 64, text_layers: 2, vocabulary: 514}"
)
_TINY_RESNET = (
    "{weights: none, resolution: 96, channels: 8, stage1: 1, stage2: 1, stage3: 2, stage4: 1, dim: 32, text_width: 64, "
    "text_layers: 2, vocabulary: 514}"
)
_CLIP_FILES = (
    *(_clip_checkpoint(model) for model in _CLIP_NAMES),
    *(_timm_checkpoint(model) for model in _CLIP_NAMES),
    MERGES,
)
CLIP = ComponentSpec(
    kind="backbone",
    name="clip",
    target=f"{_HERE}.clip:Clip",
    config=f"{_HERE}.clip_config:ClipConfig",
    summary="CLIP B/16, B/32 or L/14, every patch projected into the space of pictures",
    paper="clip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.clip_layout:read_clip",
    checkpoints=_CLIP_FILES,
    tiny=_TINY_CLIP,
)
#: Of both towers; OpenAI's own files hold most numbers in half precision and are about half as large.
_RESNET_SIZES = {
    "rn50": "408 MB for 102.0 million weights in float32",
    "rn101": "479 MB for 119.7 million weights in float32",
    "rn50x4": "714 MB for 178.3 million weights in float32",
    "rn50x16": "1.16 GB for 291.0 million weights in float32",
    "rn50x64": "2.49 GB for 623.3 million weights in float32",
}
CLIP_RESNET = ComponentSpec(
    kind="backbone",
    name="clip-resnet",
    target=f"{_HERE}.clip_resnet:ClipResNet",
    config=f"{_HERE}.clip_resnet_config:ClipResNetConfig",
    summary="CLIP RN50, RN101, RN50x4, RN50x16 or RN50x64, the value of every place projected",
    paper="clip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.clip_resnet_layout:read_clip_resnet",
    # The file, not the repository: that also holds timm's, which is the vision tower alone.
    checkpoints=(
        *(
            Checkpoint(
                role="model",
                files=(f"{model.replace('rn', 'RN')}.*", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
                source=f"hub://timm/{model.replace('rn', 'resnet')}_clip.openai/open_clip_model.safetensors",
                license="MIT",
                when=f"model={model}",
                size=size,
            )
            for model, size in _RESNET_SIZES.items()
        ),
        MERGES,
    ),
    tiny=_TINY_RESNET,
)
TALK2DINO = ComponentSpec(
    kind="backbone",
    name="dinov2-talk2dino",
    target=f"{_HERE}.talk2dino:Talk2Dino",
    config=f"{_HERE}.talk2dino_config:Talk2DinoConfig",
    summary="DINOv2 with registers; sentences of CLIP projected to its patches by Talk2DINO",
    paper="talk2dino",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.talk2dino_layout:read_talk2dino",
    checkpoints=(
        _dinov2_b14("vision"),
        _clip_b16("text"),
        # Two different files share this name, so no hash is pinned; the copy in Patch-ioner's repository fits the
        # released decoders, that of Talk2DINO's own does not. The header says which it was: see talk2dino_layout.py.
        Checkpoint(
            role="projection",
            files=("vitb_mlp_infonce*.pth", "talk2dino*.pth", "vitb_mlp_infonce*", "talk2dino*"),
            source=f"{_PATCHIONER}, src/viecap/training/talk2dino/weights/vitb_mlp_infonce.pth",
            license="see its repository",
            size="3.9 MB",
        ),
        MERGES,
    ),
    tiny="{weights: none, resolution: 56, patch: 14, width: 64, layers: 2, text_dim: 32, text_width: 64, "
    "text_layers: 2, vocabulary: 514}",
)
#: Of both towers in float32; most of the base model's are its 256,000 words.
_SIGLIP2_SIZES = {
    "base-patch16": "1.5 GB for 376 million weights in float32",
    "large-patch16": "3.5 GB for 882 million weights in float32",
    "so400m-patch16": "4.5 GB for 1,137 million weights in float32",
}
SIGLIP2 = ComponentSpec(
    kind="backbone",
    name="siglip2",
    target=f"{_HERE}.siglip2:Siglip2",
    config=f"{_HERE}.siglip2_config:Siglip2Config",
    summary="SigLIP 2, its pooling head applied to every patch alone",
    paper="siglip2",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.siglip2_layout:read_siglip2",
    # The folder, for config.json and the tokenizer lie in it.
    checkpoints=tuple(
        Checkpoint(
            role="model",
            files=(f"siglip2-{model}-512*", *_CLIP_FOLDER),
            source=f"hub://google/siglip2-{model}-512",
            license="Apache-2.0",
            when=f"model={model}",
            size=size,
        )
        for model, size in _SIGLIP2_SIZES.items()
    ),
    tiny="{weights: none, resolution: 64, width: 32, layers: 2, heads: 2, intermediate: 48, text_width: 24, "
    "text_layers: 2, text_heads: 2, text_intermediate: 40, vocabulary: 259}",
)
DINOTXT = ComponentSpec(
    kind="backbone",
    name="dinotxt",
    target=f"{_HERE}.dinotxt:DinoTxt",
    config=f"{_HERE}.dinotxt_config:DinoTxtConfig",
    summary="DINOv2 ViT-L/14 with DINO.txt's vision head, and the text tower trained with it",
    paper="dinotxt",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.dinotxt_layout:read_dinotxt",
    checkpoints=(
        Checkpoint(
            role="vision",
            files=("dinov2_vitl14_reg4_pretrain*", "vit_large_patch14_reg4_dinov2*", _DINOTXT_WHOLE),
            source="hub://timm/vit_large_patch14_reg4_dinov2.lvd142m",
            license="Apache-2.0",
            size="1.2 GB for 304.4 million weights in float32",
        ),
        Checkpoint(
            role="text",
            files=("dinov2_vitl14_reg4_dinotxt_*_text_encoder*", _DINOTXT_WHOLE),
            source=f"{_DINOV2}/dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_text_encoder.pth",
            license="Apache-2.0",
            size="about 2.2 GB for 538 million weights in float32",
        ),
        Checkpoint(
            role="head",
            files=("dinov2_vitl14_reg4_dinotxt_*_vision_head*", _DINOTXT_WHOLE),
            source=f"{_DINOV2}/dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_vision_head.pth",
            license="Apache-2.0",
            when="with_head=True",
            size="about 101 MB for 25.3 million weights in float32",
        ),
        MERGES,
    ),
    tiny="{weights: none, resolution: 56, width: 64, layers: 2, head_layers: 1, text_dim: 128, text_width: 64, "
    "text_layers: 2, vocabulary: 514}",
)
REGIONCLIP = ComponentSpec(
    kind="backbone",
    name="regionclip",
    target=f"{_HERE}.regionclip:RegionClip",
    config=f"{_HERE}.regionclip_config:RegionClipConfig",
    summary="RegionCLIP RN50, every place projected by the attention pool; unit vectors",
    paper="regionclip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.regionclip_layout:read_regionclip",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("regionclip_pretrained-cc_rn50.safetensors", "regionclip_pretrained-cc_rn50.*"),
            source="https://github.com/microsoft/RegionCLIP, docs/MODEL_ZOO.md",
            license="Apache-2.0",
            size="about 410 MB for 102 million weights in float32, and what its training left beside them",
        ),
        MERGES,
    ),
    tiny=_TINY_RESNET,
)
DENSECLIP = ComponentSpec(
    kind="backbone",
    name="denseclip",
    target=f"{_HERE}.denseclip:DenseClip",
    config=f"{_HERE}.denseclip_config:DenseClipConfig",
    summary="CLIP B/16 fine-tuned by matching pixels with text, with a text tower of its own",
    paper="denseclip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.denseclip_layout:read_denseclip",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("ViT-B-DenseCLIP_long_ctx*", "ViT-B-DenseCLIP*"),
            source="https://github.com/raoyongming/DenseCLIP, ViT-B-DenseCLIP of its table for ADE20K (context 13); "
            "that of Patch-ioner (context 77) is not published",
            license="see its repository",
            size="about 600 MB for 151 million weights in float32, and its head for segmentation",
        ),
        MERGES,
    ),
    tiny=_TINY_CLIP,
)
ALPHACLIP = ComponentSpec(
    kind="backbone",
    name="alphaclip",
    target=f"{_HERE}.alphaclip:AlphaClip",
    config=f"{_HERE}.alphaclip_config:AlphaClipConfig",
    summary="CLIP B/16 with a channel for a mask that says what is asked about",
    paper="alphaclip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.alphaclip_layout:read_alphaclip",
    checkpoints=(
        Checkpoint(
            role="vision",
            files=("clip_b16_grit1m_fultune_8xe*", "clip_b16_grit*"),
            source="https://github.com/SunzeY/AlphaCLIP, model-zoo.md",
            license="research only: trained with data under CC BY-NC 4.0",
            size="about 346 MB for 86.4 million weights in float32",
        ),
        _clip_b16("text"),
        MERGES,
    ),
    tiny=_TINY_CLIP,
)
INVITE = ComponentSpec(
    kind="backbone",
    name="invite",
    target=f"{_HERE}.invite:Invite",
    config=f"{_HERE}.invite_config:InviteConfig",
    summary="CLIP B/16, B/32 or L/14 in whose last blocks every token attends to itself alone",
    paper="invite",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.invite_layout:read_invite",
    also="backbone/clip",
    checkpoints=_CLIP_FILES,
    tiny=_TINY_CLIP,
)
PROXYCLIP = ComponentSpec(
    kind="backbone",
    name="proxyclip",
    target=f"{_HERE}.proxyclip:ProxyClip",
    config=f"{_HERE}.proxyclip_config:ProxyClipConfig",
    summary="CLIP B/16, its last values gathered where patches of DINO or DINOv2 are alike",
    paper="proxyclip",
    ports=_PORTS,
    weights="index",
    reader=f"{_HERE}.proxyclip_layout:read_proxyclip",
    checkpoints=(
        _clip_b16("model"),
        replace(_timm_checkpoint("vit-b16"), when=""),
        Checkpoint(
            role="vfm",
            files=("dino_vitbase8_pretrain*", "vit_base_patch8_224.dino*"),
            source="hub://timm/vit_base_patch8_224.dino",
            license="Apache-2.0",
            when="vfm=dino-b8",
            size="343 MB for 85.8 million weights in float32",
        ),
        _dinov2_b14("vfm", when="vfm=dinov2-b14"),
        MERGES,
    ),
    tiny="{weights: none, resolution: 64, width: 64, layers: 2, dim: 32, vfm_width: 64, vfm_layers: 2, text_width: 64, "
    "text_layers: 2, vocabulary: 514}",
)

BACKBONES = (CLIP, CLIP_RESNET, INVITE, PROXYCLIP, TALK2DINO, SIGLIP2, DINOTXT, REGIONCLIP, DENSECLIP, ALPHACLIP)
