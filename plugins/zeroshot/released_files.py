"""Files that releases of several decoders have in common; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint

VIECAP_RELEASE = "https://github.com/FeiElysia/ViECap"
PATCHIONER_RELEASE = "https://github.com/Ruggero1912/Patch-ioner"
#: No release on GPT-2 brings its tokenizer.
GPT2_TOKENIZER = Checkpoint(
    role="tokenizer",
    files=("tokenizer.json",),
    source="https://huggingface.co/openai-community/gpt2",
    license="MIT",
    size="1.4 MB",
    shared=True,
)
#: MeaCap runs on ViECap's weights.
VIECAP_MODEL = Checkpoint(
    role="model",
    files=("coco_prefix-*.pt", "flickr30k_prefix-*.pt", "*_prefix_latest.pt"),
    source=f"{VIECAP_RELEASE}, its checkpoints; or {PATCHIONER_RELEASE}, the release of its decoders",
    license="see its repository",
    size="about 670 MB for 168 million weights in float32",
)
#: Sizes under which the kit builds a decoder with a transformer as its mapper.
TINY_TRANSFORMER = (
    "{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, mapper_layers: 1, "
    "mapper_heads: 4, prefix: 2}"
)
