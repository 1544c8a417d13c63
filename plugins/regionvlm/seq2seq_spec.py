"""The component ``seq2seq-tokens`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec

_HERE = "regionkit.plugins.regionvlm"

SEQ2SEQ_TOKENS = ComponentSpec(
    kind="decoder",
    name="seq2seq-tokens",
    target=f"{_HERE}.seq2seq_decoder:Seq2SeqTokens",
    config=f"{_HERE}.seq2seq_config:Seq2SeqTokensConfig",
    summary="T5 type encoder and decoder that reads region tokens and a prompt",
    paper="regionvlm",
    ports=f"{_HERE}.seq2seq_config:seq2seq_tokens_ports",
    weights="index",
    reader=f"{_HERE}.seq2seq_release:read_seq2seq_tokens",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("flan-t5*", "t5-*", "t5_model"),
            source="hub://google/flan-t5-xl",
            license="Apache-2.0",
            size="11.4 GB for 2.85 billion weights in float32",
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, decoder_layers: 2, heads: 4, ff: 48, positions: 128}",
)
