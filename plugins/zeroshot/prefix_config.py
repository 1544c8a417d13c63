"""Options that decoders with a mapped prefix have in common, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.language.options import CAUSAL_SIZES, CausalOptions
from regionkit.plugins.zeroshot.start_config import check_start


@dataclass(frozen=True)
class PrefixOptions(CausalOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.prefix.PrefixDecoder`.

    Attributes:
        start: For a decoder that starts untrained: ``file:FOLDER``, a pretrained language model as the Hugging Face hub
            has it, here or in a folder of $REGIONKIT_WEIGHTS. Training starts from it, and it brings its sizes, dropout
            rates and tokenizer; empty for one of fresh weights.
        mapper: What turns a region's vector into soft tokens: ``linear``, ``mlp`` (one hidden layer, tanh) or
            ``transformer`` (over learned constants).
        prefix: Soft tokens a region.
        mapper_layers: Blocks of a ``transformer``.
        mapper_heads: Attention heads of its blocks; they divide ``hidden``.
        clip_length: Tokens that a ``transformer`` makes of the vector, beside its constants; 0 for as many as
            ``prefix``.
        normalise: Whether a region's vector is made a unit vector before it is mapped.
        label_smoothing: Probability mass that the training loss spreads over all ids.
        prompt: Words that stand between the soft tokens and the caption.
        frozen: Whether the language model stays as it is, and the mapper alone is trained.
    """

    start: str = ""
    mapper: Literal["linear", "mlp", "transformer"] = "linear"
    prefix: int = 1
    mapper_layers: int = 8
    mapper_heads: int = 8
    clip_length: int = 0
    normalise: bool = True
    label_smoothing: float = 0.0
    prompt: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("prefix", "mapper_layers", "mapper_heads")
        if self.mapper == "transformer":
            self.check_heads("hidden", "mapper_heads")
        if self.clip_length < 0:
            raise ValueError(f"clip_length: {self.clip_length} must be 0 (as many as prefix) or more")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing} must be at least 0 and less than 1")
        check_start(self, self.start)
        if self.frozen and self.lora:
            raise ValueError(f"frozen: adapters of rank {self.lora} are to be trained: leave out frozen, or lora")


#: Options that a weight file decides; they are stored in its header.
PREFIX_SIZES: tuple[str, ...] = (*CAUSAL_SIZES, "mapper", "prefix", "mapper_layers", "mapper_heads", "clip_length")
