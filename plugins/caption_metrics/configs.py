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


@dataclass(frozen=True)
class ImageTextCosineConfig:
    """Options of ``image-text-cosine``.

    Attributes:
        backbone: Name of the backbone that judges, one with a class token and a text tower, such as ``mini-clip`` or
            ``clip``. It should be no part of the pipelines that it judges: what they were trained to agree with has no
            say on whether they do.
    """

    backbone: str
