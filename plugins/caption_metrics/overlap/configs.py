"""Options of the metrics over words that captions share with references, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tokeniser = Literal["ptb", "words", "tokens"]


@dataclass(frozen=True)
class BleuConfig:
    """Options of ``bleu``.

    Attributes:
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    tokeniser: Tokeniser = "ptb"


@dataclass(frozen=True)
class RougeLConfig:
    """Options of ``rouge-l``.

    Attributes:
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    tokeniser: Tokeniser = "ptb"


@dataclass(frozen=True)
class CiderDConfig:
    """Options of ``cider-d``.

    Attributes:
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
        documents: File of document frequencies, as ``toolkit idf`` writes it, such as those of COCO val.
            Values are then comparable over selections of different size. Empty for the references of the run itself,
            as in the official evaluation.
    """

    tokeniser: Tokeniser = "ptb"
    documents: str = ""
