"""The component ``lm-tokens`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.dam"

LM_TOKENS = ComponentSpec(
    kind="decoder",
    name="lm-tokens",
    target=f"{_HERE}.lm_decoder:LmTokens",
    config=f"{_HERE}.lm_config:LmTokensConfig",
    summary="Any causal language model of transformers, fed with region tokens and a prompt",
    paper="dam",
    ports=f"{_HERE}.lm_config:lm_tokens_ports",
    weights="index",
    reader=f"{_HERE}.lm_release:read_lm_tokens",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("llm",),
            source="https://huggingface.co/nvidia/DAM-3B, its folder llm; or any causal language model of the hub",
            license="see its repository; NVIDIA's is non-commercial",
            size="about 5.4 GB for 2.7 billion weights in half precision",
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128}",
)
