"""The component ``prefix-lm`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, Port

_HERE = "regionkit.plugins.zeroshot"

PREFIX_LM = ComponentSpec(
    kind="decoder",
    name="prefix-lm",
    target=f"{_HERE}.prefix_lm:PrefixLm",
    config=f"{_HERE}.prefix_lm_config:PrefixLmConfig",
    summary="Any causal language model of transformers behind soft tokens, trained on text only",
    paper="patchioner",
    reads=Port("weights"),
    weights="index",
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 128}",
)
