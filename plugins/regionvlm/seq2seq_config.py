"""Options of the ``seq2seq-tokens`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import Seq2SeqOptions
from regionkit.core.spec import Port, Ports


@dataclass(frozen=True)
class Seq2SeqTokensConfig(Seq2SeqOptions):
    """Options of :class:`~regionkit.plugins.regionvlm.seq2seq_decoder.Seq2SeqTokens`.

    The sizes are those of FlanT5-XL, which RegionVLM and BLIP-2 build on. Trained weights bring theirs. The width
    ``hidden`` is also that of the region tokens that it reads.

    Attributes:
        prompt: What is asked of each region where the call says nothing; its tokens follow those of the region. The
            empty prompt is the end token alone, as RegionVLM captions.
    """

    hidden: int = 2048  # FlanT5-XL, as all sizes here
    layers: int = 24
    heads: int = 32
    ff: int = 5120
    ff_type: str = "gated-gelu"
    tied: bool = False
    max_length: int = 32  # released code of RegionVLM: max_txt_len
    prompt: str = ""


def seq2seq_tokens_ports(config: Seq2SeqTokensConfig) -> Ports:
    """Return what the decoder reads: any number of tokens a region, as wide as its word embeddings."""
    return Ports(reads=Port(f"own[{config.hidden}]", many=True))
