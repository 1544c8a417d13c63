"""Options of the ``lm-tokens`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import CausalOptions
from regionkit.core.spec import Port, Ports
from regionkit.plugins.dam.chat_templates import check_template


@dataclass(frozen=True)
class LmTokensConfig(CausalOptions):
    """Options of :class:`~regionkit.plugins.dam.lm_decoder.LmTokens`.

    The sizes are those of the language model of DAM-3B (Sheared-LLaMA-2.7B). Trained weights bring theirs.

    Attributes:
        hidden: Width of the transformer, and of the region tokens that it reads.
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
    intermediate: int = 6912
    positions: int = 4096
    template: str = "none"
    prompt: str = "<image>"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template(self.template)


def lm_tokens_ports(config: LmTokensConfig) -> Ports:
    """Return what the decoder reads: any number of tokens a region, as wide as its word embeddings."""
    return Ports(reads=Port(f"own[{config.hidden}]", many=True))
