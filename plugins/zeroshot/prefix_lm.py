"""Any causal language model behind a mapped vector: the larger decoders of Patch-ioner's table 4."""

from __future__ import annotations

from regionkit.plugins.zeroshot.prefix import PrefixDecoder


class PrefixLm(PrefixDecoder):
    """Writes captions with a causal language model; see ``PrefixLmConfig`` for its options."""

    name = "prefix-lm"
