"""Options of the metrics over words and phrases, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tokeniser = Literal["ptb", "words", "tokens"]


@dataclass(frozen=True)
class TermF1Config:
    """Options of ``noun-f1`` and ``attribute-f1``.

    Attributes:
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    tokeniser: Tokeniser = "ptb"


@dataclass(frozen=True)
class SemanticIouConfig:
    """Options of ``semantic-iou``.

    Attributes:
        cleaning: What is done to phrase and category before their words are compared. ``videorefer``: the marks
            ``_ : , . ( )`` become spaces on both sides. ``osprey``: of a phrase with a colon only what follows it
            counts, ``. : ,`` become spaces; of the category only ``_ :`` do, so that brackets stay part of its words.
    """

    # Papers since VideoRefer use its cleaning.
    cleaning: Literal["videorefer", "osprey"] = "videorefer"


@dataclass(frozen=True)
class ChairConfig:
    """Options of ``chair``.

    Attributes:
        objects: What a picture shows: ``both``, what ``Sample.info["objects"]`` states, where it does, and what the
            references name, as in the paper; ``stated`` or ``references`` alone.
        synonyms: File of objects and their names, one object a line, separated by commas, such as ``synonyms.txt`` of
            the release. Empty: the nouns of the data set's lexicon.
        count: In ``instances``, an object that a caption names twice counts twice with ``mentions``, as in the
            release, and once with ``objects``.
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    objects: Literal["both", "stated", "references"] = "both"
    synonyms: str = ""
    count: Literal["mentions", "objects"] = "mentions"
    tokeniser: Tokeniser = "ptb"


@dataclass(frozen=True)
class DistinctConfig:
    """Options of ``distinct-n``.

    Attributes:
        n_max: Longest n-grams in words; there is a part for each n from 1 on.
        per: What the distinct n-grams are divided by: all ``ngrams`` of that n, or all ``words`` for every n, as in
            the paper.
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    n_max: int = 2
    per: Literal["ngrams", "words"] = "ngrams"
    tokeniser: Tokeniser = "ptb"

    def __post_init__(self) -> None:
        if not 1 <= self.n_max <= 9:
            raise ValueError(f"n_max is {self.n_max}: it is a number of words from 1 to 9")


@dataclass(frozen=True)
class LengthConfig:
    """Options of ``length``.

    Attributes:
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces. What is dropped is no word.
    """

    tokeniser: Tokeniser = "ptb"


@dataclass(frozen=True)
class GenericRateConfig:
    """Options of ``generic-rate``.

    Attributes:
        nouns: A caption that names no noun of the data set's lexicon is generic.
        phrases: Captions of these very words are generic.
        repeated: What is said of more than this share of all pictures (0 to 1), and of three at least, is generic;
            0 for no such rule.
        tokeniser: ``ptb`` is the Penn Treebank tokenisation of the official caption evaluation. ``words`` lower-cases,
            splits punctuation off and drops it. ``tokens`` takes captions that are tokenised already and splits them
            at spaces.
    """

    nouns: bool = True
    phrases: tuple[str, ...] = ()
    repeated: float = 0.1
    tokeniser: Tokeniser = "ptb"

    def __post_init__(self) -> None:
        if not 0 <= self.repeated < 1:
            raise ValueError(f"repeated is {self.repeated:g}: it is a share of all pictures, from 0 to less than 1")
        if not (self.nouns or self.phrases or self.repeated):
            raise ValueError("nothing makes a caption generic: give nouns: true, phrases or repeated")
