"""How categories and the phrases that name them are cleaned before their words are compared.

Two protocols of open-vocabulary recognition (LVIS, PACO) are in use, and their values are not comparable: Osprey
(arXiv 2312.10032, as released), and VideoRefer (arXiv 2501.00599, as released), which later papers use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_OSPREY_PREDICTION = str.maketrans(".:,", "   ")
_OSPREY_CATEGORY = str.maketrans("_:", "  ")
_VIDEOREFER = str.maketrans("_:,.()", "      ")


class Cleaning(NamedTuple):
    """What is done to a predicted phrase, and what to the category that it is held against."""

    prediction: Callable[[str], str]
    category: Callable[[str], str]


def osprey_prediction(text: str) -> str:
    """Strip, keep what stands between the first and the second colon, if there is one, turn ``. : ,`` to spaces.

    Of an answer such as ``dog:ear`` only ``ear`` is left, although the category keeps both words: the release was made
    for answers that begin with a phrase and a colon. Case and runs of spaces stay.
    """
    text = text.strip()
    if ":" in text:
        text = text.split(":")[1]
    return text.translate(_OSPREY_PREDICTION)


def osprey_category(text: str) -> str:
    """Turn each of ``_ :`` to a space. Brackets stay, so that ``car_(automobile)`` holds the word ``(automobile)``."""
    return text.translate(_OSPREY_CATEGORY)


def videorefer(text: str) -> str:
    """Turn each of ``_ : , . ( )`` to a space, strip and lower-case; the same for predictions and categories."""
    return text.translate(_VIDEOREFER).strip().lower()


#: Name in a config and in a signature -> the two functions.
CLEANINGS: dict[str, Cleaning] = {
    "osprey": Cleaning(osprey_prediction, osprey_category),
    "videorefer": Cleaning(videorefer, videorefer),
}
