"""The component ``zerocap`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec, Port
from regionkit.plugins.zeroshot.released_files import FORBIDDEN_TOKENS

_HERE = "regionkit.plugins.zeroshot"

ZEROCAP = ComponentSpec(
    kind="decoder",
    name="zerocap",
    target=f"{_HERE}.zerocap:ZeroCap",
    config=f"{_HERE}.zerocap_config:ZeroCapConfig",
    summary="A language model whose cache a text tower shifts by gradients at every token",
    paper="zerocap",
    reads=Port("text"),
    takes="decoder/magic",
    weights="index",
    reader=f"{_HERE}.caption_lm_layout:read_caption_lm",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("gpt2-medium",),
            source="hub://openai-community/gpt2-medium",
            license="MIT",
            size="about 1.5 GB",
        ),
    ),
    option_files=(FORBIDDEN_TOKENS,),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 64, prompt: a, length: 6, "
    "beams: 2, iterations: 1, candidates: 8}",
)
