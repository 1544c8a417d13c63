"""Options of the ``seq2seq-tokens`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import LanguageOptions
from regionkit.core.spec import Port, Ports

#: Linear layers of T5 that adapters are put on: all of attention and of the feed-forward layers.
T5_LORA_TARGETS = r".*\.(q|k|v|o|wi|wi_0|wi_1|wo)"


@dataclass(frozen=True)
class Seq2SeqTokensConfig(LanguageOptions):
    """Options of :class:`~regionkit.plugins.regionvlm.seq2seq_decoder.Seq2SeqTokens`.

    The sizes are those of FlanT5-XL, which RegionVLM and BLIP-2 build on. Trained weights bring theirs.

    Attributes:
        model: Family of the language model, by its ``model_type`` in transformers: ``t5``, or another of its kind.
        hidden: Width of the transformer, and of the region tokens that it reads.
        layers: Blocks of the encoder.
        decoder_layers: Blocks of the decoder; 0 for as many as ``layers``.
        heads: Attention heads of a block.
        head_width: Width of a head; 0 for ``hidden / heads``.
        ff: Width of the feed-forward layers.
        ff_type: Their kind: ``gated-gelu`` (FlanT5, T5 1.1) or ``relu`` (the first T5).
        tied: Whether the output layer is the word embedding (the first T5) or has weights of its own.
        positions: Longest input and longest caption. T5 itself has no limit; it guards memory.
        prompt: What is asked of each region where the call says nothing; its tokens follow those of the region. The
            empty prompt is the end token alone, as RegionVLM captions.
    """

    model: str = "t5"
    hidden: int = 2048  # FlanT5-XL, as all sizes here
    layers: int = 24
    decoder_layers: int = 0
    heads: int = 32
    head_width: int = 0
    ff: int = 5120
    ff_type: str = "gated-gelu"
    tied: bool = False
    positions: int = 2048
    dropout: float = 0.1  # T5's own
    max_length: int = 32  # released code of RegionVLM: max_txt_len
    lora_targets: str = T5_LORA_TARGETS
    prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("hidden", "layers", "heads", "ff", "positions")
        for name in ("decoder_layers", "head_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not self.head_width:
            self.check_heads("hidden", "heads")
        if self.ff_type not in ("gated-gelu", "relu"):
            raise ValueError(f"ff_type: '{self.ff_type}' must be gated-gelu or relu")


#: Options that a weight file decides; they are stored in its header.
SIZES: tuple[str, ...] = (
    "model",
    "hidden",
    "layers",
    "decoder_layers",
    "heads",
    "head_width",
    "ff",
    "ff_type",
    "tied",
    "positions",
)


def seq2seq_tokens_ports(config: Seq2SeqTokensConfig) -> Ports:
    """Return what the decoder reads: any number of tokens a region, as wide as its word embeddings."""
    return Ports(reads=Port(f"own[{config.hidden}]", many=True))
