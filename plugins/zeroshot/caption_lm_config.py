"""Options that the decoders guided by a text tower have in common, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from regionkit.core.language.options import CausalOptions
from regionkit.plugins.zeroshot.start_config import check_start


@dataclass(frozen=True)
class CaptionLmOptions(CausalOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.caption_lm.CaptionLm`.

    Attributes:
        start: For a decoder that starts untrained: ``file:FOLDER``, a pretrained language model as the Hugging Face hub
            has it, here or in a folder of $REGIONKIT_WEIGHTS. It brings its sizes, dropout rates and tokenizer; empty
            for one of fresh weights.
        prompt: Words that stand before every caption; they are no part of it.
        end: The token that ends a caption; empty, or one that the tokenizer does not know, for the tokenizer's own.
        compat: ``paper``, or ``reference`` for what the released code does otherwise; each decoder says what that is.
    """

    start: str = ""
    prompt: str = ""
    end: str = ""
    compat: Literal["paper", "reference"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_start(self, self.start)

    def check_share(self, *names: str) -> None:
        """Check that options lie between 0 and 1.

        Raises:
            ValueError: One does not.
        """
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least 0 and at most 1")

    def check_finite(self, *names: str, above: bool = False) -> None:
        """Check that options are finite and 0 or more, or more than 0.

        Raises:
            ValueError: One is not.
        """
        for name in names:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (above and value == 0):
                raise ValueError(f"{name}: {value} must be {'more than 0' if above else '0 or more'}")
