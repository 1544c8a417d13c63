"""Options of the metrics over shared n-grams, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CiderDConfig:
    """Options of ``cider-d``.

    Attributes:
        tokeniser: ``words`` lower-cases, splits punctuation off and drops it; ``tokens`` takes captions that are
            tokenised already, such as the official PTB tokens, and splits them at spaces.
    """

    tokeniser: Literal["words", "tokens"] = "words"
