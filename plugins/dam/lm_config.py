"""Options of the ``lm-tokens`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import LanguageOptions
from regionkit.core.spec import Port, Ports
from regionkit.plugins.dam.chat_templates import check_template


@dataclass(frozen=True)
class LmTokensConfig(LanguageOptions):
    """Options of :class:`~regionkit.plugins.dam.lm_decoder.LmTokens`.

    The sizes are those of the language model of DAM-3B (Sheared-LLaMA-2.7B). Trained weights bring theirs.

    Attributes:
        model: Family of the language model, by its ``model_type`` in transformers: ``llama``, ``gpt2``, ``qwen2``,
            ``opt``, or any other that is a causal language model there.
        hidden: Width of the transformer, and of the region tokens that it reads.
        layers: Transformer blocks.
        heads: Attention heads of a block; they divide ``hidden``.
        kv_heads: Heads of keys and values, in families that have fewer of those; 0 for as many as ``heads``.
        intermediate: Width of the feed-forward layers.
        positions: Longest sequence: prompt, region tokens and caption.
        template: Chat template that a prompt is put in: ``none``, ``v1``, ``vicuna`` or ``llama_3``; see
            ``regionkit.plugins.dam.chat_templates``.
        prompt: What is asked of each region where the call says nothing. The region's tokens stand where it says
            ``<image>``; with several of these, each takes an equal part of the tokens, in order. A prompt without any
            is asked after ``<image>`` and a line break.
    """

    model: str = "llama"
    hidden: int = 2560  # Sheared-LLaMA-2.7B, as all sizes here
    layers: int = 32
    heads: int = 20
    kv_heads: int = 0
    intermediate: int = 6912
    positions: int = 4096
    template: str = "none"
    prompt: str = "<image>"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("hidden", "layers", "heads", "intermediate", "positions")
        self.check_heads("hidden", "heads")
        if self.kv_heads < 0 or (self.kv_heads and self.heads % self.kv_heads):
            raise ValueError(f"kv_heads: {self.kv_heads} must be 0 (as many as heads) or divide heads {self.heads}")
        check_template(self.template)


#: Options that a weight file decides; they are stored in its header.
SIZES: tuple[str, ...] = ("model", "hidden", "layers", "heads", "kv_heads", "intermediate", "positions")


def lm_tokens_ports(config: LmTokensConfig) -> Ports:
    """Return what the decoder reads: any number of tokens a region, as wide as its word embeddings."""
    return Ports(reads=Port(f"own[{config.hidden}]", many=True))
