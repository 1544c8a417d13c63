"""The components of this plugin and the files that their weights were released in; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import STILL_REGIONS, Checkpoint, ComponentSpec, Port
from regionkit.plugins.patchioner.backbones.specs import BACKBONES, MERGES

_HERE = "regionkit.plugins.patchioner"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
_DECAP = "https://github.com/dhg-wei/DeCap"
_DIFFUSION_BRIDGE = "https://github.com/mongeoroo/diffusion-bridge"
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
LEARNED_POOL = ComponentSpec(
    kind="region_encoder",
    name="learned-pool",
    target=f"{_HERE}.learned_pool:LearnedPool",
    config=f"{_HERE}.learned_pool_config:LearnedPoolConfig",
    summary="Mean of the patches under a region, refined by a trained attention block",
    paper="patchioner",
    reads=Port("image"),
    writes=Port("image"),
    accepts=STILL_REGIONS,
    weights="index",
    tiny="{weights: none, heads: 2, mlp_ratio: 2}",
)
ALPHA_MASK = ComponentSpec(
    kind="region_encoder",
    name="alpha-mask",
    target=f"{_HERE}.alpha_mask:AlphaMask",
    config=f"{_HERE}.alpha_mask_config:AlphaMaskConfig",
    summary="The picture once more for every region, with a mask beside it; for backbones that take masks",
    paper="alphaclip",
    reads=Port("masked"),
    writes=Port("same"),
    accepts=STILL_REGIONS,
)
_BANK = Checkpoint(
    role="bank",
    files=("*_text_embeddings*.h5", "*.h5"),
    source=f"{_PATCHIONER}, the release of its memories",
    license="see its repository",
    size="4 bytes a number: 1.8 GB for 591,753 sentences of width 768, 1.0 GB for 500,000 of width 512",
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
    checkpoints=(_BANK,),
    tiny="{weights: none}",
)
NEAREST_TEXT = ComponentSpec(
    kind="decoder",
    name="nearest-text",
    target=f"{_HERE}.nearest_text:NearestText",
    config=f"{_HERE}.configs:NearestTextConfig",
    summary="Retrieval: the sentence of a bank that lies nearest, with its score",
    paper="decap",
    reads=Port("text"),
    needs=("corpus",),
    takes="bridge/memory",
    weights="index",
    reader=f"{_HERE}.release:read_memory",
    checkpoints=(_BANK,),
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
DIFFUSION = ComponentSpec(
    kind="bridge",
    name="diffusion",
    target=f"{_HERE}.diffusion:Diffusion",
    config=f"{_HERE}.diffusion_config:DiffusionConfig",
    summary="Region vectors as noisy texts, denoised by a diffusion model of text embeddings",
    paper="diffusionbridge",
    reads=Port("image", many=True),
    writes=Port("text"),
    weights="index",
    reader=f"{_HERE}.diffusion_layouts:read_diffusion",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("model-300.pt", "model-*.pt"),
            source=f"{_DIFFUSION_BRIDGE}, made by its training script",
            license="MIT",
            size="16 MB for 4,037,313 weights in float32, and as much again for their average",
        ),
        *(
            Checkpoint(
                role=f"mean_{kind}",
                files=tuple(f"normalized_{kind}_embed_mean{ending}" for ending in (".safetensors", ".json")),
                source=f"{_DIFFUSION_BRIDGE}, normalized_{kind}_embed_mean.pkl, through `toolkit weights convert`",
                license="MIT",
                optional=kind == "image",
                size="under 0.1 MB",
            )
            for kind in ("text", "image")
        ),
    ),
    tiny="{weights: none, dim: 8, init_dim: 4, mults: [1, 2], steps: 2}",
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
            size="273 MB for 68.3 million weights in float32",
        ),
        Checkpoint(
            role="config",
            files=("decoder_config.json", "decap*config.json"),
            source=f"{_DECAP}, decoder_config.pkl, through `toolkit weights convert`",
            license="see its repository",
            optional=True,
            size="under 0.1 MB",
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
CONTRAST = ComponentSpec(
    kind="recipe",
    name="contrast",
    target=f"{_HERE}.contrast:Contrast",
    config=f"{_HERE}.contrast_config:ContrastConfig",
    summary="Train both towers of a CLIP on whole pictures and their captions",
    paper="clip",
    needs=("backbone", "dataset"),
    trains=("backbone",),
    tiny="{splits: [test], steps: 2, batch_size: 2, images: 8, evaluated: 2}",
)
TEXT_DIFFUSION = ComponentSpec(
    kind="recipe",
    name="text-diffusion",
    target=f"{_HERE}.text_diffusion:TextDiffusion",
    config=f"{_HERE}.diffusion_config:TextDiffusionConfig",
    summary="Train the diffusion bridge to denoise text embeddings, from text alone",
    paper="diffusionbridge",
    needs=("backbone", "bridge", "corpus"),
    trains=("bridge",),
    tiny="{steps: 2, batch_size: 4}",
)
TEXT_DIFFUSION_PICTURES = ComponentSpec(
    kind="recipe",
    name="text-diffusion-pictures",
    target=f"{_HERE}.text_diffusion:TextDiffusion",
    config=f"{_HERE}.diffusion_config:TextDiffusionConfig",
    summary="The same, and the mean of region vectors taken from pictures without their captions",
    paper="diffusionbridge",
    needs=("backbone", "region_encoder", "bridge", "corpus", "dataset"),
    trains=("bridge",),
    tiny="{steps: 2, batch_size: 4, pictures: 2, split: test}",
)

COMPONENTS = (
    *BACKBONES,
    PATCH_POOL,
    LEARNED_POOL,
    ALPHA_MASK,
    MEMORY,
    NOISE,
    DIFFUSION,
    DECAP,
    NEAREST_TEXT,
    TEXT_ONLY,
    CONTRAST,
    TEXT_DIFFUSION,
    TEXT_DIFFUSION_PICTURES,
)
