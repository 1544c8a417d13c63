"""Options of the metrics over words and phrases, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TermF1Config:
    """Options of ``noun-f1`` and ``attribute-f1``.

    Attributes:
        tokeniser: As in ``cider-d``.
    """

    tokeniser: Literal["words", "tokens"] = "words"
