"""Options of the caption metrics, torch-free."""

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


@dataclass(frozen=True)
class TermF1Config:
    """Options of ``noun-f1`` and ``attribute-f1``.

    Attributes:
        tokeniser: As in :class:`CiderDConfig`.
    """

    tokeniser: Literal["words", "tokens"] = "words"
