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
#: What MeaCap makes scene graphs of captions with (Li et al., FACTUAL, arXiv 2305.17497).
SCENE_PARSER = Checkpoint(
    role="parser",
    files=("flan-t5-base-VG-factual-sg",),
    source="hub://lizhuang144/flan-t5-base-VG-factual-sg",
    license="not stated; its code, github.com/zhuang-li/FACTUAL, is MIT",
    size="about 990 MB for 248 million weights in float32",
)
#: What MeaCap tells things of one meaning by.
SENTENCE_ENCODER = Checkpoint(
    role="similarity",
    files=("all-MiniLM-L6-v2",),
    source="hub://sentence-transformers/all-MiniLM-L6-v2",
    license="Apache-2.0",
    size="about 91 MB for 23 million weights in float32",
)
#: Ids of GPT-2's tokenizer that ZeroCap hardly ever writes.
FORBIDDEN_TOKENS = Checkpoint(
    role="forbidden",
    files=("forbidden_tokens.npy",),
    source="https://github.com/YoadTew/zero-shot-image-to-text, its top folder",
    license="not stated",
    size="below 1 MB: at most 50,257 numbers",
)
#: Sizes under which the kit builds a decoder with a transformer as its mapper.
TINY_TRANSFORMER = (
    "{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128, mapper_layers: 1, "
    "mapper_heads: 4, prefix: 2}"
)
