"""Options that all decoders on language models have, free of torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Where a tokenizer of a Hugging Face folder is named.
FILE = "file:"
#: Linear layers that adapters are put on: attention and feed-forward of the Llama family (ViZer, section 3.3).
LORA_TARGETS = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
#: The same of the T5 family.
T5_LORA_TARGETS = r".*\.(q|k|v|o|wi|wi_0|wi_1|wo)"


def names_file(option: str) -> bool:
    """Say whether an option names a file or a folder, as ``file:PATH``."""
    return option.startswith(FILE) and option != FILE


@dataclass(frozen=True)
class LanguageOptions:
    r"""What a decoder on a language model of transformers can be told.

    Attributes:
        tokenizer: For a decoder that starts untrained: ``words`` (whole words and signs of the corpus, in lower case),
            or ``file:FOLDER``, a folder as the Hugging Face hub has it. Trained weights bring theirs.
        architecture: Further fields of the family's config class in transformers, by their names there, such as
            ``{rope_theta: 500000}``. They matter where training starts from nothing; trained weights bring theirs.
        dropout: All dropout rates that the family has, in training only.
        max_length: Tokens of a training text, the end token included; what is longer loses its end.
        lora: Rank of the adapters (LoRA) put on the language model, which then are all that is trained of it; 0 for
            none. Weights with adapters bring theirs; on weights without any, fresh ones are put, which change nothing
            before they are trained.
        lora_alpha: Adapters are scaled by ``lora_alpha / lora``.
        lora_dropout: Dropout before the adapters, in training only.
        lora_targets: Regular expression of the full names of the linear layers that get one.
        adapter: ``off`` leaves the adapters out: exactly the model that they were put on.
        weights: ``auto`` chooses weights that were trained for what reaches the decoder, ``none`` starts untrained,
            ``file:PATH`` (a weight file, or a folder as the Hugging Face hub has it) or a name of
            ``toolkit weights list`` says which.
    """

    tokenizer: str = "words"
    architecture: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = 0.0
    max_length: int = 512
    lora: int = 0
    lora_alpha: float = 64.0  # ViZer, section 4: rank 32, alpha 64, dropout 0.1
    lora_dropout: float = 0.1
    lora_targets: str = LORA_TARGETS
    adapter: bool = True
    weights: str = "auto"

    def __post_init__(self) -> None:
        self.check_positive("max_length")
        for name in ("dropout", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least 0 and less than 1")
        if self.lora < 0:
            raise ValueError(f"lora: {self.lora} must be 0 (no adapters) or a rank")
        if not (math.isfinite(self.lora_alpha) and self.lora_alpha > 0):
            raise ValueError(f"lora_alpha: {self.lora_alpha} must be more than 0")
        if self.tokenizer != "words" and not names_file(self.tokenizer):
            raise ValueError(f"tokenizer: '{self.tokenizer}' must be words, or file:FOLDER")
        try:
            re.compile(self.lora_targets)
        except re.error as error:
            raise ValueError(f"lora_targets: '{self.lora_targets}' is no regular expression: {error}") from None

    def check_positive(self, *names: str) -> None:
        """Check that options are 1 or more.

        Raises:
            ValueError: One is not.
        """
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")

    def check_heads(self, width: str, heads: str) -> None:
        """Check that a number of heads divides a width.

        Raises:
            ValueError: It does not.
        """
        wide, count = getattr(self, width), getattr(self, heads)
        if wide % count:
            fitting = ", ".join(str(some) for some in range(1, wide + 1) if wide % some == 0)
            raise ValueError(f"{heads}: {count} does not divide {width} {wide}; these do: {fitting}")


@dataclass(frozen=True)
class CausalOptions(LanguageOptions):
    """Options of decoders on causal language models. The sizes are those of GPT-2 small; trained weights bring theirs.

    Attributes:
        model: Family of the language model, by its ``model_type`` in transformers: ``gpt2``, ``llama``, ``qwen3``,
            ``gemma3_text``, or any other that is a causal language model there.
        hidden: Width of the transformer.
        layers: Transformer blocks.
        heads: Attention heads of a block; they divide ``hidden``.
        kv_heads: Heads of keys and values, in families that have fewer of those; 0 for as many as ``heads``.
        intermediate: Width of the feed-forward layers.
        positions: Longest sequence: region tokens, prompt and caption.
    """

    model: str = "gpt2"
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    kv_heads: int = 0
    intermediate: int = 3072
    positions: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("hidden", "layers", "heads", "intermediate", "positions")
        self.check_heads("hidden", "heads")
        if self.kv_heads < 0 or (self.kv_heads and self.heads % self.kv_heads):
            raise ValueError(f"kv_heads: {self.kv_heads} must be 0 (as many as heads) or divide heads {self.heads}")


#: Options of :class:`CausalOptions` that a weight file decides; they are stored in its header.
CAUSAL_SIZES: tuple[str, ...] = ("model", "hidden", "layers", "heads", "kv_heads", "intermediate", "positions")


@dataclass(frozen=True)
class Seq2SeqOptions(LanguageOptions):
    """Options of decoders on an encoder and decoder of the T5 family.

    The sizes are those of T5-base. Trained weights bring theirs.

    Attributes:
        model: Family of the language model, by its ``model_type`` in transformers: ``t5``, or another of its kind.
        hidden: Width of the transformer.
        layers: Blocks of the encoder.
        decoder_layers: Blocks of the decoder; 0 for as many as ``layers``.
        heads: Attention heads of a block.
        head_width: Width of a head; 0 for ``hidden / heads``.
        ff: Width of the feed-forward layers.
        ff_type: Their kind: ``gated-gelu`` (FlanT5, T5 1.1) or ``relu`` (the first T5).
        tied: Whether the output layer is the word embedding (the first T5) or has weights of its own.
        positions: Longest input and longest caption. T5 itself has no limit; it guards memory.
    """

    model: str = "t5"
    hidden: int = 768
    layers: int = 12
    decoder_layers: int = 0
    heads: int = 12
    head_width: int = 0
    ff: int = 3072
    ff_type: str = "relu"
    tied: bool = True
    positions: int = 2048
    dropout: float = 0.1  # T5's own
    lora_targets: str = T5_LORA_TARGETS

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


#: Options of :class:`Seq2SeqOptions` that a weight file decides; they are stored in its header.
SEQ2SEQ_SIZES: tuple[str, ...] = (
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
